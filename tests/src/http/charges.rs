//! Charges through the real client, over sockets (PROTOCOL 4).

mod compose;
mod lost;
mod shutdown;

use alloy_primitives::{Address, B256};
use axum::{
    Router,
    routing::{any, get},
};
use bytes::Bytes;
use http::StatusCode;
use mpp_client::{ChargeState, IntentPolicy, Policy};
use mpp_core::{Amount, ChargeReceipt, Receipt};
use mpp_http::{
    client::{Client, PaidResponse},
    server::{Paid, PaymentLayer, VerifiedPayer},
};
use mpp_server::{Route, charge::ChargeOffer};
use mpp_tempo::{network::PATH_USD, wire::ChargeMode};

use crate::{
    pair::{BOTH, Pair},
    shop::{Visits, photo, sell},
};

/// Price of everything here, in base units.
const PRICE: u128 = 10_000;

fn charge(pair: &Pair) -> ChargeOffer {
    pair.server.charge().amount("0.01")
}

/// Sells `/photo` for this.
async fn selling(offer: impl FnOnce(&Pair) -> ChargeOffer) -> (Pair, Visits) {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let offer = offer(&pair).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], photo(&visits));
    pair.socket.serve(app);
    (pair, visits)
}

fn policy() -> Policy {
    Policy::new(Amount::new(1_000_000))
}

async fn buy(pair: &Pair, client: &Client) -> ChargeReceipt {
    let response = client.get(pair.url("/photo")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    receipt(&response)
}

#[track_caller]
fn receipt(response: &PaidResponse) -> ChargeReceipt {
    match response.receipt() {
        Some(Receipt::Charge(receipt)) => receipt.clone(),
        other => panic!("{other:?}"),
    }
}

fn hash(receipt: &ChargeReceipt) -> B256 {
    receipt.reference.parse().unwrap()
}

#[tokio::test]
async fn a_photo_is_bought_by_pull() {
    let (pair, visits) = selling(charge).await;
    let client = pair.client();
    let (payee, payer) = (pair.balance(pair.payee()), pair.balance(pair.payer()));
    let receipt = buy(&pair, &client).await;
    let mined = pair.chain.receipt(hash(&receipt)).unwrap();
    assert!(mined.success);
    assert_eq!(pair.balance(pair.payee()) - payee, PRICE);
    assert!(payer - pair.balance(pair.payer()) >= PRICE);
    assert_eq!(visits.count(), 1);
    let charges = client.charges().unwrap();
    assert_eq!(charges.len(), 1);
    let tx_hash = hash(&receipt);
    assert_eq!(charges[0].state, ChargeState::Served { tx_hash });
    assert_eq!(charges[0].amount, Amount::new(PRICE));
}

#[tokio::test]
async fn a_photo_is_bought_by_push_when_told() {
    let (pair, visits) = selling(charge).await;
    let client = pair.client_with(policy().charge_by(ChargeMode::Push));
    let receipt = buy(&pair, &client).await;
    assert!(pair.chain.receipt(hash(&receipt)).unwrap().success);
    // And when the server takes nothing else.
    let (pair, _) = selling(|pair| charge(pair).modes([ChargeMode::Push])).await;
    buy(&pair, &pair.client()).await;
    assert_eq!(visits.count(), 1);
}

#[tokio::test]
async fn the_server_pays_the_fees_of_a_sponsored_charge() {
    let (pair, _) = selling(|pair| charge(pair).sponsored()).await;
    let client = pair.client();
    let payer = pair.balance(pair.payer());
    let receipt = buy(&pair, &client).await;
    assert_eq!(payer - pair.balance(pair.payer()), PRICE);
    let tx_hash = hash(&receipt);
    let state = client.charges().unwrap()[0].state;
    assert_eq!(state, ChargeState::Served { tx_hash });
}

#[tokio::test]
async fn splits_go_where_the_server_says() {
    let (first, second) = (Address::repeat_byte(1), Address::repeat_byte(2));
    for is_sponsored in [false, true] {
        let (pair, _) = selling(|pair| {
            let offer = charge(pair).split(first, "0.004").split(second, "0.001");
            match is_sponsored {
                true => offer.sponsored(),
                false => offer,
            }
        })
        .await;
        let payee = pair.balance(pair.payee());
        buy(&pair, &pair.client()).await;
        assert_eq!(pair.balance(pair.payee()) - payee, 5_000);
        assert_eq!(pair.balance(first), 4_000);
        assert_eq!(pair.balance(second), 1_000);
    }
}

// PROTOCOL 4: up to ten splits, whoever pays the fees.
#[tokio::test]
async fn as_many_splits_as_there_may_be_are_paid() {
    let recipients = (1..=10).map(Address::repeat_byte);
    let (pair, _) = selling(|pair| {
        let offer = charge(pair).sponsored();
        recipients
            .clone()
            .fold(offer, |offer, recipient| offer.split(recipient, "0.0005"))
    })
    .await;
    let (payee, payer) = (pair.balance(pair.payee()), pair.balance(pair.payer()));
    buy(&pair, &pair.client()).await;
    assert_eq!(pair.balance(pair.payee()) - payee, 5_000);
    assert_eq!(payer - pair.balance(pair.payer()), PRICE);
    assert!(
        recipients
            .clone()
            .all(|recipient| pair.balance(recipient) == 500)
    );
}

#[tokio::test]
async fn another_token_is_paid_when_it_is_allowed() {
    let pair = Pair::new().await;
    let token = pair.chain.config().tokens[1].address;
    let offer = charge(&pair).currency(token).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], photo(&Visits::default()));
    pair.socket.serve(app);
    let refused = pair.client().get(pair.url("/photo")).send().await;
    assert!(
        matches!(refused, Err(mpp_client::ClientError::Policy(_))),
        "{refused:?}"
    );
    let before = pair.chain.balance(token, pair.payee()).base_units();
    let client = pair.client_with(policy().allow_currency(token).allow_currency(PATH_USD));
    buy(&pair, &client).await;
    let after = pair.chain.balance(token, pair.payee()).base_units();
    assert_eq!(after - before, PRICE);
}

// PROTOCOL 4: a charge of zero is answered with a proof; once only.
#[tokio::test]
async fn a_proof_route_knows_who_is_asking() {
    let pair = Pair::new().await;
    let offer = pair.server.charge().amount("0").build().unwrap();
    let who = get(async |VerifiedPayer(account): VerifiedPayer| account.to_string());
    pair.socket.serve(sell(&pair.server, "/me", [offer], who));
    let client = pair.client();
    let mined = pair.chain.transactions_mined();
    for _ in 0..2 {
        let response = client.get(pair.url("/me")).send().await.unwrap();
        let receipt = receipt(&response);
        assert_eq!(receipt.challenge_id.unwrap().as_str(), receipt.reference);
        assert_eq!(response.text().await.unwrap(), pair.payer().to_string());
    }
    assert_eq!(pair.chain.transactions_mined(), mined);
    assert!(client.charges().unwrap().is_empty());
}

#[tokio::test]
async fn a_payment_is_no_proof_of_identity() {
    let pair = Pair::new().await;
    let charge = charge(&pair).build().unwrap();
    let session = pair.offer(BOTH[1]).build().unwrap();
    let who = || get(async |VerifiedPayer(account): VerifiedPayer| account.to_string());
    let app = sell(&pair.server, "/charge", [charge], who())
        .merge(sell(&pair.server, "/session", [session], who()))
        .route("/free", who());
    pair.socket.serve(app);
    let client = pair.client();
    for path in ["/charge", "/session", "/free"] {
        let response = client.get(pair.url(path)).send().await.unwrap();
        assert_eq!(
            response.status(),
            StatusCode::INTERNAL_SERVER_ERROR,
            "{path}"
        );
        assert!(response.receipt().is_none());
    }
}

#[tokio::test]
async fn handlers_of_charges_know_who_paid() {
    let pair = Pair::new().await;
    let offer = charge(&pair).build().unwrap();
    let who = get(async |paid: Paid| format!("{:?}", paid.payer()));
    pair.socket.serve(sell(&pair.server, "/who", [offer], who));
    let response = pair.client().get(pair.url("/who")).send().await.unwrap();
    let expected = format!("{:?}", Some(pair.payer()));
    assert_eq!(response.text().await.unwrap(), expected);
}

fn echo(pair: &Pair) -> Router {
    let offer = charge(pair).build().unwrap();
    let route = Route::new("/echo", [offer]).unwrap().bind_body();
    let pay = PaymentLayer::new(pair.server.clone(), route);
    let handler = any(async |_: Paid, body: Bytes| body);
    Router::new().route("/echo", handler.layer(pay))
}

// PROTOCOL 1.1: body binding.
#[tokio::test]
async fn a_charge_pays_for_the_body_it_was_asked_for() {
    let pair = Pair::new().await;
    pair.socket.serve(echo(&pair));
    let client = pair.client();
    for body in ["one", ""] {
        // A bare POST would only manage a channel.
        let request = client.post(pair.url("/echo?q")).body(body);
        let response = request.send().await.unwrap();
        receipt(&response);
        assert_eq!(response.text().await.unwrap(), body);
    }
    assert_eq!(client.charges().unwrap().len(), 2);
}

#[tokio::test]
async fn a_streamed_body_on_a_route_that_binds_bodies_is_not_paid_twice() {
    let pair = Pair::new().await;
    pair.socket.serve(echo(&pair));
    let client = pair.client();
    let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from("once"))]);
    let request = client.post(pair.url("/echo"));
    let request = request.body_stream(reqwest::Body::wrap_stream(stream));
    let before = pair.balance(pair.payee());
    request.send().await.unwrap_err();
    assert_eq!(pair.balance(pair.payee()), before);
    let charges = client.charges().unwrap();
    assert_eq!(
        charges.len(),
        1,
        "one was signed, and the server refused it"
    );
    pair.advance(31);
    pair.chain.mine();
    let state = client.resolve_charge(&charges[0].id).await.unwrap();
    assert_eq!(state, ChargeState::Void);
}

#[tokio::test]
async fn the_client_takes_charges_only_when_told() {
    let (pair, visits) = selling(charge).await;
    let client = pair.client_with(policy().intents(IntentPolicy::SessionOnly));
    client.get(pair.url("/photo")).send().await.unwrap_err();
    assert_eq!(visits.count(), 0);
    assert!(client.charges().unwrap().is_empty());
}

#[tokio::test]
async fn the_budget_of_a_day_counts_each_charge_once() {
    let (pair, visits) = selling(charge).await;
    let limited = policy().max_charged_per_origin(Amount::new(3 * PRICE));
    let client = pair.client_with(limited);
    for _ in 0..3 {
        buy(&pair, &client).await;
    }
    let refused = client.get(pair.url("/photo")).send().await;
    assert!(
        matches!(refused, Err(mpp_client::ClientError::Policy(_))),
        "{refused:?}"
    );
    assert_eq!(visits.count(), 3);
}
