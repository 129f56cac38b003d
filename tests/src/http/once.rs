//! Charged once, and only for what was served (PROTOCOL 5.6).

use std::sync::Arc;

use axum::{
    Router,
    response::IntoResponse as _,
    routing::{MethodRouter, any},
};
use futures_util::FutureExt as _;
use http::{Method, StatusCode, header};
use mpp_core::{Amount, ProblemKind};
use mpp_http::server::{Paid, PaidSession};
use mpp_server::{session::record::ChannelRecord, store::OUTCOMES_PER_CHANNEL};
use mpp_tempo::wire::SessionPayload;
use tokio::sync::Notify;

use crate::{
    pair::{BOTH, PRICE, Pair},
    shop::{Visits, answer, anything, sell, words},
    wallet::{Answer, Ask, Opened, Wallet},
};

/// A route, and a payer with an open channel.
struct Counter {
    pair: Pair,
    app: Router,
    wallet: Wallet,
    opened: Opened,
}

impl Counter {
    async fn selling(handler: MethodRouter) -> Self {
        let pair = Pair::new().await;
        let offer = pair.offer(BOTH[1]).build().unwrap();
        let app = sell(&pair.server, "/photo", [offer], handler);
        let wallet = pair.wallet();
        let opened = wallet.open(&app, "/photo", 0).await;
        Self {
            pair,
            app,
            wallet,
            opened,
        }
    }

    /// A paid request with a voucher for so many prices in total.
    async fn ask(&self, method: Method, uri: &str, prices: u128) -> Ask {
        let payload = self.wallet.pay(&self.opened.terms, prices * PRICE).await;
        Ask::new(method, uri).pay(&self.opened.challenge, &payload)
    }

    async fn get(&self, prices: u128) -> Ask {
        self.ask(Method::GET, "/photo", prices).await
    }

    async fn keyed(&self, key: &str, prices: u128) -> Ask {
        self.get(prices).await.header("idempotency-key", key)
    }

    async fn buy(&self, key: &str, prices: u128) -> Answer {
        self.keyed(key, prices).await.send(&self.app).await
    }

    async fn record(&self) -> ChannelRecord {
        self.pair.record(self.opened.terms.id()).await
    }

    async fn spent(&self) -> u128 {
        self.record().await.spent.base_units()
    }

    /// Waits until nothing is held, and tells what is spent then.
    async fn settled(&self) -> u128 {
        while !self.record().await.holds.is_empty() {
            tokio::task::yield_now().await;
        }
        self.spent().await
    }
}

fn replayed(answer: &Answer) -> bool {
    answer.list("idempotent-replayed".parse().unwrap()) == "true"
}

#[tokio::test]
async fn a_retry_is_answered_as_before_and_charged_once() {
    let visits = Visits::default();
    let shop = Counter::selling(anything(&visits)).await;
    let first = shop.buy("\"k\"", 1).await;
    assert_eq!(first.status, StatusCode::OK);
    assert!(!replayed(&first));
    // Others have moved on meanwhile: the retry's voucher is a low one by now.
    assert_eq!(
        shop.get(2).await.send(&shop.app).await.status,
        StatusCode::OK
    );
    for key in ["\"k\"", "k"] {
        let again = shop.buy(key, 1).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert!(replayed(&again));
        assert_eq!(again.receipt(), first.receipt());
        assert_eq!(again.list(header::CACHE_CONTROL), "private");
    }
    assert_eq!((shop.spent().await, visits.count()), (2 * PRICE, 2));
    // Without a balance it is answered all the same, also for a new voucher.
    assert!(replayed(&shop.buy("k", 2).await));
    assert_eq!(visits.count(), 2);
}

// An outcome makes room for newer ones. From then on nobody can tell whether that request was
// charged; of one that can not have been among them it is still certain.
#[tokio::test]
async fn what_is_forgotten_is_not_said_to_be_free() {
    let visits = Visits::default();
    let mut shop = Counter::selling(anything(&visits)).await;
    let kept = u128::from(OUTCOMES_PER_CHANNEL);
    shop.wallet.deposit = Amount::new((kept + 10) * PRICE);
    shop.opened = shop.wallet.open(&shop.app, "/photo", 0).await;
    let told = |answer: Answer| {
        assert_eq!(answer.problem().kind, ProblemKind::DeltaTooSmall);
        answer.list("idempotent-replayed".parse().unwrap())
    };
    for number in 1..=kept {
        assert_eq!(shop.buy(&format!("k{number}"), number).await.status, 200);
    }
    assert!(replayed(&shop.buy("k1", 1).await));
    assert_eq!(told(shop.buy("new", 1).await), "false");
    for number in kept + 1..=kept + 3 {
        assert_eq!(shop.buy(&format!("k{number}"), number).await.status, 200);
    }
    for number in 1..=3 {
        assert_eq!(told(shop.buy(&format!("k{number}"), number).await), "");
    }
    assert!(replayed(&shop.buy("k4", 4).await));
    // The oldest that is kept was charged under the voucher for 4.
    assert_eq!(told(shop.buy("new", 4).await), "");
    assert_eq!(told(shop.buy("new", 5).await), "false");
    assert_eq!(shop.spent().await, (kept + 3) * PRICE);
}

// SECURITY-CASES A16: replay only with a valid credential.
#[tokio::test]
async fn nobody_reads_the_outcome_without_a_valid_voucher() {
    let visits = Visits::default();
    let shop = Counter::selling(anything(&visits)).await;
    assert_eq!(shop.buy("k", 2).await.status, StatusCode::OK);
    // Whoever has seen a voucher can not make a lower one of it.
    let mut payload = shop.wallet.pay(&shop.opened.terms, 2 * PRICE).await;
    if let SessionPayload::Voucher {
        cumulative_amount, ..
    } = &mut payload
    {
        *cumulative_amount = Amount::new(PRICE);
    }
    let forged = Ask::get("/photo")
        .header("idempotency-key", "k")
        .pay(&shop.opened.challenge, &payload);
    let refused = forged.send(&shop.app).await;
    assert_eq!(refused.problem().kind, ProblemKind::SignerMismatch);
    assert!(!refused.has_receipt());
}

// SECURITY-CASES A16: the key of another payer is another key.
#[tokio::test]
async fn two_payers_may_use_one_key() {
    let visits = Visits::default();
    let shop = Counter::selling(anything(&visits)).await;
    assert_eq!(shop.buy("k", 1).await.status, StatusCode::OK);
    let other = Wallet::new(shop.pair.key(2), shop.pair.chain.clone());
    let opened = other.open(&shop.app, "/photo", 0).await;
    let payload = other.pay(&opened.terms, PRICE).await;
    let ask = Ask::get("/photo").pay(&opened.challenge, &payload);
    let bought = ask.header("idempotency-key", "k").send(&shop.app).await;
    assert!(bought.status == StatusCode::OK && !replayed(&bought));
    assert_eq!(visits.count(), 2);
}

#[tokio::test]
async fn a_key_is_for_one_method_target_and_body() {
    let visits = Visits::default();
    let shop = Counter::selling(anything(&visits)).await;
    let post = async |uri: &'static str, body, prices| {
        let ask = shop.ask(Method::POST, uri, prices).await.body(body);
        ask.header("idempotency-key", "k").send(&shop.app).await
    };
    assert_eq!(post("/photo", "one", 1).await.status, StatusCode::OK);
    assert!(replayed(&post("/photo", "one", 1).await));
    let others = [
        post("/photo", "two", 2).await,
        post("/photo?size=2", "one", 2).await,
        shop.buy("k", 2).await,
    ];
    for other in others {
        assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(other.problem().kind, ProblemKind::IdempotencyKeyReused);
    }
    assert_eq!((shop.spent().await, visits.count()), (PRICE, 1));
}

/// A handler that waits, and one that tells it to go on.
fn slow() -> (MethodRouter, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let handler = any(move |_: Paid| async move {
        gate.notified().await;
        "at last"
    });
    (handler, go)
}

#[tokio::test]
async fn a_request_in_flight_is_not_served_twice() {
    let (handler, go) = slow();
    let shop = Counter::selling(handler).await;
    let (ask, again) = (shop.keyed("k", 1).await, shop.keyed("k", 1).await);
    let mut first = Box::pin(ask.send(&shop.app));
    assert!(first.as_mut().now_or_never().is_none());
    let busy = again.send(&shop.app).await;
    assert_eq!(busy.status, StatusCode::CONFLICT);
    assert_eq!(busy.list(header::RETRY_AFTER), "1");
    assert_eq!(busy.problem().kind, ProblemKind::RequestInProgress);
    // Also for a voucher that is too low by now.
    let raised = shop.ask(Method::HEAD, "/photo", 3).await;
    assert_eq!(raised.send(&shop.app).await.status, StatusCode::NO_CONTENT);
    assert_eq!(shop.buy("k", 1).await.status, StatusCode::CONFLICT);
    go.notify_one();
    assert_eq!(first.await.status, StatusCode::OK);
    assert!(replayed(&shop.buy("k", 1).await));
    assert_eq!(shop.spent().await, PRICE);
}

#[tokio::test]
async fn what_was_not_kept_is_said_to_be_delivered() {
    let large = || "x".repeat(64 * 1024 + 1).into_response();
    let shop = Counter::selling(answer(large)).await;
    let first = shop.buy("k", 1).await;
    let again = shop.buy("k", 1).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT);
    assert!(replayed(&again));
    assert_eq!(again.receipt(), first.receipt());
    assert_eq!(shop.spent().await, PRICE);
}

#[tokio::test]
async fn a_stream_is_not_begun_twice() {
    let shop = Counter::selling(any(words)).await;
    let first = shop.keyed("k", 1).await.start(&shop.app).await;
    assert_eq!(first.status(), StatusCode::OK);
    let again = shop.buy("k", 1).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT);
    assert!(replayed(&again));
    assert_eq!(shop.spent().await, PRICE);
}

#[tokio::test]
async fn a_malformed_key_is_a_bad_request() {
    let visits = Visits::default();
    let shop = Counter::selling(anything(&visits)).await;
    let long = "k".repeat(256);
    for key in ["\"\"", "a b", &long] {
        let refused = shop.buy(key, 1).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{key}");
    }
    let twice = shop.keyed("a", 1).await.header("idempotency-key", "b");
    assert_eq!(twice.send(&shop.app).await.status, StatusCode::BAD_REQUEST);
    assert_eq!((shop.spent().await, visits.count()), (0, 0));
}

// SECURITY-CASES A7, A16: what has to be compared is bounded.
#[tokio::test]
async fn a_large_body_with_a_key_is_refused() {
    static LARGE: [u8; 1024 * 1024 + 1] = [b'x'; 1024 * 1024 + 1];
    let visits = Visits::default();
    let shop = Counter::selling(anything(&visits)).await;
    let large = std::str::from_utf8(&LARGE).unwrap();
    let ask = shop.ask(Method::POST, "/photo", 1).await.body(large);
    let refused = ask.header("idempotency-key", "k").send(&shop.app).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    let ask = shop.ask(Method::POST, "/photo", 1).await.body(large);
    assert_eq!(ask.send(&shop.app).await.status, StatusCode::OK);
    assert_eq!((shop.spent().await, visits.count()), (PRICE, 1));
}

// A failed handler captures nothing, and a retry of it is a new attempt.
#[tokio::test]
async fn a_handler_that_fails_is_free() {
    let visits = Visits::default();
    let counted = visits.clone();
    let handler = any(move |_: Paid, headers: http::HeaderMap| async move {
        counted.note(headers);
        StatusCode::SERVICE_UNAVAILABLE
    });
    let shop = Counter::selling(handler).await;
    for _ in 0..2 {
        let failed = shop.buy("k", 1).await;
        assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!failed.has_receipt() && !replayed(&failed));
    }
    assert_eq!(visits.count(), 2);
    let record = shop.record().await;
    assert_eq!(record.accepted().base_units(), PRICE);
    assert!(record.spent.is_zero() && record.holds.is_empty());
}

#[tokio::test]
async fn a_method_that_the_route_does_not_have_is_free() {
    let handler = axum::routing::get(|_: Paid| async { "a photo" });
    let shop = Counter::selling(handler).await;
    let ask = shop.ask(Method::POST, "/photo", 1).await.body("a body");
    assert_eq!(
        ask.send(&shop.app).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(shop.settled().await, 0);
}

#[tokio::test]
async fn a_handler_that_panics_is_free() {
    let handler = any(|_: Paid| async {
        if true {
            panic!("on purpose");
        }
    });
    let shop = Counter::selling(handler).await;
    let (ask, app) = (shop.get(1).await, shop.app.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { ask.send(&app).await });
    assert!(tasks.join_next().await.unwrap().is_err());
    assert_eq!(shop.settled().await, 0);
}

#[tokio::test]
async fn a_client_that_goes_away_is_not_charged() {
    let (handler, _go) = slow();
    let shop = Counter::selling(handler).await;
    let ask = shop.keyed("k", 1).await;
    let mut request = Box::pin(ask.send(&shop.app));
    assert!(request.as_mut().now_or_never().is_none());
    assert_eq!(shop.record().await.holds.len(), 1);
    drop(request);
    assert_eq!(shop.settled().await, 0);
}

// What was not captured when the channel was closed is not delivered either.
#[tokio::test]
async fn a_close_ends_what_is_being_served() {
    let (handler, go) = slow();
    let shop = Counter::selling(handler).await;
    let ask = shop.get(1).await;
    let mut request = Box::pin(ask.send(&shop.app));
    assert!(request.as_mut().now_or_never().is_none());
    let payload = shop.wallet.close(&shop.opened.terms, 0).await;
    let close = Ask::new(Method::HEAD, "/photo").pay(&shop.opened.challenge, &payload);
    assert_eq!(close.send(&shop.app).await.status, StatusCode::NO_CONTENT);
    go.notify_one();
    let withheld = request.await;
    assert_eq!(withheld.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!withheld.body.contains("at last") && !withheld.has_receipt());
    assert!(shop.record().await.settled.is_zero());
}

#[tokio::test]
async fn a_reservation_charges_what_was_used() {
    let handler = any(async |paid: Paid| {
        let reserved = paid.reserve(Amount::new(3 * PRICE)).await?;
        reserved.capture(Amount::new(1_234), 7)?;
        Ok::<_, mpp_http::server::Unaffordable>("used some")
    });
    let shop = Counter::selling(handler).await;
    let short = shop.buy("k", 1).await;
    let problem = short.problem();
    assert_eq!(problem.kind, ProblemKind::InsufficientBalance);
    assert_eq!(problem.required_top_up.unwrap().base_units(), 2 * PRICE);
    assert_eq!(problem.required_cumulative.unwrap().base_units(), 3 * PRICE);
    assert!(!short.challenges().is_empty());
    let served = shop.buy("k", 3).await;
    assert_eq!(served.status, StatusCode::OK, "{served:?}");
    let receipt = served.receipt();
    assert_eq!(
        (receipt.spent.base_units(), receipt.units),
        (1_234, Some(7))
    );
    assert!(replayed(&shop.buy("k", 3).await));
    assert_eq!(shop.settled().await, 1_234);
}

#[tokio::test]
async fn a_dropped_reservation_charges_nothing() {
    let handler = any(async |paid: Paid| {
        drop(paid.reserve(Amount::new(2 * PRICE)).await?);
        Ok::<_, mpp_http::server::Unaffordable>("on the house")
    });
    let shop = Counter::selling(handler).await;
    let served = shop.get(2).await.send(&shop.app).await;
    assert_eq!(served.status, StatusCode::OK);
    assert!(served.receipt().spent.is_zero());
    assert_eq!(shop.settled().await, 0);
}

#[tokio::test]
async fn more_than_was_reserved_is_never_charged() {
    let handler = any(async |paid: Paid| {
        let reserved = paid.reserve(Amount::new(PRICE)).await?;
        reserved.capture_units(2)?;
        Ok::<_, mpp_http::server::Unaffordable>("too much")
    });
    let shop = Counter::selling(handler).await;
    let failed = shop.get(2).await.send(&shop.app).await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(shop.settled().await, 0);
}

// The channel is known to handlers of both kinds.
#[tokio::test]
async fn a_handler_learns_which_channel_pays() {
    let handler = any(async |paid: Paid, session: PaidSession| {
        assert_eq!(paid.channel_id(), Some(session.channel_id()));
        session.channel_id().to_string()
    });
    let shop = Counter::selling(handler).await;
    let served = shop.get(1).await.send(&shop.app).await;
    assert_eq!(served.body, shop.opened.terms.id().to_string());
}
