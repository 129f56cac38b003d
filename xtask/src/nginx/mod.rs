//! `cargo xtask nginx`: paid streams through a reverse proxy that buffers.
//!
//! nginx collects what an upstream says before it passes it on, and gives up
//! on one that is silent. Both are left at their defaults here; a stream must
//! get through because of what its server says.

mod proxy;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use axum::{Router, routing::get};
use futures_util::StreamExt as _;
use mpp_client::{ClientEvent, Policy};
use mpp_core::Amount;
use mpp_http::{
    client::{Client, SseStream},
    server::{Metered, PaidSession, PaymentLayer},
};
use mpp_server::{PaymentServer, Route};
use mpp_tempo::Signer as _;
use tokio::time::{sleep, timeout};

use self::proxy::{Location, Nginx};
use crate::{
    account,
    e2e::dollars,
    node::Node,
    shop::{self, Scratch, Shop},
};

/// The longest way of a first word: request, payment, proxy and back.
const FIRST_WORD: Duration = Duration::from_millis(300);
/// On a busy machine one of so many is not held up by something else. A proxy
/// that buffers holds up all of them.
const TRIES: u32 = 20;
/// A pause of a stream between two words.
const PAUSE: Duration = Duration::from_secs(35);
/// Nothing arrives within this time through a proxy that does buffer.
const HELD_BACK: Duration = Duration::from_secs(2);
/// Where a word of the pausing stream costs this.
const WORD: &str = "0.001";

/// Runs all checks; fails with the first that does.
pub(crate) async fn run(required: bool) -> anyhow::Result<()> {
    if !Nginx::is_installed().await {
        ensure!(!required, "nginx is not installed");
        println!("NOT CHECKED: nginx is not installed (Debian's package is `nginx-light`)");
        return Ok(());
    }
    let node = Node::embedded().await?;
    let scratch = Scratch::new()?;
    let payee = account::signer_for("the shop behind nginx")?;
    account::fund(&node, payee.address(), dollars(10)).await?;
    let server = shop::configure(&node, payee, &scratch)?.build()?;
    let shop = Shop::open(server, scratch, router).await?;
    let nginx = Nginx::start(&shop.url).await?;
    let checks = Checks {
        node: &node,
        nginx: &nginx,
    };
    let (first, pauses) = tokio::join!(checks.first_word(), checks.pauses());
    first?;
    pauses?;
    checks.poem().await?;
    shop.server.shutdown().await;
    println!("\n5 passed, 0 failed");
    Ok(())
}

/// The poem, and a stream that pauses.
fn router(server: &PaymentServer) -> anyhow::Result<Router> {
    let poem = mpp_example_poem::router(server, mpp_example_poem::offer(server))?;
    let offer = server.session().amount(WORD).suggested_deposit("0.01");
    let route = Route::new("/pause", [offer.build()?])?;
    let pay = PaymentLayer::new(server.clone(), route);
    Ok(poem.route("/pause", get(pausing).layer(pay)))
}

/// A word, a long pause, and another word.
async fn pausing(session: PaidSession) -> Metered {
    session.stream(|mut stream| async move {
        stream.charge().await?;
        stream.send("before").await;
        sleep(PAUSE).await;
        stream.charge().await?;
        stream.send("after").await;
        Ok(())
    })
}

struct Checks<'a> {
    node: &'a Node,
    nginx: &'a Nginx,
}

impl Checks<'_> {
    /// A payer that has a channel already, so that no transaction is measured.
    async fn customer(&self, purpose: &str, location: Location) -> anyhow::Result<Client> {
        let signer = account::signer_for(purpose)?;
        account::fund(self.node, signer.address(), dollars(1)).await?;
        let client = Client::builder()
            .signer(signer)
            .chain(self.node.chain.clone())
            .policy(Policy::new(dollars(1)))
            .build()?;
        let url = self.nginx.url(location, "/poem");
        let mut poem = client.session(&url)?.sse(&url).await?;
        poem.next().await.context("no poem")??;
        Ok(client)
    }

    async fn pause(&self, client: &Client, location: Location) -> anyhow::Result<SseStream> {
        let url = self.nginx.url(location, "/pause");
        Ok(client.session(&url)?.sse(&url).await?)
    }

    /// The first word is there at once, and would not be if nginx had its way.
    #[expect(clippy::disallowed_methods, reason = "real time is what is checked")]
    async fn first_word(&self) -> anyhow::Result<()> {
        let client = self.customer("impatient", Location::Default).await?;
        let mut best = Duration::MAX;
        for _ in 0..TRIES {
            let start = Instant::now();
            let mut stream = self.pause(&client, Location::Default).await?;
            let word = stream.next().await.context("no word")??;
            ensure!(word == "before", "{word}");
            best = best.min(start.elapsed());
            if best < FIRST_WORD {
                break;
            }
        }
        ensure!(best < FIRST_WORD, "the first word took {best:?}");
        println!(
            "ok    first word after {} ms (at most {})",
            best.as_millis(),
            FIRST_WORD.as_millis()
        );

        let client = self.customer("held back", Location::Deaf).await?;
        let held_back = timeout(HELD_BACK, async {
            let mut stream = self.pause(&client, Location::Deaf).await?;
            anyhow::Ok(stream.next().await.transpose()?)
        });
        ensure!(
            held_back.await.is_err(),
            "this nginx does not buffer: nothing was shown"
        );
        println!(
            "ok    without X-Accel-Buffering nginx keeps the same word for over {} s",
            HELD_BACK.as_secs()
        );
        Ok(())
    }

    /// A silent stream is kept alive, even where nginx waits for 20 s only.
    async fn pauses(&self) -> anyhow::Result<()> {
        tokio::try_join!(
            self.pause_survives("patient", Location::Default),
            self.pause_survives("hasty", Location::Hasty),
        )?;
        Ok(())
    }

    async fn pause_survives(&self, purpose: &str, location: Location) -> anyhow::Result<()> {
        let client = self.customer(purpose, location).await?;
        let mut stream = self.pause(&client, location).await?;
        let mut words = Vec::new();
        while let Some(word) = stream.next().await {
            words.push(word?);
        }
        ensure!(words == ["before", "after"], "{words:?}");
        let receipt = stream.receipt().context("no final receipt")?;
        ensure!(receipt.units == Some(2), "units {:?}", receipt.units);
        println!(
            "ok    a pause of {} s survives, {}",
            PAUSE.as_secs(),
            location.describe()
        );
        Ok(())
    }

    /// A poem for which vouchers and a deposit are asked on the way.
    async fn poem(&self) -> anyhow::Result<()> {
        let signer = account::signer_for("a reader behind nginx")?;
        account::fund(self.node, signer.address(), dollars(1)).await?;
        let client = Client::builder()
            .signer(signer)
            .chain(self.node.chain.clone())
            .policy(Policy::new(Amount::new(100_000)))
            .build()?;
        let mut events = client.events();
        let url = self.nginx.url(Location::Default, "/poem");
        let session = client.session(&url)?;
        let mut stream = session.sse(&url).await?;
        while let Some(word) = stream.next().await {
            word?;
        }
        let receipt = stream.receipt().context("no final receipt")?;
        ensure!(receipt.units == Some(mpp_example_poem::word_count()));
        let (mut asked, mut topped_up) = (0_u32, 0_u32);
        while let Some(event) = events.try_next() {
            match event {
                ClientEvent::NeedVoucher { .. } => asked = asked.saturating_add(1),
                ClientEvent::ToppedUp { .. } => topped_up = topped_up.saturating_add(1),
                _ => {}
            }
        }
        ensure!(
            asked > 1 && topped_up > 0,
            "{asked} asked, {topped_up} topped up"
        );
        let closed = session.close().await?;
        ensure!(closed.spent == receipt.spent, "closed at {}", closed.spent);
        println!("ok    {asked} requests for vouchers and {topped_up} top-ups pass, and the close");
        Ok(())
    }
}
