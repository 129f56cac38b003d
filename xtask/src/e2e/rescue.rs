//! Both sides lose what they knew, and the chain gives it back.

use anyhow::{Context as _, ensure};
use mpp_client::{
    Payer, Policy,
    session::{exit::Leave, rescue as client},
};
use mpp_server::{Adoption, MemoryStore, Rescue, session::record::Phase, settle::RescueStanding};
use mpp_tempo::{Signer as _, network::CLOSE_GRACE_SECS};
use reqwest::Method;

use super::{
    Case, cents, dollars,
    follow::{Stall, payee},
    raw::Raw,
};
use crate::log_scan::Watched;

/// A server with an empty store adopts what the chain shows, and its payer's
/// next voucher goes on.
pub(super) async fn empty_store(case: &Case<'_>) -> anyhow::Result<()> {
    let stall = Stall::open(case, payee(case).await?, MemoryStore::new(), |it| it).await?;
    let payer = Raw::new(case.payer().await?);
    let (_, terms) = payer
        .open_channel(case.node, &stall.url(), dollars(1))
        .await?;
    let keys = stall.payee.clone();
    stall.close().await;

    let configure = |it: mpp_server::Builder<MemoryStore>| it.adoption(Adoption::Voucher);
    let stall = Stall::open(case, keys, MemoryStore::new(), configure).await?;
    let server = &stall.shop.server;
    let missing = server.rescue(Rescue::Look).await?;
    let [channel] = missing.as_slice() else {
        anyhow::bail!("{} channels", missing.len());
    };
    ensure!(channel.terms == terms, "other terms");
    ensure!(channel.standing == RescueStanding::Missing);
    ensure!(server.rescue(Rescue::Adopt).await?.len() == 1);
    let challenge = payer.challenge(&stall.url()).await?;
    let signed = payer.sign(&terms, cents(2)).await?;
    let paid = payer
        .pay(Method::GET, &stall.url(), &challenge, &signed, &terms)
        .await?;
    ensure!(paid.status() == 200, "{}", paid.status());
    let record = server.channel(terms.id()).await?;
    ensure!(record.phase == Phase::Open && record.spent == cents(2));
    // All of it can be collected.
    let collected = server.settle().await?;
    ensure!(collected.done == 1, "{collected:?}");
    ensure!(server.channel(terms.id()).await?.settled == cents(2));
    stall.close().await;
    Ok(())
}

/// A client without its book finds its channel on chain and leaves it.
pub(super) async fn empty_book(case: &Case<'_>) -> anyhow::Result<()> {
    let signer = case.payer().await?;
    let stall = Stall::open(case, payee(case).await?, MemoryStore::new(), |it| it).await?;
    let raw = Raw::new(signer.clone());
    let (_, terms) = raw
        .open_channel(case.node, &stall.url(), dollars(5))
        .await?;
    stall.close().await;
    let book = std::sync::Arc::new(mpp_client::MemoryBook::default());
    let start = || {
        Payer::builder()
            .signer(Watched(signer.clone()))
            .chain(case.node.chain.clone())
            .policy(Policy::new(dollars(5)))
            .book(book.clone())
            .build()
    };
    let payer = start()?;
    let found = payer.rescue().await?;
    let channel = found.iter().find(|found| found.terms == terms);
    ensure!(channel.context("not found")?.standing == client::Standing::Found);
    let waiting = payer.leave(&terms.id()).await?;
    ensure!(matches!(waiting, Leave::Waiting { .. }), "{waiting:?}");
    // The client restarts; the wish is in its book.
    drop(payer);
    let payer = start()?;
    ensure!(payer.leaving()? == [terms.id()]);
    case.node.advance(u32::try_from(CLOSE_GRACE_SECS)?).await?;
    let before = case.node.balance(signer.address()).await?;
    let left = payer.leave(&terms.id()).await;
    let after = case.node.balance(signer.address()).await?;
    case.node.return_to_present().await?;
    ensure!(matches!(left?, Leave::Done { tx_hash: Some(_) }));
    let back = after.checked_sub(before).context("less than before")?;
    // The deposit less the fee.
    ensure!(back > cents(499) && back <= dollars(5), "{back} came back");
    Ok(())
}
