//! Challenges, opens and sponsorship.

use anyhow::ensure;
use mpp_client::Policy;
use mpp_core::{Amount, Credential, Problem, ProblemKind};
use mpp_tempo::{Signer as _, chain::ChainClient as _, channel::Existence, wire::SessionRequest};
use reqwest::Method;

use super::{
    Case, cents, dollars,
    raw::{self, Raw, refused},
};
use crate::account;

/// PROTOCOL 1: the answer to an unpaid request.
pub(super) async fn unpaid_is_402(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("photo");
    let http = reqwest::Client::new();
    for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE] {
        let response = http.request(method.clone(), &url).send().await?;
        ensure!(response.status() == 402, "{method}: {}", response.status());
        ensure!(response.headers()["cache-control"] == "no-store");
        ensure!(response.headers()["content-type"] == "application/problem+json");
        ensure!(!response.headers().contains_key("payment-receipt"));
        let challenges = raw::challenges(&response)?;
        let [challenge] = challenges.as_slice() else {
            anyhow::bail!("{} challenges", challenges.len());
        };
        ensure!(challenge.realm.as_str() == "shop.example");
        ensure!(challenge.method.as_str() == "tempo");
        ensure!(challenge.intent.as_str() == "session");
        ensure!(challenge.expires_at()? > account::now());
        let request: SessionRequest = challenge.request.decode()?;
        ensure!(request.amount == cents(1) && request.recipient == case.payee());
        ensure!(request.method_details.session_protocol == Some(case.protocol));
        if method != Method::HEAD {
            let problem = Problem::from_json(&response.bytes().await?)?;
            ensure!(problem.kind == ProblemKind::PaymentRequired);
            ensure!(problem.challenge_id.as_ref() == Some(&challenge.id));
        }
    }
    Ok(())
}

/// PROTOCOL 1.3: each kind of bad credential has its own answer.
pub(super) async fn bad_credentials(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("photo");
    let payer = Raw::new(case.payer().await?);
    let challenge = payer.challenge(&url).await?;
    let get = Method::GET;

    let response = payer.authorize(get.clone(), &url, "Payment !!!!").await?;
    refused(response, ProblemKind::MalformedCredential).await?;
    let response = payer.authorize(get.clone(), &url, "Payment e30").await?;
    refused(response, ProblemKind::MalformedCredential).await?;
    let response = payer
        .authorize(get.clone(), &url, "Payment e30, Payment e30")
        .await?;
    refused(response, ProblemKind::BadRequest).await?;

    let empty = serde_json::json!({"action": "dance"});
    let credential = Credential::new(challenge.clone(), empty.clone());
    let response = payer.present(get.clone(), &url, &credential).await?;
    refused(response, ProblemKind::InvalidPayload).await?;

    let mut forged = challenge.clone();
    forged.expires = Some(String::from("2999-01-01T00:00:00Z"));
    let credential = Credential::new(forged, empty.clone());
    let response = payer.present(get.clone(), &url, &credential).await?;
    refused(response, ProblemKind::InvalidChallenge).await?;

    let mut foreign = challenge;
    foreign.intent = mpp_core::IntentName::charge();
    let credential = Credential::new(foreign, empty);
    let response = payer.present(get, &url, &credential).await?;
    refused(response, ProblemKind::MethodUnsupported).await?;
    Ok(())
}

/// PROTOCOL 1.2: a credential for route A never opens route B.
pub(super) async fn other_route(case: &Case<'_>) -> anyhow::Result<()> {
    let payer = Raw::new(case.payer().await?);
    let (challenge, terms) = payer
        .open_channel(case.node, &case.url("photo"), dollars(1))
        .await?;
    let signed = payer.sign(&terms, cents(2)).await?;
    let other = case.url("other");
    let response = payer
        .pay(Method::GET, &other, &challenge, &signed, &terms)
        .await?;
    refused(response, ProblemKind::InvalidChallenge).await?;
    // The voucher was not taken: the honest request still pays with it.
    let response = payer
        .pay(Method::GET, &case.url("photo"), &challenge, &signed, &terms)
        .await?;
    ensure!(response.status() == 200);
    ensure!(raw::receipt(&response)?.spent == cents(2));
    Ok(())
}

/// The first request opens the channel with one transaction.
pub(super) async fn opens_once(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("photo");
    let payer = Raw::new(case.payer().await?);
    let before = case.market.chain.sent();
    let challenge = payer.challenge(&url).await?;
    let prepared = payer.prepare(case.node, &challenge, dollars(1)).await?;
    let first = payer.sign(&prepared.terms, cents(1)).await?;
    let open = payer.open(&prepared, &first);
    let response = payer.send(Method::GET, &url, &challenge, &open).await?;
    ensure!(response.status() == 200, "{}", response.status());
    ensure!(response.headers()["cache-control"] == "private");
    let receipt = raw::receipt(&response)?;
    ensure!(receipt.accepted_cumulative == cents(1) && receipt.spent == cents(1));
    ensure!(receipt.challenge_id == challenge.id && receipt.units == Some(1));
    ensure!(response.text().await? == "a photo");

    let terms = prepared.terms;
    let on_chain = case
        .node
        .chain
        .channel(terms.protocol, terms.escrow, terms.id())
        .await?;
    ensure!(on_chain.existence == Existence::Open && on_chain.deposit == dollars(1));
    // Repeating the open is harmless: no second transaction, nothing charged.
    let again = payer.send(Method::HEAD, &url, &challenge, &open).await?;
    ensure!(again.status() == 204, "repeated open: {}", again.status());
    ensure!(raw::receipt(&again)?.spent == cents(1));
    let sent = case.market.chain.sent().checked_sub(before);
    ensure!(sent == Some(1), "{sent:?} transactions were sent");
    Ok(())
}

/// SECURITY-CASES A35: a good transaction with a bad voucher stays unsent.
pub(super) async fn bad_open_is_not_sent(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("photo");
    let signer = case.payer().await?;
    let payer = Raw::new(signer.clone());
    let before = case.node.balance(signer.address()).await?;
    let challenge = payer.challenge(&url).await?;
    let prepared = payer.prepare(case.node, &challenge, dollars(1)).await?;

    let stranger = Raw::new(account::signer_for("stranger")?);
    let foreign = stranger.forge(&prepared.terms, cents(1));
    let open = payer.open(&prepared, &foreign);
    let response = payer.send(Method::GET, &url, &challenge, &open).await?;
    refused(response, ProblemKind::SignerMismatch).await?;

    let above = payer.sign(&prepared.terms, dollars(2)).await?;
    let open = payer.open(&prepared, &above);
    let response = payer.send(Method::GET, &url, &challenge, &open).await?;
    refused(response, ProblemKind::AmountExceedsDeposit).await?;

    ensure!(case.node.balance(signer.address()).await? == before);
    // The same transaction with its right voucher goes through.
    let first = payer.sign(&prepared.terms, cents(1)).await?;
    let open = payer.open(&prepared, &first);
    let response = payer.send(Method::GET, &url, &challenge, &open).await?;
    ensure!(response.status() == 200);
    Ok(())
}

/// PROTOCOL 4 and 5.3: with `feePayer` the sponsor pays, to the last unit.
pub(super) async fn sponsored(case: &Case<'_>) -> anyhow::Result<()> {
    let signer = case.payer().await?;
    let sponsor = case.market.sponsor.address();
    let payer_before = case.node.balance(signer.address()).await?;
    let sponsor_before = case.node.balance(sponsor).await?;
    let client = case.client(signer.clone(), Policy::new(dollars(3)))?;
    let url = case.url("sponsored");
    let session = client.session(&url)?;
    let response = session.get(&url).send().await?;
    ensure!(response.status() == 200, "{}", response.status());
    session.top_up(dollars(1)).await?;
    let payer_after = case.node.balance(signer.address()).await?;
    let deposit = payer_before.checked_sub(payer_after);
    ensure!(deposit == Some(dollars(2)), "payer paid {deposit:?}");
    let fees = sponsor_before.checked_sub(case.node.balance(sponsor).await?);
    ensure!(fees > Some(Amount::ZERO), "sponsor paid {fees:?}");
    Ok(())
}
