//! Charges whose answers get lost: paid once, and found out.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use axum::{extract::Request, response::IntoResponse as _};
use mpp_client::ClientError;
use tower::ServiceExt as _;

use super::*;
use crate::shop::anything;

/// What went over the wire in `Authorization`.
type Shown = Arc<Mutex<Vec<String>>>;

/// Serves `app`, and breaks the connection after the work for so many paid requests.
fn losing(app: Router, times: u32) -> (Router, Shown) {
    let (left, shown) = (Arc::new(AtomicU32::new(times)), Shown::default());
    let seen = Arc::clone(&shown);
    let app = Router::new().fallback(move |request: Request| {
        let (app, left, seen) = (app.clone(), Arc::clone(&left), Arc::clone(&seen));
        async move {
            let paid = request.headers().get("authorization").cloned();
            let answer = app.oneshot(request).await;
            if let Some(paid) = paid {
                seen.lock().unwrap().push(paid.to_str().unwrap().to_owned());
                let lose = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                });
                assert!(lose.is_err(), "an answer is lost on purpose");
            }
            answer
        }
    });
    (app, shown)
}

#[track_caller]
fn all_equal(shown: &Shown, count: usize) {
    let shown = shown.lock().unwrap();
    assert_eq!(shown.len(), count);
    assert!(shown.iter().all(|one| *one == shown[0]));
}

// SECURITY-CASES: a cost taken twice when a client retries after a lost response.
#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_credential() {
    for method in [http::Method::GET, http::Method::POST] {
        let (pair, visits) = (Pair::new().await, Visits::default());
        let offer = charge(&pair).build().unwrap();
        let app = sell(&pair.server, "/photo", [offer], anything(&visits));
        let (app, shown) = losing(app, 2);
        pair.socket.serve(app);
        let client = pair.client();
        let before = pair.balance(pair.payee());
        let request = client.request(method, pair.url("/photo?size=1"));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let tx_hash = hash(&receipt(&response));
        assert_eq!(response.text().await.unwrap(), "a photo");
        all_equal(&shown, 3);
        assert_eq!(visits.count(), 1);
        assert_eq!(pair.balance(pair.payee()) - before, PRICE);
        let charges = client.charges().unwrap();
        assert_eq!(charges.len(), 1);
        assert_eq!(charges[0].state, ChargeState::Served { tx_hash });
    }
}

#[tokio::test]
async fn what_stays_unknown_is_told_and_the_chain_tells() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let offer = charge(&pair).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], photo(&visits));
    let (losing, shown) = losing(app.clone(), 10);
    pair.socket.serve(losing);
    let client = pair.client();
    let buy = || {
        let request = client.get(pair.url("/photo"));
        request.idempotency_key("purchase-1").send()
    };
    let lost = buy().await.unwrap_err();
    let ClientError::ChargeIndeterminate { charge, .. } = lost else {
        panic!("{lost}");
    };
    all_equal(&shown, 3);
    let tx_hash = charge.tx_hash.unwrap();
    let known = client.resolve_charge(&charge.id).await.unwrap();
    assert_eq!(known, ChargeState::Paid { tx_hash });
    // The same purchase again presents the same payment, and is given what was sold.
    pair.socket.serve(app);
    let response = buy().await.unwrap();
    assert_eq!(hash(&receipt(&response)), tx_hash);
    assert_eq!(response.text().await.unwrap(), "a photo");
    assert_eq!(visits.count(), 1);
    assert_eq!(client.charges().unwrap().len(), 1);
    // Another purchase is another payment.
    let request = client.get(pair.url("/photo"));
    request.idempotency_key("purchase-2").send().await.unwrap();
    assert_eq!(client.charges().unwrap().len(), 2);
    assert_eq!(visits.count(), 2);
}

#[tokio::test]
async fn a_request_that_is_not_to_be_repeated_is_indeterminate_at_once() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let offer = charge(&pair).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], photo(&visits));
    let (app, shown) = losing(app, 1);
    pair.socket.serve(app);
    let request = pair.client().get(pair.url("/photo")).without_repeats();
    let lost = request.send().await.unwrap_err();
    assert!(
        matches!(lost, ClientError::ChargeIndeterminate { .. }),
        "{lost}"
    );
    all_equal(&shown, 1);
}

// A paid charge whose handler failed is not lost: the same purchase gets it later.
#[tokio::test]
async fn a_charge_whose_resource_failed_is_served_later() {
    let pair = Pair::new().await;
    let offer = charge(&pair).build().unwrap();
    let failures = Arc::new(AtomicU32::new(1));
    let handler = get(move |_: Paid| {
        let failures = Arc::clone(&failures);
        async move {
            let left = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
            match left {
                Ok(_) => StatusCode::BAD_GATEWAY.into_response(),
                Err(_) => "a photo".into_response(),
            }
        }
    });
    pair.socket
        .serve(sell(&pair.server, "/photo", [offer], handler));
    let client = pair.client();
    let buy = || {
        let request = client.get(pair.url("/photo"));
        request.idempotency_key("purchase-1").send()
    };
    let before = pair.balance(pair.payee());
    let failed = buy().await.unwrap();
    assert_eq!(failed.status(), StatusCode::BAD_GATEWAY);
    assert!(failed.receipt().is_none());
    let served = buy().await.unwrap();
    assert_eq!(served.status(), StatusCode::OK);
    receipt(&served);
    assert_eq!(pair.balance(pair.payee()) - before, PRICE);
    assert_eq!(client.charges().unwrap().len(), 1);
}
