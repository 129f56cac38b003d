//! Many requests on one channel.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mpp_client::{ChannelBook, ClientError, MemoryBook, Policy, TopUpPolicy};
use mpp_core::Amount;
use mpp_http::client::{Client, Session};
use mpp_tempo::chain::ChainClient as _;
use reqwest::Method;

use super::{
    Case, cents, dollars,
    raw::{self, Raw},
};
use crate::{log_scan::Watched, node::control::Control};

/// A $1 deposit buys exactly 100 photos of $0.01.
pub(super) async fn hundred(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("photo");
    let policy = Policy::new(dollars(1)).top_up(TopUpPolicy::Never);
    let client = case.client(case.payer().await?, policy)?;
    let session = client.session(&url)?;
    for number in 1..=100_u64 {
        let response = session.get(&url).send().await?;
        ensure!(
            response.status() == 200,
            "request {number}: {}",
            response.status()
        );
        let receipt = raw::session_receipt(response.receipt().context("no receipt")?)?;
        ensure!(
            receipt.spent == cents(number),
            "request {number}: {}",
            receipt.spent
        );
    }
    let refused = session.get(&url).send().await;
    ensure!(
        matches!(refused, Err(ClientError::InsufficientDeposit { .. })),
        "the 101st request was not refused by the client: {refused:?}"
    );
    // A client without scruples is refused by the server.
    let state = session.state()?.context("no channel")?;
    ensure!(state.deposit == dollars(1) && state.spent == dollars(1));
    server_spent(case, &session).await.and_then(|spent| {
        ensure!(spent == dollars(1), "the server charged {spent}");
        Ok(())
    })
}

/// Two clients share a channel; 64 requests at once; every cent is right.
pub(super) async fn concurrent(case: &Case<'_>) -> anyhow::Result<()> {
    const REQUESTS: u64 = 64;
    let url = case.url("photo");
    let signer = case.payer().await?;
    let book: Arc<dyn ChannelBook> = Arc::new(MemoryBook::default());
    let client = || {
        Client::builder()
            .signer(Watched(signer.clone()))
            .chain(case.node.chain.clone())
            .policy(Policy::new(dollars(1)))
            .book(Arc::clone(&book))
            .build()
    };
    let clients = [client()?, client()?];
    let requests = stream::iter((0..REQUESTS).zip(clients.iter().cycle()));
    let statuses: Vec<u16> = requests
        .map(|(_, client)| client.get(&url).send())
        .buffer_unordered(64)
        .map_ok(|response| response.status().as_u16())
        .try_collect()
        .await?;
    ensure!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let channels = clients[0].channels()?;
    let [channel] = channels.as_slice() else {
        anyhow::bail!("{} channels were opened", channels.len());
    };
    let record = case.shop().server.channel(channel.channel_id).await?;
    ensure!(record.spent == cents(REQUESTS), "charged {}", record.spent);
    ensure!(
        record.accepted() == cents(REQUESTS),
        "authorized {}",
        record.accepted()
    );
    Ok(())
}

/// After the open, vouchers cost no RPC and no transaction.
pub(super) async fn no_rpc(case: &Case<'_>) -> anyhow::Result<()> {
    const VOUCHERS: u64 = 1_000;
    let url = case.url("photo");
    let payer = Raw::new(case.payer().await?);
    let (challenge, terms) = payer.open_channel(case.node, &url, dollars(15)).await?;
    // At the server on any node; at the node itself where it can be asked.
    let counted = || {
        let at_node = case.node.control().map(Control::requests).ok();
        (case.market.chain.calls(), at_node, case.node.transactions())
    };
    let before = counted();
    for number in 2..=VOUCHERS.saturating_add(1) {
        let signed = payer.sign(&terms, cents(number)).await?;
        let response = payer
            .pay(Method::GET, &url, &challenge, &signed, &terms)
            .await?;
        ensure!(response.status() == 200, "{number}: {}", response.status());
    }
    ensure!(before == counted(), "the node was called");
    let record = case.shop().server.channel(terms.id()).await?;
    ensure!(record.spent == cents(VOUCHERS.saturating_add(1)));
    Ok(())
}

/// What the server has charged, and that the chain holds the deposit.
pub(super) async fn server_spent(case: &Case<'_>, session: &Session) -> anyhow::Result<Amount> {
    let state = session.state()?.context("no channel")?;
    let record = case.shop().server.channel(state.channel_id).await?;
    let escrow = record.terms.escrow;
    let view = case
        .node
        .chain
        .channel(case.protocol, escrow, state.channel_id)
        .await?;
    ensure!(
        view.deposit == record.deposit,
        "deposit on chain: {}",
        view.deposit
    );
    Ok(record.spent)
}
