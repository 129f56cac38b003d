//! Charged once, and only for what was served (PROTOCOL 5.6).

use anyhow::{Context as _, ensure};
use mpp_client::Policy;
use mpp_core::{Amount, Receipt, SessionReceipt};
use mpp_http::client::{Client, PaidResponse};

use super::{Case, cents, dollars};

fn receipt(response: &PaidResponse) -> anyhow::Result<SessionReceipt> {
    match response.receipt().context("no receipt")? {
        Receipt::Session(receipt) => Ok(receipt.clone()),
        Receipt::Charge(_) => anyhow::bail!("a charge receipt"),
    }
}

/// What the server has charged on the client's only channel.
async fn spent(case: &Case<'_>, client: &Client) -> anyhow::Result<Amount> {
    let channels = client.channels()?;
    let channel = channels.first().context("no channel")?;
    Ok(case.shop().server.channel(channel.channel_id).await?.spent)
}

/// One key, three requests: one charge, one receipt.
pub(super) async fn idempotent(case: &Case<'_>) -> anyhow::Result<()> {
    let client = case.client(case.payer().await?, Policy::new(dollars(1)))?;
    let url = case.url("photo");
    let first = client.get(&url).idempotency_key("order 1").send().await?;
    ensure!(first.status() == 200);
    let paid = receipt(&first)?;
    for _ in 0..2 {
        let again = client.get(&url).idempotency_key("order 1").send().await?;
        ensure!(again.status() == 200, "again: {}", again.status());
        let replayed = again.headers().get("idempotent-replayed");
        ensure!(replayed.is_some_and(|value| value == "true"));
        ensure!(receipt(&again)? == paid);
    }
    let other = format!("{url}?size=2");
    let reused = client.get(other).idempotency_key("order 1").send().await?;
    ensure!(reused.status() == 422, "reused: {}", reused.status());
    ensure!(spent(case, &client).await? == cents(1));
    Ok(())
}

/// A handler that fails costs nothing, and its money buys the next thing.
pub(super) async fn failing(case: &Case<'_>) -> anyhow::Result<()> {
    let client = case.client(case.payer().await?, Policy::new(dollars(1)))?;
    for _ in 0..2 {
        let failed = client.get(case.url("broken")).send().await?;
        ensure!(failed.status() == 500 && failed.receipt().is_none());
        ensure!(spent(case, &client).await? == Amount::ZERO);
    }
    Ok(())
}

/// A handler reserves three cents and captures what it has used.
pub(super) async fn reserving(case: &Case<'_>) -> anyhow::Result<()> {
    let policy = Policy::new(dollars(1)).max_per_request(cents(3));
    let client = case.client(case.payer().await?, policy)?;
    for number in 1..=3_u64 {
        let response = client.get(case.url("metered")).send().await?;
        ensure!(response.status() == 200, "{}", response.status());
        let receipt = receipt(&response)?;
        let total = 12_345_u128.checked_mul(number.into()).context("overflow")?;
        ensure!(receipt.spent == Amount::new(total) && receipt.units == Some(7));
    }
    Ok(())
}
