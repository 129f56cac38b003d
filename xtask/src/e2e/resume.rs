//! Sessions that survive the restart of a client, and the loss of its book.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use mpp_client::Policy;
use mpp_core::Amount;
use mpp_http::client::Client;
use mpp_tempo::{ChannelId, LocalSigner, SessionProtocol};

use super::{Case, cents, dollars, raw};
use crate::log_scan::Watched;

/// A directory for a channel book that is gone with the check.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("mpp-e2e-{}", alloy_primitives::B256::random());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A client as it starts, with the book in a directory.
fn start(case: &Case<'_>, signer: &LocalSigner, book: &Path) -> anyhow::Result<Client> {
    Ok(Client::builder()
        .signer(Watched(signer.clone()))
        .chain(case.node.chain.clone())
        .policy(Policy::new(dollars(1)))
        .book_at(book)
        .build()?)
}

/// Buys a photo; returns what was spent on the channel in total.
async fn buy(case: &Case<'_>, client: &Client) -> anyhow::Result<Amount> {
    let response = client.get(case.url("photo")).send().await?;
    ensure!(response.status() == 200, "{}", response.status());
    Ok(raw::session_receipt(response.receipt().context("no receipt")?)?.spent)
}

fn only_channel(client: &Client) -> anyhow::Result<ChannelId> {
    let channels = client.channels()?;
    let [channel] = channels.as_slice() else {
        anyhow::bail!("{} channels in the book", channels.len());
    };
    Ok(channel.channel_id)
}

/// Each start of the client goes on with the channel of the first.
pub(super) async fn restarts(case: &Case<'_>) -> anyhow::Result<()> {
    let (signer, folder) = (case.payer().await?, Folder::new());
    let client = start(case, &signer, &folder.0)?;
    ensure!(buy(case, &client).await? == cents(1));
    let channel = only_channel(&client)?;
    drop(client);
    let before = case.node.transactions();
    for number in 2..=4 {
        let client = start(case, &signer, &folder.0)?;
        let spent = buy(case, &client).await?;
        ensure!(spent == cents(number), "start {number}: spent {spent}");
        ensure!(only_channel(&client)? == channel, "another channel");
    }
    ensure!(case.node.transactions() == before, "a transaction was sent");
    let record = case.shop().server.channel(channel).await?;
    ensure!(record.spent == cents(4) && record.accepted() == cents(4));
    Ok(())
}

/// PROTOCOL 5.8: without its book, a client proves who it is and goes on.
///
/// v1 channels have no snapshots: there it opens another channel.
pub(super) async fn book_lost(case: &Case<'_>) -> anyhow::Result<()> {
    let signer = case.payer().await?;
    let lost = Folder::new();
    let client = start(case, &signer, &lost.0)?;
    ensure!(buy(case, &client).await? == cents(1));
    let channel = only_channel(&client)?;
    drop((client, lost));

    let (before, found) = (case.node.transactions(), Folder::new());
    let client = start(case, &signer, &found.0)?;
    let spent = buy(case, &client).await?;
    if case.protocol == SessionProtocol::V1 {
        ensure!(spent == cents(1), "spent {spent} on a new channel");
        ensure!(
            only_channel(&client)? != channel,
            "recovered without a snapshot"
        );
        return Ok(());
    }
    ensure!(spent == cents(2), "spent {spent}");
    ensure!(only_channel(&client)? == channel, "another channel");
    ensure!(case.node.transactions() == before, "a transaction was sent");
    // It is in the new book for good, and closes like any other.
    drop(client);
    let client = start(case, &signer, &found.0)?;
    ensure!(buy(case, &client).await? == cents(3));
    let receipt = client.session(case.url("photo"))?.close().await?;
    ensure!(receipt.tx_hash.is_some(), "closed without a transaction");
    let record = case.shop().server.channel(channel).await?;
    ensure!(record.settled == cents(3), "settled {}", record.settled);
    Ok(())
}
