//! Charges through the paying client (PROTOCOL 4): every mode, identity, bodies, lost answers.

use std::time::Duration;

use alloy_primitives::{Address, B256, address};
use anyhow::{Context as _, ensure};
use axum::{
    Router,
    routing::{any, get},
};
use bytes::Bytes;
use http::HeaderMap;
use mpp_client::{ChargeState, ClientError, IntentPolicy, Policy};
use mpp_core::{Amount, ChargeReceipt, Receipt};
use mpp_http::{
    client::{Client, PaidResponse},
    server::{Paid, PaymentLayer, VerifiedPayer},
};
use mpp_server::{PaymentServer, Route, charge::ChargeOffer};
use mpp_tempo::{
    SessionProtocol, Signer as _,
    chain::{ChainClient as _, rpc::RpcAccount},
    network::PATH_USD,
    wire::ChargeMode,
};

use super::{Case, cents, dollars};
use crate::{
    account::{self, ALPHA_USD},
    node::control::Control,
    wallet_daemon::WalletDaemon,
};

/// Who gets a part of a split charge.
const PARTNER: Address = address!("00000000000000000000000000000000000a11ce");
/// A header whose request is served so slowly that nobody waits for it.
const SLOWLY: &str = "x-slowly";
/// How long the client of a slow request waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// The routes that are bought from here, under `/{protocol}/once`.
pub(super) fn router(server: &PaymentServer, protocol: SessionProtocol) -> anyhow::Result<Router> {
    let offer = || server.charge().amount("0.01");
    let stall = Stall { server, protocol };
    let session = server.session().amount("0.01").suggested_deposit("1");
    let body = any(async |_: Paid, body: Bytes| body);
    let who = get(async |VerifiedPayer(account): VerifiedPayer| account.to_string());
    let mixed = Route::new(
        stall.path("both"),
        [session.protocol(protocol).build()?, offer().build()?],
    )?;
    Ok(Router::new()
        .merge(stall.sell("plain", offer(), get(photo))?)
        .merge(stall.sell("pushed", offer().modes([ChargeMode::Push]), get(photo))?)
        .merge(stall.sell("sponsored", offer().sponsored(), get(photo))?)
        .merge(stall.sell("split", offer().split(PARTNER, "0.004"), get(photo))?)
        .merge(stall.sell("alpha", offer().currency(ALPHA_USD), get(photo))?)
        .merge(stall.sell("me", offer().amount("0"), who)?)
        .merge(stall.serve(stall.route("echo", [offer()])?.bind_body(), body))
        .merge(stall.serve(mixed, get(photo))))
}

struct Stall<'a> {
    server: &'a PaymentServer,
    protocol: SessionProtocol,
}

impl Stall<'_> {
    fn path(&self, name: &str) -> String {
        format!("/{}/once/{name}", self.protocol)
    }

    fn route(
        &self,
        name: &str,
        offers: impl IntoIterator<Item = ChargeOffer>,
    ) -> anyhow::Result<Route> {
        let offers: Result<Vec<_>, _> = offers.into_iter().map(ChargeOffer::build).collect();
        Ok(Route::new(self.path(name), offers?)?)
    }

    fn sell(
        &self,
        name: &str,
        offer: ChargeOffer,
        handler: axum::routing::MethodRouter,
    ) -> anyhow::Result<Router> {
        Ok(self.serve(self.route(name, [offer])?, handler))
    }

    fn serve(&self, route: Route, handler: axum::routing::MethodRouter) -> Router {
        let path = route.scope().to_owned();
        let pay = PaymentLayer::new(self.server.clone(), route);
        Router::new().route(&path, handler.layer(pay))
    }
}

async fn photo(_: Paid, headers: HeaderMap) -> &'static str {
    if headers.contains_key(SLOWLY) {
        tokio::time::sleep(PATIENCE.saturating_mul(5)).await;
    }
    "a photo"
}

fn policy() -> Policy {
    Policy::new(dollars(1))
}

fn receipt(response: &PaidResponse) -> anyhow::Result<ChargeReceipt> {
    match response.receipt() {
        Some(Receipt::Charge(receipt)) => Ok(receipt.clone()),
        other => anyhow::bail!("{other:?} is no receipt of a charge"),
    }
}

/// Buys, and checks that receipt, book and chain agree.
async fn buy(case: &Case<'_>, client: &Client, name: &str) -> anyhow::Result<B256> {
    let url = case.url(&format!("once/{name}"));
    let response = client.get(url).send().await?;
    ensure!(response.status() == 200, "{}", response.status());
    let tx_hash: B256 = receipt(&response)?.reference.parse()?;
    let mined = case.node.chain.receipt(tx_hash).await?;
    ensure!(mined.context("not mined")?.success);
    let charges = client.charges()?;
    let served = ChargeState::Served { tx_hash };
    ensure!(charges.iter().any(|charge| charge.state == served));
    Ok(tx_hash)
}

async fn balance(case: &Case<'_>, token: Address, owner: Address) -> anyhow::Result<Amount> {
    Ok(case.node.chain.token_balance(token, owner).await?)
}

/// What an account has gained, in base units.
fn gain(before: Amount, after: Amount) -> u128 {
    after.base_units().saturating_sub(before.base_units())
}

pub(super) async fn pull(case: &Case<'_>) -> anyhow::Result<()> {
    let client = case.client(case.payer().await?, policy())?;
    let before = balance(case, PATH_USD, case.payee()).await?;
    for _ in 0..3 {
        buy(case, &client, "plain").await?;
    }
    let after = balance(case, PATH_USD, case.payee()).await?;
    // The payee pays fees for other checks at the same time, but never here.
    ensure!(gain(before, after) == cents(3).base_units());
    ensure!(client.charges()?.len() == 3);
    Ok(())
}

pub(super) async fn push(case: &Case<'_>) -> anyhow::Result<()> {
    let payer = case.payer().await?;
    let told = case.client(payer.clone(), policy().charge_by(ChargeMode::Push))?;
    buy(case, &told, "plain").await?;
    // Where the server takes nothing else, it needs no telling.
    let client = case.client(payer, policy())?;
    buy(case, &client, "pushed").await?;
    Ok(())
}

/// The key is with a wallet daemon, or with the node, where that has keys.
pub(super) async fn by_wallet(case: &Case<'_>) -> anyhow::Result<()> {
    let payer = case.payer().await?;
    let daemon = WalletDaemon::start(case.node, payer.clone()).await?;
    let client = keyless(case, &daemon.url, payer.address())?;
    buy(case, &client, "plain").await?;
    let before = balance(case, PATH_USD, PARTNER).await?;
    buy(case, &client, "split").await?;
    ensure!(gain(before, balance(case, PATH_USD, PARTNER).await?) == 4_000);
    if let Ok(Control::Anvil(_)) = case.node.control() {
        let account = account::development(7)?.address();
        let client = keyless(case, &case.node.url, account)?;
        buy(case, &client, "plain").await?;
    }
    Ok(())
}

/// A client without a key.
fn keyless(case: &Case<'_>, url: &str, account: Address) -> anyhow::Result<Client> {
    // A server that was paid without splits adds none later, unless the payer knows who gets them.
    let policy = policy().allow_recipient(case.payee());
    Ok(Client::builder()
        .wallet(RpcAccount::new(url, account)?)
        .chain(case.node.chain.clone())
        .policy(policy.allow_recipient(PARTNER))
        .build()?)
}

pub(super) async fn sponsored(case: &Case<'_>) -> anyhow::Result<()> {
    let payer = case.payer().await?;
    let client = case.client(payer.clone(), policy())?;
    let before = balance(case, PATH_USD, payer.address()).await?;
    buy(case, &client, "sponsored").await?;
    let after = balance(case, PATH_USD, payer.address()).await?;
    ensure!(gain(after, before) == cents(1).base_units(), "it paid fees");
    Ok(())
}

pub(super) async fn splits(case: &Case<'_>) -> anyhow::Result<()> {
    let client = case.client(case.payer().await?, policy())?;
    let payee = balance(case, PATH_USD, case.payee()).await?;
    let partner = balance(case, PATH_USD, PARTNER).await?;
    buy(case, &client, "split").await?;
    ensure!(gain(payee, balance(case, PATH_USD, case.payee()).await?) == 6_000);
    ensure!(gain(partner, balance(case, PATH_USD, PARTNER).await?) == 4_000);
    Ok(())
}

pub(super) async fn other_token(case: &Case<'_>) -> anyhow::Result<()> {
    let payer = case.payer().await?;
    let refused = case.client(payer.clone(), policy())?;
    let url = case.url("once/alpha");
    let answer = refused.get(url).send().await;
    ensure!(matches!(answer, Err(ClientError::Policy(_))), "{answer:?}");
    account::fund_token(case.node, ALPHA_USD, payer.address(), dollars(1)).await?;
    let client = case.client(payer, policy().allow_currency(ALPHA_USD))?;
    let before = balance(case, ALPHA_USD, case.payee()).await?;
    buy(case, &client, "alpha").await?;
    let after = balance(case, ALPHA_USD, case.payee()).await?;
    ensure!(gain(before, after) == cents(1).base_units());
    Ok(())
}

/// PROTOCOL 4: zero amount, a proof each time, and no transaction.
pub(super) async fn identity(case: &Case<'_>) -> anyhow::Result<()> {
    let payer = case.payer().await?;
    let client = case.client(payer.clone(), policy())?;
    for _ in 0..2 {
        let response = client.get(case.url("once/me")).send().await?;
        receipt(&response)?;
        let account = response.text().await?;
        ensure!(account == payer.address().to_string(), "{account}");
    }
    ensure!(client.charges()?.is_empty());
    Ok(())
}

/// PROTOCOL 1.1: the payment is bound to the body.
pub(super) async fn body(case: &Case<'_>) -> anyhow::Result<()> {
    let client = case.client(case.payer().await?, policy())?;
    for text in ["one", "two"] {
        let response = client.post(case.url("once/echo")).body(text).send().await?;
        ensure!(response.status() == 200);
        receipt(&response)?;
        ensure!(response.text().await? == text);
    }
    ensure!(client.charges()?.len() == 2);
    Ok(())
}

pub(super) async fn compose(case: &Case<'_>) -> anyhow::Result<()> {
    let payer = case.payer().await?;
    for (intents, is_session) in [
        (IntentPolicy::SessionFirst, true),
        (IntentPolicy::ChargeFirst, false),
    ] {
        let client = case.client(payer.clone(), policy().intents(intents))?;
        let response = client.get(case.url("once/both")).send().await?;
        ensure!(response.status() == 200);
        let by_session = matches!(response.receipt(), Some(Receipt::Session(_)));
        ensure!(by_session == is_session, "{:?}", response.receipt());
    }
    Ok(())
}

/// A lost answer: found out on the chain, and served for the same payment.
pub(super) async fn lost(case: &Case<'_>) -> anyhow::Result<()> {
    let client = case.client(case.payer().await?, policy())?;
    let before = balance(case, PATH_USD, case.payee()).await?;
    let url = case.url("once/plain");
    let request = || client.get(&url).idempotency_key("purchase");
    let slow = request().header(SLOWLY, "1").timeout(PATIENCE);
    let answer = slow.without_repeats().send().await;
    let Err(ClientError::ChargeIndeterminate { charge, .. }) = answer else {
        anyhow::bail!("{answer:?} is not indeterminate");
    };
    let state = client.resolve_charge(&charge.id).await?;
    let tx_hash = charge.tx_hash.context("no transaction")?;
    ensure!(state == ChargeState::Paid { tx_hash }, "{state:?}");
    let response = request().send().await?;
    ensure!(response.status() == 200, "{}", response.status());
    ensure!(receipt(&response)?.reference.parse() == Ok(tx_hash));
    let after = balance(case, PATH_USD, case.payee()).await?;
    ensure!(gain(before, after) == cents(1).base_units(), "paid twice");
    Ok(())
}
