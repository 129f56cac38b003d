//! Every honest way to pay once (PROTOCOL 4).

use anyhow::ensure;
use mpp_core::Amount;
use mpp_tempo::{Signer as _, chain::ChainClient as _, charge::ProofTerms, wire::ChargePayload};

use super::{Case, market::OTHER_TOKEN};

const PRICE: Amount = Amount::new(10_000);

/// What came in, in base units.
fn gain(before: Amount, after: Amount) -> Option<Amount> {
    after.checked_sub(before)
}

pub(super) async fn pulled(case: &Case<'_>) -> anyhow::Result<()> {
    let (wallet, url) = (case.wallet().await?, case.url("photo"));
    let payee = case.market.payee.address();
    let before = case.balance(payee).await?;
    let challenge = wallet.raw.challenge(&url).await?;
    let signed = wallet.sign(wallet.transaction(&challenge).await?)?;
    let credential = wallet.pull(&challenge, &signed)?;
    let (receipt, body) = wallet.buy(&url, &credential).await?;
    ensure!(receipt.reference == signed.hash().to_string());
    ensure!(receipt.challenge_id == Some(challenge.id));
    ensure!(receipt.external_id.as_deref() == Some("order-1"));
    ensure!(
        body.ends_with(&format!("{:#x}", wallet.address())),
        "{body}"
    );
    ensure!(gain(before, case.balance(payee).await?) == Some(PRICE));
    Ok(())
}

pub(super) async fn pushed(case: &Case<'_>) -> anyhow::Result<()> {
    let (wallet, url) = (case.wallet().await?, case.url("photo"));
    let challenge = wallet.raw.challenge(&url).await?;
    let signed = wallet.sign(wallet.transaction(&challenge).await?)?;
    let sent = case.market.chain.sent();
    let mined = case.node.chain.send_and_wait(signed.encode()).await?;
    ensure!(mined.success);
    let credential = wallet.push(&challenge, mined.hash)?;
    let (receipt, _) = wallet.buy(&url, &credential).await?;
    ensure!(receipt.reference == mined.hash.to_string());
    ensure!(
        case.market.chain.sent() == sent,
        "the server has sent something"
    );
    Ok(())
}

pub(super) async fn sponsored(case: &Case<'_>) -> anyhow::Result<()> {
    let (wallet, url) = (case.wallet().await?, case.url("sponsored"));
    let sponsor = case.market.sponsor.address();
    let before = (
        case.balance(wallet.address()).await?,
        case.balance(sponsor).await?,
    );
    // The 0x78 envelope, and the 0x76 form with a placeholder.
    let credential = wallet.pay(&url).await?;
    wallet.buy(&url, &credential).await?;
    let challenge = wallet.raw.challenge(&url).await?;
    let transaction = wallet.sign_raw(wallet.transaction(&challenge).await?);
    ensure!(transaction.first() == Some(&0x76));
    let payload = ChargePayload::Transaction { transaction };
    let credential = wallet.credential(&challenge, &payload)?;
    wallet.buy(&url, &credential).await?;
    let paid = before.0.checked_sub(case.balance(wallet.address()).await?);
    ensure!(paid == PRICE.checked_mul(2), "the payer paid {paid:?}");
    ensure!(case.balance(sponsor).await? < before.1);
    let health = case.market.shop.server.sponsor_health().await?;
    ensure!(health.is_some_and(|sponsor| !sponsor.is_low()));
    Ok(())
}

async fn split(case: &Case<'_>, path: &str) -> anyhow::Result<()> {
    let (wallet, url) = (case.wallet().await?, case.url(path));
    let [first, second] = case.market.partners;
    let receivers = [case.market.payee.address(), first, second];
    let mut before = Vec::new();
    for receiver in receivers {
        before.push(case.balance(receiver).await?);
    }
    let challenge = wallet.raw.challenge(&url).await?;
    let mut transaction = wallet.transaction(&challenge).await?;
    // Any order will do.
    transaction.calls.reverse();
    let credential = wallet.pull(&challenge, &wallet.sign(transaction)?)?;
    wallet.buy(&url, &credential).await?;
    let expected = [5_000, 4_000, 1_000].map(Amount::new);
    for ((receiver, before), expected) in receivers.into_iter().zip(before).zip(expected) {
        let got = gain(before, case.balance(receiver).await?);
        ensure!(got == Some(expected), "{receiver} got {got:?}");
    }
    Ok(())
}

pub(super) async fn splits(case: &Case<'_>) -> anyhow::Result<()> {
    split(case, "split").await
}

pub(super) async fn sponsored_splits(case: &Case<'_>) -> anyhow::Result<()> {
    split(case, "sponsored-split").await
}

pub(super) async fn other_token(case: &Case<'_>) -> anyhow::Result<()> {
    let (wallet, url) = (case.wallet().await?, case.url("token"));
    let payee = case.market.payee.address();
    let before = case.node.chain.token_balance(OTHER_TOKEN, payee).await?;
    let credential = wallet.pay(&url).await?;
    wallet.buy(&url, &credential).await?;
    let after = case.node.chain.token_balance(OTHER_TOKEN, payee).await?;
    ensure!(gain(before, after) == Some(PRICE));
    Ok(())
}

pub(super) async fn proof(case: &Case<'_>) -> anyhow::Result<()> {
    let (wallet, url) = (case.wallet().await?, case.url("members"));
    let challenge = wallet.raw.challenge(&url).await?;
    let terms = ProofTerms {
        account: wallet.address(),
        chain_id: case.node.network()?.chain_id,
        challenge_id: challenge.id.as_str(),
        realm: challenge.realm.as_str(),
    };
    let signature = terms.sign(&wallet.raw.signer).await?;
    let credential = wallet.credential(&challenge, &ChargePayload::Proof { signature })?;
    let (receipt, body) = wallet.buy(&url, &credential).await?;
    ensure!(receipt.reference == challenge.id.as_str());
    ensure!(
        body.ends_with(&format!("{:#x}", wallet.address())),
        "{body}"
    );
    let again = wallet.show(&url, &credential).await?;
    ensure!(again.status() == 403, "replayed proof: {}", again.status());
    ensure!(!again.headers().contains_key("www-authenticate"));
    Ok(())
}

pub(super) async fn refund(case: &Case<'_>) -> anyhow::Result<()> {
    let (wallet, url) = (case.wallet().await?, case.url("photo"));
    let credential = wallet.pay(&url).await?;
    let (receipt, _) = wallet.buy(&url, &credential).await?;
    let before = case.balance(wallet.address()).await?;
    let server = &case.market.shop.server;
    let part = Amount::new(4_000);
    let refund = server.refund_to(&receipt, part).await?;
    ensure!(server.refund_to(&receipt, part).await? == refund);
    let got = gain(before, case.balance(wallet.address()).await?);
    ensure!(got == Some(part), "{got:?} came back");
    ensure!(refund.receipt.challenge_id == receipt.challenge_id);
    let mined = case
        .node
        .chain
        .receipt(refund.receipt.reference.parse()?)
        .await?;
    ensure!(mined.is_some_and(|mined| mined.success));
    let too_much = server.refund_to(&receipt, Amount::new(10_001)).await;
    ensure!(too_much.is_err(), "more came back than was paid");
    Ok(())
}
