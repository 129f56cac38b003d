//! The rules of vouchers (PROTOCOL 5.4).

use anyhow::ensure;
use k256::elliptic_curve::scalar::FromUintUnchecked as _;
use mpp_core::ProblemKind;
use mpp_tempo::{ChannelTerms, voucher::SignedVoucher};
use reqwest::Method;

use super::{
    Case, cents, dollars,
    raw::{self, Raw, refused, voucher},
};
use crate::account;

/// In sequence, equal, lower, above the deposit, foreign, high-s, other chain.
pub(super) async fn rules(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("photo");
    let payer = Raw::new(case.payer().await?);
    let (challenge, terms) = payer.open_channel(case.node, &url, dollars(1)).await?;
    let send = async |method: Method, signed: &SignedVoucher| {
        payer.pay(method, &url, &challenge, signed, &terms).await
    };

    let second = payer.sign(&terms, cents(2)).await?;
    let response = send(Method::GET, &second).await?;
    ensure!(response.status() == 200, "next: {}", response.status());
    ensure!(raw::receipt(&response)?.spent == cents(2));

    // Equal: idempotent, and the balance does not cover another photo.
    let response = send(Method::HEAD, &second).await?;
    ensure!(response.status() == 204, "equal: {}", response.status());
    let unchanged = raw::receipt(&response)?;
    ensure!(unchanged.accepted_cumulative == cents(2) && unchanged.spent == cents(2));
    let short = refused(
        send(Method::GET, &second).await?,
        ProblemKind::InsufficientBalance,
    )
    .await?;
    ensure!(short.required_top_up == Some(cents(1)));
    ensure!(short.required_cumulative == Some(cents(3)));
    ensure!(short.accepted_cumulative == Some(cents(2)) && short.deposit == Some(dollars(1)));

    let lower = payer.sign(&terms, cents(1)).await?;
    refused(send(Method::GET, &lower).await?, ProblemKind::DeltaTooSmall).await?;
    let above = payer.sign(&terms, cents(101)).await?;
    let response = send(Method::GET, &above).await?;
    refused(response, ProblemKind::AmountExceedsDeposit).await?;
    let foreign = Raw::new(account::signer_for("stranger")?);
    let response = send(Method::GET, &foreign.forge(&terms, cents(3))).await?;
    refused(response, ProblemKind::SignerMismatch).await?;
    let other_chain = ChannelTerms {
        chain_id: 4217,
        ..terms
    };
    let mut signed = payer.forge(&other_chain, cents(3));
    signed.voucher.channel_id = terms.id();
    let response = send(Method::GET, &signed).await?;
    refused(response, ProblemKind::SignerMismatch).await?;
    let third = payer.sign(&terms, cents(3)).await?;
    high_s(&payer, &url, &challenge, &terms, &third).await?;

    // After all of that the honest voucher still works, and nothing was lost.
    let response = send(Method::GET, &third).await?;
    ensure!(response.status() == 200, "honest: {}", response.status());
    ensure!(raw::receipt(&response)?.spent == cents(3));
    Ok(())
}

/// SECURITY-CASES A9: the mirrored signature is refused, as the chain does.
async fn high_s(
    payer: &Raw,
    url: &str,
    challenge: &mpp_core::Challenge,
    terms: &ChannelTerms,
    signed: &SignedVoucher,
) -> anyhow::Result<()> {
    let mut payload = voucher(terms, signed).to_value();
    let mut bytes = signed.signature.to_bytes();
    let low = k256::U256::from_be_slice(bytes.get(32..64).unwrap_or_default());
    let high = k256::Scalar::from_uint_unchecked(low).negate();
    bytes.splice(32..64, high.to_bytes());
    if let Some(v) = bytes.get_mut(64) {
        *v = 55_u8.saturating_sub(*v);
    }
    let text = alloy_primitives::hex::encode_prefixed(bytes);
    if let Some(signature) = payload.get_mut("signature") {
        *signature = text.into();
    }
    let credential = mpp_core::Credential::new(challenge.clone(), payload);
    let response = payer.present(Method::GET, url, &credential).await?;
    refused(response, ProblemKind::InvalidSignature).await?;
    Ok(())
}

/// PROTOCOL 5.1: increases below `minVoucherDelta` are refused.
pub(super) async fn minimum_delta(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("steps");
    let payer = Raw::new(case.payer().await?);
    let (challenge, terms) = payer.open_channel(case.node, &url, dollars(1)).await?;
    let small = payer.sign(&terms, cents(5)).await?;
    let response = payer
        .pay(Method::GET, &url, &challenge, &small, &terms)
        .await?;
    refused(response, ProblemKind::DeltaTooSmall).await?;
    let enough = payer.sign(&terms, cents(6)).await?;
    let response = payer
        .pay(Method::GET, &url, &challenge, &enough, &terms)
        .await?;
    ensure!(response.status() == 200);
    // The price is charged, not the increase (SECURITY-CASES A24).
    ensure!(raw::receipt(&response)?.spent == cents(2));
    Ok(())
}
