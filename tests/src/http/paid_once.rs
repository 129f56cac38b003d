//! Charges over HTTP: paid once, served once, on requests of every kind.

use axum::{
    Router,
    response::IntoResponse as _,
    routing::{any, get},
};
use http::{Method, StatusCode};
use mpp_core::{
    Challenge, ChargeReceipt, Credential, ProblemKind, Receipt,
    header::{credential, names, receipt},
};
use mpp_http::server::Paid;
use mpp_tempo::{
    charge::{AttributionMemo, Transfers},
    tx::{
        build::{self, Transfer},
        gas,
    },
    wire::{ChargePayload, ChargeRequest},
};

use crate::{
    pair::Pair,
    shop::{Visits, anything, photo, sell},
    wallet::{Answer, Ask, challenge_of},
};

/// A credential that pays a challenge, as a header value.
async fn pay(pair: &Pair, challenge: &Challenge) -> String {
    let request: ChargeRequest = challenge.request.decode().unwrap();
    let memo = AttributionMemo::new(challenge.realm.as_str(), None, challenge.id.as_str());
    let asked = Transfers::try_from(&request).unwrap();
    let transfers: Vec<_> = asked
        .with_attribution(memo)
        .iter()
        .map(|one| Transfer::of_charge(request.currency, one))
        .collect();
    let wallet = pair.wallet();
    let unsigned = build::transfer(&wallet.context(gas::TRANSFER), &transfers).unwrap();
    let transaction = unsigned.sign(&wallet.signer).await.unwrap().encode();
    let payload = ChargePayload::Transaction { transaction };
    let payload = serde_json::to_value(payload).unwrap();
    credential::encode(&Credential::new(challenge.clone(), payload)).unwrap()
}

async fn paid(pair: &Pair, app: &Router, path: &str) -> String {
    pay(pair, &challenge_of(app, path).await).await
}

fn charged(answer: &Answer) -> ChargeReceipt {
    let value = answer.headers[names::PAYMENT_RECEIPT].to_str().unwrap();
    match receipt::parse(value).unwrap() {
        Receipt::Charge(receipt) => receipt,
        Receipt::Session(_) => panic!("a session receipt"),
    }
}

fn route(pair: &Pair, handler: axum::routing::MethodRouter) -> Router {
    let offer = pair.server.charge().amount("0.01").build().unwrap();
    sell(&pair.server, "/photo", [offer], handler)
}

// PROTOCOL 1: 402, then the paid retry with its receipt; used up after that.
#[tokio::test]
async fn a_charge_buys_one_answer() {
    let pair = Pair::new().await;
    let visits = Visits::default();
    let app = route(&pair, photo(&visits));
    let value = paid(&pair, &app, "/photo").await;
    let ask = || Ask::get("/photo").header(names::AUTHORIZATION, &value);
    let answer = ask().send(&app).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::OK, "a photo")
    );
    assert_eq!(answer.headers["cache-control"], "private");
    assert!(charged(&answer).reference.starts_with("0x"));
    assert!(!visits.last().contains_key(names::AUTHORIZATION));
    let again = ask().send(&app).await;
    assert_eq!(again.problem().kind, ProblemKind::InvalidChallenge);
    assert!(!again.headers.contains_key(names::PAYMENT_RECEIPT));
    assert_eq!((visits.count(), pair.chain.transactions_mined()), (1, 1));
}

// A request without body is content where there is no channel to manage.
#[tokio::test]
async fn a_bare_post_is_paid_and_served() {
    let pair = Pair::new().await;
    let visits = Visits::default();
    let app = route(&pair, anything(&visits));
    let value = paid(&pair, &app, "/photo").await;
    let ask = || {
        let ask = Ask::new(Method::POST, "/photo").header(names::AUTHORIZATION, &value);
        ask.header(names::IDEMPOTENCY_KEY, "\"one\"")
    };
    let answer = ask().send(&app).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::OK, "a photo")
    );
    let again = ask().send(&app).await;
    assert_eq!(
        (again.status, again.body.as_str()),
        (StatusCode::OK, "a photo")
    );
    assert_eq!(again.headers[names::IDEMPOTENT_REPLAYED], "true");
    assert_eq!(charged(&again), charged(&answer));
    assert_eq!((visits.count(), pair.chain.transactions_mined()), (1, 1));
}

// What was paid is there until it was served.
#[tokio::test]
async fn a_handler_that_fails_uses_nothing_up() {
    let pair = Pair::new().await;
    let fails = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(2));
    let handler = get(move |_: Paid| {
        let fails = std::sync::Arc::clone(&fails);
        async move {
            let left = fails.load(std::sync::atomic::Ordering::SeqCst);
            if left == 0 {
                return "a photo".into_response();
            }
            fails.store(left - 1, std::sync::atomic::Ordering::SeqCst);
            StatusCode::BAD_GATEWAY.into_response()
        }
    });
    let app = route(&pair, handler);
    let value = paid(&pair, &app, "/photo").await;
    let ask = || Ask::get("/photo").header(names::AUTHORIZATION, &value);
    for _ in 0..2 {
        let failed = ask().send(&app).await;
        assert_eq!(failed.status, StatusCode::BAD_GATEWAY);
        assert!(!failed.headers.contains_key(names::PAYMENT_RECEIPT));
    }
    assert_eq!(ask().send(&app).await.status, StatusCode::OK);
    assert_eq!(pair.chain.transactions_mined(), 1);
}

// A handler sees who pays, whatever the method of payment.
#[tokio::test]
async fn the_handler_learns_who_pays() {
    let pair = Pair::new().await;
    let handler = any(|paid: Paid| async move { format!("{:#x}", paid.payer().unwrap()) });
    let charge = pair.server.charge().amount("0.01").build().unwrap();
    let app = sell(&pair.server, "/photo", [charge], handler.clone());
    let payer = format!("{:#x}", mpp_tempo::Signer::address(&pair.wallet().signer));
    let value = paid(&pair, &app, "/photo").await;
    let ask = Ask::get("/photo").header(names::AUTHORIZATION, &value);
    assert_eq!(ask.send(&app).await.body, payer);

    let session = pair.offer(mpp_tempo::SessionProtocol::V2).build().unwrap();
    let app = sell(&pair.server, "/photo", [session], handler);
    let opened = pair.wallet().open(&app, "/photo", 1_000).await;
    let payload = pair.wallet().pay(&opened.terms, 1_000).await;
    let ask = Ask::get("/photo").pay(&opened.challenge, &payload);
    assert_eq!(ask.send(&app).await.body, payer);
}
