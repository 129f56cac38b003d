//! A client whose answers get lost: paid once, delivered once, or told so.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{Router, extract::Request};
use futures_util::future::join_all;
use http::Method;
use mpp_client::ClientError;
use mpp_core::{Amount, Receipt};
use mpp_http::{client::PaidResponse, server::Paid};
use tower::ServiceExt as _;

use crate::{
    pair::{BOTH, PRICE, Pair, offer_of},
    shop::{Visits, anything, sell},
};

/// Serves `app` and loses the answers whose number `lose` picks, by breaking
/// the connection after the work was done. Requests that only manage a channel
/// do not count.
fn losing(app: Router, lose: fn(u32) -> bool) -> Router {
    let answers = Arc::new(AtomicU32::new(0));
    Router::new().fallback(move |request: Request| {
        let (app, answers) = (app.clone(), Arc::clone(&answers));
        async move {
            let is_management = request.method() == Method::HEAD;
            let answer = app.oneshot(request).await;
            if is_management {
                return answer;
            }
            let number = answers.fetch_add(1, Ordering::SeqCst);
            assert!(!lose(number), "answer {number} is lost on purpose");
            answer
        }
    })
}

/// Serves `app` and loses the first paid answer of every other key or so.
fn losing_firsts(app: Router) -> Router {
    let seen = Arc::new(Mutex::new(HashSet::new()));
    Router::new().fallback(move |request: Request| {
        let (app, seen) = (app.clone(), Arc::clone(&seen));
        async move {
            let is_paid = request.headers().contains_key("authorization");
            let key = request.headers().get("idempotency-key").cloned();
            let answer = app.oneshot(request).await;
            if let Some(key) = key.filter(|_| is_paid) {
                let is_even = key.as_bytes().iter().fold(0, |sum, byte| sum ^ byte) % 2 == 0;
                let is_first = seen.lock().unwrap().insert(key);
                assert!(!(is_first && is_even), "an answer is lost on purpose");
            }
            answer
        }
    })
}

fn spent(response: &PaidResponse) -> u128 {
    match response.receipt() {
        Some(Receipt::Session(receipt)) => receipt.spent.base_units(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_lost_answer_is_fetched_again_and_charged_once() {
    for protocol in BOTH {
        let (pair, visits) = (Pair::new().await, Visits::default());
        let offer = offer_of(&pair.server, protocol).build().unwrap();
        let app = sell(&pair.server, "/photo", [offer], anything(&visits));
        // The first answer is the challenge; then every other one is lost.
        pair.socket.serve(losing(app, |number| number % 2 == 1));
        let client = pair.client();
        for number in 1..=6_u128 {
            let response = client.get(pair.url("/photo")).send().await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(spent(&response), number * PRICE);
            assert_eq!(response.text().await.unwrap(), "a photo");
        }
        assert_eq!(visits.count(), 6);
        let record = pair.record(pair.only_channel()).await;
        assert_eq!(record.spent.base_units(), 6 * PRICE);
        assert_eq!(record.accepted().base_units(), 6 * PRICE);
        assert_eq!(pair.chain.transactions_mined(), 1);
    }
}

// Requests beside each other overtake each other's vouchers, and lose answers.
#[tokio::test]
async fn lost_answers_of_concurrent_requests_are_charged_once_each() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let offer = pair
        .offer(BOTH[1])
        .suggested_deposit("0.1")
        .build()
        .unwrap();
    let app = sell(&pair.server, "/photo", [offer], anything(&visits));
    pair.socket.serve(losing_firsts(app));
    let client = pair.client();
    client.get(pair.url("/photo")).send().await.unwrap();
    for _ in 0..4 {
        let requests = (0..6).map(|_| client.get(pair.url("/photo")).send());
        for response in join_all(requests).await {
            assert_eq!(response.unwrap().status(), 200);
        }
    }
    let record = pair.record(pair.only_channel()).await;
    assert_eq!(record.spent.base_units(), 25 * PRICE);
    assert_eq!(visits.count(), 25);
}

// As many at once as an HTTP/2 connection takes by default, whose answers are lost with it.
#[tokio::test]
async fn lost_answers_of_many_requests_at_once_are_charged_once_each() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let offer = pair.offer(BOTH[1]).suggested_deposit("1").build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], anything(&visits));
    pair.socket.serve(losing_firsts(app));
    let client = pair.client();
    client.get(pair.url("/photo")).send().await.unwrap();
    let requests = (0..100).map(|_| client.get(pair.url("/photo")).send());
    for response in join_all(requests).await {
        assert_eq!(response.unwrap().status(), 200);
    }
    let record = pair.record(pair.only_channel()).await;
    assert_eq!(record.spent.base_units(), 101 * PRICE);
    assert_eq!(visits.count(), 101);
}

#[tokio::test]
async fn an_answer_that_is_lost_for_good_is_indeterminate_and_found_by_its_key() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], anything(&visits));
    pair.socket
        .serve(losing(app, |number| (1..=3).contains(&number)));
    let client = pair.client();
    let ask = || client.get(pair.url("/photo")).idempotency_key("order 7");
    let lost = ask().send().await.unwrap_err();
    assert!(
        matches!(lost, ClientError::Indeterminate { cost, .. } if cost.base_units() == PRICE),
        "{lost}"
    );
    let found = ask().send().await.unwrap();
    assert_eq!(found.headers()["idempotent-replayed"], "true");
    assert_eq!(spent(&found), PRICE);
    // The accounts agree from the next receipt on.
    let next = client.get(pair.url("/photo")).send().await.unwrap();
    assert_eq!(spent(&next), 2 * PRICE);
    assert_eq!(visits.count(), 2);
}

#[tokio::test]
async fn what_the_server_did_not_keep_is_already_delivered() {
    let pair = Pair::new().await;
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let large = axum::routing::get(async |_: Paid| "x".repeat(64 * 1024 + 1));
    let app = sell(&pair.server, "/photo", [offer], large);
    pair.socket.serve(losing(app, |number| number == 1));
    let client = pair.client();
    let gone = client.get(pair.url("/photo")).send().await.unwrap_err();
    let ClientError::AlreadyDelivered { receipt } = gone else {
        panic!("{gone}");
    };
    assert_eq!(crate::wallet::session(*receipt).spent, Amount::new(PRICE));
    let record = pair.record(pair.only_channel()).await;
    assert_eq!(record.spent.base_units(), PRICE);
}

// RFC 9110, 9.2.2: a POST is repeated only under a key that its caller chose.
#[tokio::test]
async fn a_post_is_repeated_under_the_callers_key() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], anything(&visits));
    pair.socket
        .serve(losing(app, |number| number == 1 || number == 3));
    let client = pair.client();
    let post = || client.post(pair.url("/photo")).body("a body");
    let lost = post().send().await;
    assert!(
        matches!(lost, Err(ClientError::Indeterminate { .. })),
        "{lost:?}"
    );
    assert_eq!(visits.count(), 1);
    let response = post().idempotency_key("k").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(visits.count(), 2);
}

#[tokio::test]
async fn a_client_pays_for_use_as_far_as_its_policy_allows() {
    let pair = Pair::new().await;
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let handler = axum::routing::get(async |paid: Paid| {
        let reserved = paid.reserve(Amount::new(4 * PRICE)).await?;
        reserved.capture(Amount::new(1_500), 3)?;
        Ok::<_, mpp_http::server::Unaffordable>("used some")
    });
    pair.socket
        .serve(sell(&pair.server, "/photo", [offer], handler));
    let careful = pair.client().get(pair.url("/photo")).send().await;
    assert!(
        matches!(careful, Err(ClientError::Discrepancy(_))),
        "{careful:?}"
    );
    let policy = mpp_client::Policy::new(Amount::new(1_000_000));
    let client = pair.client_with(policy.max_per_request(Amount::new(4 * PRICE)));
    for number in 1..=2_u128 {
        let response = client.get(pair.url("/photo")).send().await.unwrap();
        assert_eq!(spent(&response), number * 1_500);
    }
}

// Asking whether there is a channel to resume pays nothing, so it survives what a payment survives.
#[tokio::test]
async fn a_lost_answer_about_an_older_channel_does_not_end_the_request() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], anything(&visits));
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let losing = Router::new().fallback(move |request: Request| {
        let (app, counted) = (app.clone(), Arc::clone(&counted));
        async move {
            let is_question = request.method() == Method::HEAD;
            let answer = app.oneshot(request).await;
            // The first challenge, and the answer to the first proof.
            let number = is_question.then(|| counted.fetch_add(1, Ordering::SeqCst));
            assert!(!matches!(number, Some(0 | 2)), "lost on purpose");
            answer
        }
    });
    pair.socket.serve(losing);
    let response = pair.client().get(pair.url("/photo")).send().await.unwrap();
    assert_eq!(spent(&response), PRICE);
    assert_eq!(asked.load(Ordering::SeqCst), 5);
    assert_eq!(visits.count(), 1);
    assert_eq!(pair.chain.transactions_mined(), 1);
}
