//! Clients of both nodes that want more than there is.

use std::time::Instant;

use anyhow::ensure;
use mpp_core::{Amount, Challenge};
use mpp_server::{
    ChannelStore as _,
    store::{LedgerPage, PostgresStore},
};
use mpp_tempo::{ChannelTerms, SignedVoucher};
use reqwest::{Method, StatusCode};
use tokio::task::JoinSet;

use super::Setup;
use crate::{
    account,
    e2e::{cents, dollars},
    process::ServerProcess,
    raw::Raw,
};

/// Photos that the deposit of a channel buys.
const PHOTOS: u64 = 100;
const CHANNELS: u64 = 4;

/// One client: what it sends, again and again, to its node.
struct Client {
    payer: Raw,
    url: String,
    challenge: Challenge,
    terms: ChannelTerms,
    all: SignedVoucher,
}

impl Client {
    /// Buys until nothing is left; returns how often it was served.
    async fn buy(self) -> anyhow::Result<u64> {
        let mut served = 0_u64;
        loop {
            let answer = self
                .payer
                .pay(
                    Method::GET,
                    &self.url,
                    &self.challenge,
                    &self.all,
                    &self.terms,
                )
                .await?;
            match answer.status() {
                StatusCode::OK => served = served.saturating_add(1),
                StatusCode::PAYMENT_REQUIRED => return Ok(served),
                // Holds of the others; they end.
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {}
                other => anyhow::bail!("{other}: {}", answer.text().await?),
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "it measures real time")]
pub(super) async fn run(
    setup: &Setup,
    nodes: &[ServerProcess; 2],
    store: &PostgresStore,
    clients: u32,
) -> anyhow::Result<()> {
    let mut channels = Vec::new();
    for number in 0..CHANNELS {
        channels.push(open(setup, &nodes[0], number).await?);
    }
    let start = Instant::now();
    let mut buying = JoinSet::new();
    let sellers = nodes.iter().cycle();
    let buyers = channels
        .iter()
        .flat_map(|channel| [channel, channel])
        .cycle();
    for ((payer, challenge, terms), node) in buyers.zip(sellers).take(usize::try_from(clients)?) {
        let all = payer.sign(terms, cents(PHOTOS)).await?;
        buying.spawn(
            Client {
                payer: Raw::new(payer.signer.clone()),
                url: format!("{}/photos/sea", node.url),
                challenge: challenge.clone(),
                terms: *terms,
                all,
            }
            .buy(),
        );
    }
    let mut served = CHANNELS;
    while let Some(bought) = buying.join_next().await {
        served = served.saturating_add(bought??);
    }
    let millis = start.elapsed().as_millis();
    let there = CHANNELS.saturating_mul(PHOTOS);
    println!(
        "{clients} clients, {CHANNELS} channels: {served} photos sold of {there}, {millis} ms"
    );
    ensure!(served == there, "sold {served} of {there}");
    for (_, _, terms) in &channels {
        settled_to_the_cent(store, terms).await?;
    }
    Ok(())
}

/// Record and ledger say that everything was sold, once.
async fn settled_to_the_cent(store: &PostgresStore, terms: &ChannelTerms) -> anyhow::Result<()> {
    let id = terms.id();
    let found = store.load(id).await?;
    let record = found.map(|found| found.record);
    let spent = record.as_ref().map(|record| record.spent);
    ensure!(spent == Some(cents(PHOTOS)), "charged {spent:?}");
    let page = LedgerPage {
        channel: Some(id),
        after: 0,
        limit: usize::MAX,
    };
    let lines = store.ledger(page).await?;
    let costs = lines.iter().map(|line| line.entry.cost.base_units());
    let total = Amount::new(costs.sum());
    ensure!(total == cents(PHOTOS), "the ledger says {total}");
    Ok(())
}

async fn open(
    setup: &Setup,
    node: &ServerProcess,
    number: u64,
) -> anyhow::Result<(Raw, Challenge, ChannelTerms)> {
    let signer = account::signer_for(&format!("rush {number} {}", setup.secret))?;
    account::fund(&setup.node, mpp_tempo::Signer::address(&signer), dollars(5)).await?;
    let payer = Raw::new(signer);
    let url = format!("{}/photos/sea", node.url);
    let (challenge, terms) = payer.open_channel(&setup.node, &url, dollars(1)).await?;
    Ok((payer, challenge, terms))
}
