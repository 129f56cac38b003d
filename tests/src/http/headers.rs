//! Caching, receipts, and what handlers may say about them.

use axum::{response::IntoResponse as _, routing::get};
use http::{StatusCode, header};
use mpp_core::header::names;
use mpp_http::server::Paid;

use crate::{
    pair::{BOTH, PRICE, Pair},
    shop::{Visits, answer, photo, sell},
    wallet::{Answer, Ask},
};

#[track_caller]
fn assert_varies(answer: &Answer) {
    let vary = answer.list(header::VARY);
    let fields: Vec<_> = vary.split(", ").collect();
    for name in ["authorization", "payment-authorization"] {
        assert!(fields.contains(&name), "{fields:?}");
    }
}

// PROTOCOL 1; SECURITY-CASES A17.
#[tokio::test]
async fn a_402_may_not_be_stored_and_varies_on_both_credential_fields() {
    let pair = Pair::new().await;
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], photo(&Visits::default()));
    for value in [None, Some("Payment !!!"), Some("Payment e30")] {
        let mut ask = Ask::get("/photo");
        if let Some(value) = value {
            ask = ask.header("authorization", value);
        }
        let answer = ask.send(&app).await;
        assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED);
        assert_eq!(answer.list(header::CACHE_CONTROL), "no-store");
        assert_eq!(
            answer.list(header::CONTENT_TYPE),
            "application/problem+json"
        );
        assert_varies(&answer);
        assert!(!answer.has_receipt());
        assert_eq!(answer.challenges().len(), 1);
    }
}

// PROTOCOL 1: success carries a receipt and `Cache-Control: private`; 1.2: it
// shows the committed state.
#[tokio::test]
async fn paid_content_is_private_and_its_receipt_agrees_with_the_store() {
    for protocol in BOTH {
        let pair = Pair::new().await;
        let offer = pair.offer(protocol).build().unwrap();
        let app = sell(&pair.server, "/photo", [offer], photo(&Visits::default()));
        let wallet = pair.wallet();
        let opened = wallet.open(&app, "/photo", PRICE).await;
        let id = opened.terms.id();
        for number in 1..=3_u64 {
            let total = u128::from(number) * PRICE;
            let payload = wallet.pay(&opened.terms, total).await;
            let ask = Ask::get("/photo").pay(&opened.challenge, &payload);
            let answer = ask.send(&app).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            assert_eq!(answer.body, "a photo");
            assert_eq!(answer.list(header::CACHE_CONTROL), "private");
            assert_varies(&answer);
            // Neither logs nor tables of header compression have a use for it.
            assert!(answer.headers[names::PAYMENT_RECEIPT].is_sensitive());
            let (receipt, record) = (answer.receipt(), pair.record(id).await);
            assert_eq!(receipt.spent, record.spent);
            assert_eq!(receipt.spent.base_units(), total);
            assert_eq!(receipt.accepted_cumulative, record.accepted());
            assert_eq!(receipt.units, Some(1));
            assert_eq!(receipt.challenge_id, opened.challenge.id);
            assert_eq!(receipt.channel_id, id.to_string());
            assert_eq!(receipt.reference, receipt.channel_id);
        }
    }
}

async fn buy_from(handler: axum::routing::MethodRouter) -> Answer {
    buy_and_look(handler).await.0
}

/// The answer, and what the channel was charged for it.
async fn buy_and_look(handler: axum::routing::MethodRouter) -> (Answer, u128) {
    let pair = Pair::new().await;
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], handler);
    let wallet = pair.wallet();
    let opened = wallet.open(&app, "/photo", PRICE).await;
    let payload = wallet.pay(&opened.terms, PRICE).await;
    let ask = Ask::get("/photo").pay(&opened.challenge, &payload);
    let answer = ask.send(&app).await;
    let record = pair.record(opened.terms.id()).await;
    (answer, record.spent.base_units())
}

#[tokio::test]
async fn a_stricter_cache_policy_of_the_handler_stays_and_a_laxer_one_does_not() {
    async fn becomes(policy: fn() -> &'static str, expected: &str) {
        let handler = get(move |_: Paid| async move { ([("cache-control", policy())], "text") });
        let bought = buy_from(handler).await;
        assert_eq!(bought.list(header::CACHE_CONTROL), expected, "{}", policy());
    }
    becomes(|| "no-store", "no-store").await;
    becomes(|| "private, No-Store", "private, no-store").await;
    becomes(|| "no-cache", "private, no-cache").await;
    becomes(|| "private, No-Cache", "private, no-cache").await;
    becomes(|| "public, No-Cache=\"set-cookie\"", "private, no-cache").await;
    becomes(|| "max-age=0, must-revalidate", "private, no-cache").await;
    becomes(|| "Max-Age = \"0\"", "private, no-cache").await;
    becomes(|| "public, max-age=60", "private").await;
    becomes(
        || "public, x-no-store, community=\"UCI, no-store\"",
        "private",
    )
    .await;
}

#[tokio::test]
async fn what_the_handler_varies_on_stays() {
    let varying = || ([("vary", "accept-language")], "text").into_response();
    let answer = buy_from(answer(varying)).await;
    assert_varies(&answer);
    assert!(answer.list(header::VARY).contains("accept-language"));
}

// PROTOCOL 1: no receipt on an error response, ever. A17: what one payer got
// is not for others, errors included.
#[tokio::test]
async fn an_error_of_the_handler_carries_no_receipt_and_is_not_shared() {
    let failing: [(fn() -> axum::response::Response, u16); 6] = [
        (|| StatusCode::SEE_OTHER.into_response(), 303),
        (|| StatusCode::NOT_MODIFIED.into_response(), 304),
        (|| StatusCode::NOT_FOUND.into_response(), 404),
        (|| StatusCode::INTERNAL_SERVER_ERROR.into_response(), 500),
        (
            // As a handler that passes on what another paid server said.
            || {
                let headers = [
                    (names::PAYMENT_RECEIPT, "e30"),
                    ("cache-control", "max-age=9"),
                ];
                (StatusCode::BAD_GATEWAY, headers, "upstream").into_response()
            },
            502,
        ),
        (
            || {
                let headers = [("cache-control", "public, max-age=60")];
                (StatusCode::GONE, headers).into_response()
            },
            410,
        ),
    ];
    for (make, status) in failing {
        let (answer, spent) = buy_and_look(answer(make)).await;
        assert_eq!(answer.status, status);
        assert!(!answer.has_receipt(), "{answer:?}");
        assert_eq!(spent, 0, "{status} was charged");
        assert_eq!(answer.list(header::CACHE_CONTROL), "private");
        assert_varies(&answer);
    }
}

// PROTOCOL 1: no 402 without a challenge.
#[tokio::test]
async fn a_handler_that_asks_for_a_payment_without_a_challenge_has_failed() {
    let asks = || StatusCode::PAYMENT_REQUIRED.into_response();
    let (answer, spent) = buy_and_look(answer(asks)).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.problem().status(), 502);
    assert!(!answer.has_receipt(), "{answer:?}");
    assert_eq!(spent, 0);
}

#[tokio::test]
async fn a_receipt_of_another_server_does_not_pass_for_ours() {
    let relayed = || ([(names::PAYMENT_RECEIPT, "e30")], "upstream").into_response();
    let answer = buy_from(answer(relayed)).await;
    assert_eq!(
        answer
            .headers
            .get_all(names::PAYMENT_RECEIPT)
            .iter()
            .count(),
        1
    );
    assert_eq!(answer.receipt().spent.base_units(), PRICE);
}

// A handler without a layer must not serve for free.
#[tokio::test]
async fn a_paid_handler_without_a_layer_serves_nothing() {
    async fn careless(_: Paid) -> &'static str {
        "for free"
    }
    let app = axum::Router::new().route("/photo", get(careless));
    let answer = Ask::get("/photo").send(&app).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.body.contains("free"));
}
