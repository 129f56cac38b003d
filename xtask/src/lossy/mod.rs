//! `cargo xtask lossy`: clients buy through a proxy that cuts connections.
//!
//! The clients are those of `mpp-http` with their own retries. What they can
//! not get in a few attempts, the buyer asks for again under the same key, as
//! any careful program would. At the end every cent must be right.

mod buyer;
mod proxy;

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use mpp_core::Amount;
use mpp_http::client::Client;
use mpp_server::{
    EmbeddedStore,
    store::export::{Format, export},
};
use mpp_tempo::Signer as _;
use tokio::task::JoinSet;

use self::{
    buyer::{Bought, Buyer, PRICE},
    proxy::Proxy,
};
use crate::{
    account,
    e2e::dollars,
    ledger::{self, Entry},
    node::Node,
    shop::{self, Scratch, Shop},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many photos are bought in all.
    #[arg(long, default_value_t = 10_000)]
    requests: u32,
    /// How many clients buy at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// Chooses where connections are cut, as an earlier run has printed it.
    #[arg(long)]
    seed: Option<u64>,
}

/// Buys everything, then compares clients, server and ledger.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(rand::random);
    println!(
        "{} requests, {} clients, seed {seed}",
        options.requests, options.clients
    );
    let node = Arc::new(Node::embedded().await?);
    let scratch = Scratch::new()?;
    let store = EmbeddedStore::open(scratch.path().join("lossy.store"))?;
    let shop = open_shop(&node, store.clone()).await?;
    let address = shop.url.strip_prefix("http://").context("the shop's URL")?;
    let proxy = Proxy::start(address.parse()?, seed).await?;
    let mut buyers = JoinSet::new();
    let mut clients = Vec::new();
    for number in 0..options.clients {
        let client = new_client(&node, number).await?;
        // The first ones buy what does not divide evenly.
        let more = u32::from(number < options.requests.checked_rem(options.clients).unwrap_or(0));
        let share = options.requests.checked_div(options.clients).unwrap_or(0);
        let buyer = Buyer::new(client.clone(), &proxy.url);
        buyers.spawn(buyer.run(share.saturating_add(more)));
        clients.push(client);
    }
    let mut bought = Bought::default();
    while let Some(ended) = buyers.join_next().await {
        bought.add(ended?.with_context(|| format!("a buyer, seed {seed}"))?);
    }
    ensure!(proxy.cuts() > 0, "no connection was cut");
    ensure!(
        bought.served() == u64::from(options.requests),
        "{} of {} requests were served",
        bought.served(),
        options.requests
    );
    let ledger = read_ledger(&store).await?;
    let charges = ledger::no_double_charge(&ledger)?;
    let spent = settle(&shop, &clients, &ledger).await?;
    let due = PRICE.checked_mul(bought.served()).context("due")?;
    ensure!(spent == due, "{spent} was charged for {due}");
    println!("{} connections cut, {bought}", proxy.cuts());
    println!("{charges} charges, {spent} base units, double charges 0, charged and not served 0");
    shop.server.shutdown().await;
    Ok(())
}

async fn open_shop(node: &Node, store: EmbeddedStore) -> anyhow::Result<Shop> {
    let scratch = Scratch::new()?;
    let payee = account::signer_for("lossy payee")?;
    // It collects when this takes long, and pays the fees.
    account::fund(node, payee.address(), dollars(10)).await?;
    let server = shop::configure(node, payee, &scratch)?
        .store(store)
        .production()
        .build()?;
    let router = |server: &_| {
        let offer = mpp_example_photo::offer(server);
        Ok(mpp_example_photo::router(server, offer)?)
    };
    Shop::open(server, scratch, router).await
}

async fn new_client(node: &Node, number: u32) -> anyhow::Result<Client> {
    let signer = account::signer_for(&format!("lossy buyer {number}"))?;
    account::fund(node, signer.address(), dollars(10_000)).await?;
    Ok(Client::builder()
        .signer(signer)
        .chain(node.chain.clone())
        .policy(mpp_client::Policy::new(dollars(1_000)))
        .build()?)
}

async fn read_ledger(store: &EmbeddedStore) -> anyhow::Result<Vec<Entry>> {
    let mut lines = Vec::new();
    export(store, None, Format::JsonLines, &mut lines).await?;
    ledger::parse(&lines)
}

/// Compares every channel at its client, at the server and in the ledger, and
/// returns what was charged on all of them.
async fn settle(shop: &Shop, clients: &[Client], ledger: &[Entry]) -> anyhow::Result<Amount> {
    let mut total = Amount::ZERO;
    for client in clients {
        for channel in client.channels()? {
            let id = channel.channel_id;
            let record = shop.server.channel(id).await?;
            let (spent, accepted) = (record.spent, record.accepted());
            ensure!(
                spent <= accepted && accepted <= record.deposit,
                "channel {id}: {spent} spent, {accepted} accepted, {} deposited",
                record.deposit
            );
            ensure!(
                channel.spent == spent,
                "channel {id}: the client knows of {} spent, the server of {spent}",
                channel.spent
            );
            let text = id.to_string();
            let own = ledger.iter().filter(|entry| entry.channel_id == text);
            let mut costs = own.map(|entry| entry.cost);
            let sum = costs.try_fold(Amount::ZERO, Amount::checked_add);
            ensure!(sum == Some(spent), "channel {id}: the ledger disagrees");
            total = total.checked_add(spent).context("total")?;
        }
    }
    Ok(total)
}
