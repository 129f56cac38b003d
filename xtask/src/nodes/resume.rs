//! A stream at one node, paid at the other.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use mpp_core::Amount;
use mpp_server::{ChannelStore as _, store::PostgresStore};
use mpp_tempo::Signer as _;
use reqwest::{Method, Response, StatusCode};

use super::Setup;
use crate::{account, e2e::dollars, process::ServerProcess, raw::Raw};

/// Price of a word of the example, in base units.
const WORD: u128 = 1_000;
/// From the voucher's departure to the next word. A busy machine may take
/// longer, so this is reported and not enforced.
const TARGET: Duration = Duration::from_millis(250);

#[expect(clippy::disallowed_methods, reason = "it measures real time")]
pub(super) async fn run(
    setup: &Setup,
    nodes: &[ServerProcess; 2],
    store: &PostgresStore,
) -> anyhow::Result<()> {
    let [here, there] = nodes;
    let signer = account::signer_for(&format!("reader {}", setup.secret))?;
    account::fund(&setup.node, signer.address(), dollars(5)).await?;
    let payer = Raw::new(signer);
    let (read, pay) = (format!("{}/poem", here.url), format!("{}/poem", there.url));
    let challenge = payer.challenge(&read).await?;
    let prepared = payer.prepare(&setup.node, &challenge, dollars(1)).await?;
    let first = payer.sign(&prepared.terms, Amount::new(WORD)).await?;
    let open = payer.open(&prepared, &first);
    let response = payer.send(Method::GET, &read, &challenge, &open).await?;
    ensure!(response.status() == StatusCode::OK, "{}", response.status());
    let mut stream = Events(response, String::new());
    let mut waits = Vec::new();
    let mut words = 1_u128;
    loop {
        match stream.next().await?.as_str() {
            "message" => {}
            "payment-receipt" => break,
            "payment-need-voucher" => {
                words = words.saturating_add(1);
                let amount = Amount::new(words.saturating_mul(WORD));
                let voucher = payer.sign(&prepared.terms, amount).await?;
                let start = Instant::now();
                let terms = &prepared.terms;
                let paid = payer.pay(Method::HEAD, &pay, &challenge, &voucher, terms);
                let (paid, next) = tokio::join!(paid, stream.next());
                waits.push(start.elapsed());
                ensure!(paid?.status() == StatusCode::NO_CONTENT, "not taken");
                ensure!(next? == "message", "the stream did not go on");
            }
            other => anyhow::bail!("an event {other}"),
        }
    }
    ensure!(words == u128::from(mpp_example_poem::word_count()));
    let found = store.load(prepared.terms.id()).await?;
    let spent = found.context("no record")?.record.spent;
    ensure!(
        spent == Amount::new(words.saturating_mul(WORD)),
        "charged {spent}"
    );
    waits.sort_unstable();
    let median = waits.get(waits.len() / 2).context("no pause")?;
    let longest = waits.last().context("no pause")?;
    println!("{} pauses at one node, paid at the other:", waits.len());
    println!(
        "{} ms in the median, {} ms at most; {} the {} ms it should take",
        median.as_millis(),
        longest.as_millis(),
        if *longest < TARGET { "below" } else { "above" },
        TARGET.as_millis()
    );
    Ok(())
}

/// The names of a stream's events, as they come.
struct Events(Response, String);

impl Events {
    async fn next(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some((event, rest)) = self.1.split_once("\n\n") {
                let name = event.lines().find_map(|line| line.strip_prefix("event: "));
                let name = name.map(str::to_owned);
                self.1 = rest.to_owned();
                match name {
                    Some(name) => return Ok(name),
                    // A sign of life.
                    None => continue,
                }
            }
            let chunk = self.0.chunk().await?.context("the stream ended")?;
            self.1.push_str(std::str::from_utf8(&chunk)?);
        }
    }
}
