//! The end of a channel, friendly and forced.

use anyhow::{Context as _, ensure};
use mpp_client::{ClientError, Policy, TopUpPolicy};
use mpp_core::{Amount, ProblemKind};
use mpp_server::session::record::Phase;
use mpp_tempo::{
    Signer as _,
    chain::ChainClient as _,
    network::CLOSE_GRACE_SECS,
    tx::{build, gas},
};
use reqwest::Method;

use super::{
    Case, cents, dollars,
    raw::{Raw, refused},
};
use crate::account;

/// More authorized than spent: the payee gets what was spent, to the unit.
pub(super) async fn cooperative(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("photo");
    let signer = case.payer().await?;
    let policy = Policy::new(dollars(1))
        .top_up(TopUpPolicy::Never)
        .authorize_ahead(5);
    let client = case.client(signer.clone(), policy)?;
    let session = client.session(&url)?;
    for _ in 0..3 {
        ensure!(session.get(&url).send().await?.status() == 200);
    }
    let state = session.state()?.context("no channel")?;
    ensure!(state.spent == cents(3), "spent {}", state.spent);
    let payer_before = case.node.balance(signer.address()).await?;
    let payee_before = case.node.balance(case.payee()).await?;
    let receipt = session.close().await?;
    let hash = receipt.tx_hash.as_deref().context("no settlement hash")?;
    let settlement = case
        .node
        .chain
        .receipt(hash.parse()?)
        .await?
        .context("the settlement is not on chain")?;
    ensure!(settlement.success);

    let refund = case
        .node
        .balance(signer.address())
        .await?
        .checked_sub(payer_before);
    ensure!(refund == Some(cents(97)), "refunded {refund:?}");
    // The payee pays the fee of the close from the same balance.
    let payee_after = case.node.balance(case.payee()).await?;
    let earned = payee_after.checked_add(cents(1)).context("overflow")?;
    let gross = payee_before.checked_add(cents(3)).context("overflow")?;
    ensure!(
        payee_after <= gross && earned >= payee_before,
        "payee has {payee_after}"
    );
    let record = case.shop().server.channel(state.channel_id).await?;
    ensure!(record.settled == cents(3), "settled {}", record.settled);
    ensure!(matches!(
        record.phase,
        Phase::Closed {
            transaction: Some(_)
        }
    ));
    Ok(())
}

/// requestClose on chain: no more service; after the grace period the payer
/// takes back what was not settled.
pub(super) async fn forced(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("photo");
    let signer = case.payer().await?;
    let payer = Raw::new(signer.clone());
    let (challenge, terms) = payer.open_channel(case.node, &url, dollars(1)).await?;
    let context = account::context(case.node, gas::REQUEST_CLOSE).await?;
    account::send(case.node, build::request_close(&context, &terms)?, &signer).await?;
    case.shop().server.catch_up().await?;
    let record = case.shop().server.channel(terms.id()).await?;
    ensure!(matches!(record.phase, Phase::CloseRequested { .. }));

    let signed = payer.sign(&terms, cents(2)).await?;
    let response = payer
        .pay(Method::GET, &url, &challenge, &signed, &terms)
        .await?;
    refused(response, ProblemKind::ChannelFinalized).await?;
    ensure!(case.shop().server.channel(terms.id()).await?.spent == cents(1));

    // A client that is told so opens a new channel and goes on.
    let client = case.client(signer.clone(), Policy::new(dollars(1)))?;
    let next: Result<_, ClientError> = client.get(&url).send().await;
    ensure!(next?.status() == 200, "no new channel");

    let context = account::context(case.node, gas::WITHDRAW).await?;
    let early = account::send(case.node, build::withdraw(&context, &terms)?, &signer).await;
    ensure!(early.is_err(), "withdrawn before the grace period");
    case.node.advance(u32::try_from(CLOSE_GRACE_SECS)?).await?;
    let before = case.node.balance(signer.address()).await?;
    let context = account::context(case.node, gas::WITHDRAW).await?;
    account::send(case.node, build::withdraw(&context, &terms)?, &signer).await?;
    let refund = case
        .node
        .balance(signer.address())
        .await?
        .checked_sub(before);
    let fee = dollars(1).checked_sub(refund.unwrap_or_default());
    ensure!(fee.is_some_and(|fee| fee < cents(1)), "withdrew {refund:?}");
    case.shop().server.catch_up().await?;
    let record = case.shop().server.channel(terms.id()).await?;
    ensure!(matches!(record.phase, Phase::Closed { .. }));
    ensure!(record.settled == Amount::ZERO);
    case.node.return_to_present().await
}
