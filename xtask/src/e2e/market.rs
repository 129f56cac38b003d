//! The server that the checks buy from.

use std::time::Duration;

use axum::{Router, routing::get};
use mpp_core::Amount;
use mpp_http::server::{Metered, Paid, PaidSession, PaymentLayer, Unaffordable};
use mpp_server::{PaymentServer, Route, SessionOffer, StreamOptions};
use mpp_tempo::{LocalSigner, SessionProtocol, Signer as _};

use super::{charge_client, dollars};
use crate::{
    account,
    counted::Counted,
    node::Node,
    shop::{self, Scratch, Shop},
};

/// How long a stream of [`Market`]'s `impatient` route waits for a voucher.
pub(super) const IMPATIENT: Duration = Duration::from_millis(300);

/// One server with every kind of route, twice: `/v1/..` and `/v2/..`.
#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) shop: Shop,
    pub(crate) payee: LocalSigner,
    pub(crate) sponsor: LocalSigner,
    /// The server's way to the chain.
    pub(crate) chain: Counted,
}

impl Market {
    /// Opens the shop, with accounts that no earlier run has used.
    pub(super) async fn open(node: &Node) -> anyhow::Result<Self> {
        let run = alloy_primitives::B256::random();
        let payee = account::signer_for(&format!("payee {run}"))?;
        let sponsor = account::signer_for(&format!("sponsor {run}"))?;
        account::fund(node, payee.address(), dollars(10)).await?;
        account::fund(node, sponsor.address(), dollars(10)).await?;
        let chain = Counted::new(node.chain.clone());
        let scratch = Scratch::new()?;
        let server = shop::configure(node, payee.clone(), &scratch)?
            .chain(chain.clone())
            .fee_payer(sponsor.clone())
            // Facts are fetched on demand, so that RPC calls can be counted.
            .watch_every(Duration::from_secs(24 * 60 * 60))
            .settlement(mpp_server::SettlePolicy {
                every: Duration::from_secs(24 * 60 * 60),
                ..mpp_server::SettlePolicy::on_demand()
            })
            .build()?;
        let shop = Shop::open(server, scratch, router).await?;
        Ok(Self {
            shop,
            payee,
            sponsor,
            chain,
        })
    }
}

fn router(server: &PaymentServer) -> anyhow::Result<Router> {
    let mut router = Router::new();
    for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
        let stall = Stall { server, protocol };
        let offer = |amount: &str| server.session().amount(amount).protocol(protocol);
        let photo = offer("0.01").unit_type("photo").suggested_deposit("1");
        let impatient = StreamOptions {
            max_pause: IMPATIENT,
            ..StreamOptions::default()
        };
        let poem = mpp_example_poem::offer(server).protocol(protocol);
        let gallery = mpp_example_photo::offer(server).protocol(protocol);
        let tools = mpp_example_mcp_tool::offer(server).protocol(protocol);
        router = router
            .merge(charge_client::router(server, protocol)?)
            .nest(
                &format!("/{protocol}/poetry"),
                mpp_example_poem::router(server, poem)?,
            )
            .nest(
                &format!("/{protocol}"),
                mpp_example_mcp_tool::router(server, tools)?,
            )
            .nest(
                &format!("/{protocol}/gallery"),
                mpp_example_photo::router(server, gallery)?,
            )
            .merge(stall.sell("photo", photo.clone(), get(serve_photo))?)
            .merge(stall.sell("other", photo.clone().unit_type("page"), get(serve_photo))?)
            .merge(stall.sell("sponsored", photo.clone().fee_payer(), get(serve_photo))?)
            .merge(stall.sell("steps", photo.min_voucher_delta("0.05"), get(serve_photo))?)
            .merge(stall.sell("broken", photo_offer(server, protocol), get(serve_nothing))?)
            .merge(stall.sell("metered", photo_offer(server, protocol), get(serve_metered))?)
            .merge(stall.sell("token", offer("0.000025"), get(serve_photo))?)
            .merge(stall.sell(
                "words",
                offer("0.001").suggested_deposit("0.01"),
                get(serve_words),
            )?)
            .merge(stall.sell(
                "impatient",
                offer("0.001").suggested_deposit("0.01").sse(impatient),
                get(serve_words),
            )?)
            .merge(stall.sell(
                "endless",
                offer("0.001").suggested_deposit("5"),
                get(serve_endless),
            )?);
    }
    Ok(router)
}

struct Stall<'a> {
    server: &'a PaymentServer,
    protocol: SessionProtocol,
}

impl Stall<'_> {
    fn sell(
        &self,
        path: &str,
        offer: SessionOffer,
        handler: axum::routing::MethodRouter,
    ) -> anyhow::Result<Router> {
        let path = format!("/{}/{path}", self.protocol);
        let route = Route::new(path.clone(), [offer.build()?])?;
        let pay = PaymentLayer::new(self.server.clone(), route).websocket();
        Ok(Router::new().route(&path, handler.layer(pay)))
    }
}

fn photo_offer(server: &PaymentServer, protocol: SessionProtocol) -> SessionOffer {
    let offer = server.session().amount("0.01").protocol(protocol);
    offer.suggested_deposit("1")
}

async fn serve_nothing(_paid: Paid) -> http::StatusCode {
    http::StatusCode::INTERNAL_SERVER_ERROR
}

/// Reserves three cents and uses a part of them.
async fn serve_metered(paid: Paid) -> Result<&'static str, Unaffordable> {
    let reserved = paid.reserve(Amount::new(30_000)).await?;
    reserved.capture(Amount::new(12_345), 7)?;
    Ok("used some")
}

async fn serve_photo(_paid: Paid) -> &'static str {
    "a photo"
}

/// A free title, then twenty paid words.
async fn serve_words(session: PaidSession) -> Metered {
    session.stream(|mut stream| async move {
        stream.send("title").await;
        for number in 1..=20 {
            stream.charge().await?;
            stream.send(format!("word{number}")).await;
        }
        Ok(())
    })
}

/// A paid word every ten milliseconds, until nobody listens.
async fn serve_endless(session: PaidSession) -> Metered {
    session.stream(|mut stream| async move {
        for number in 1_u64.. {
            tokio::time::sleep(Duration::from_millis(10)).await;
            stream.charge().await?;
            stream.send(number.to_string()).await;
        }
        Ok(())
    })
}
