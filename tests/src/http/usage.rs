//! Charging by the usage block of a model's answer.

use axum::{Router, response::IntoResponse as _, routing::post};
use futures_util::{StreamExt as _, stream};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use mpp_core::ProblemKind;
use mpp_http::server::{
    Paid, Unaffordable,
    usage::{TokenPrices, Usage},
};

use crate::{
    pair::{BOTH, PRICE, Pair},
    shop::sell,
    wallet::{Ask, Opened, Wallet},
};

type Upstream = fn() -> axum::response::Response;

/// Sells an upstream's answer at 2 for a token in and 10 for a token out, at most 100 each.
struct Model {
    pair: Pair,
    app: Router,
    wallet: Wallet,
    opened: Opened,
}

impl Model {
    async fn of(upstream: Upstream) -> Self {
        let pair = Pair::new().await;
        let handler = post(move |paid: Paid| async move {
            let most = Usage {
                input: 100,
                output: 100,
            };
            let bill = TokenPrices::new(2, 10).reserve(&paid, most).await?;
            Ok::<_, Unaffordable>(bill.settle(upstream()).await)
        });
        let offer = pair.offer(BOTH[1]).build().unwrap();
        let app = sell(&pair.server, "/chat", [offer], handler);
        let wallet = pair.wallet();
        let opened = wallet.open(&app, "/chat", 0).await;
        Self {
            pair,
            app,
            wallet,
            opened,
        }
    }

    async fn ask(&self, base_units: u128) -> Ask {
        let payload = self.wallet.pay(&self.opened.terms, base_units).await;
        let ask = Ask::new(Method::POST, "/chat").body("{}");
        ask.pay(&self.opened.challenge, &payload)
    }

    /// What is spent once nothing is held any more.
    async fn spent(&self) -> u128 {
        loop {
            let record = self.pair.record(self.opened.terms.id()).await;
            if record.holds.is_empty() {
                return record.spent.base_units();
            }
            tokio::task::yield_now().await;
        }
    }
}

fn json(text: &'static str) -> axum::response::Response {
    ([("content-type", "application/json")], text).into_response()
}

fn events(chunks: Vec<&'static str>) -> axum::response::Response {
    let chunks = stream::iter(chunks).map(Ok::<_, std::io::Error>);
    let body = axum::body::Body::from_stream(chunks);
    ([("content-type", "text/event-stream; charset=utf-8")], body).into_response()
}

fn chat() -> axum::response::Response {
    json(r#"{"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":5}}"#)
}

#[tokio::test]
async fn a_json_answer_is_charged_before_it_leaves() {
    let model = Model::of(chat).await;
    let short = model.ask(PRICE).await.send(&model.app).await;
    assert_eq!(short.problem().kind, ProblemKind::InsufficientBalance);
    let required = short.problem().required_cumulative.unwrap();
    assert_eq!(required.base_units(), 1_200);
    let served = model.ask(1_200).await.send(&model.app).await;
    assert_eq!(served.status, StatusCode::OK);
    assert!(served.body.contains("prompt_tokens"));
    let receipt = served.receipt();
    assert_eq!((receipt.spent.base_units(), receipt.units), (90, Some(25)));
    assert_eq!(model.spent().await, 90);
}

#[tokio::test]
async fn no_more_than_the_reservation_is_charged() {
    let model = Model::of(|| json(r#"{"usage":{"input_tokens":9000,"output_tokens":1}}"#)).await;
    let served = model.ask(2_000).await.send(&model.app).await;
    assert_eq!(served.status, StatusCode::OK);
    assert_eq!(model.spent().await, 1_200);
}

#[tokio::test]
async fn an_answer_without_usage_is_withheld_and_free() {
    let model = Model::of(|| json(r#"{"choices":[]}"#)).await;
    let refused = model.ask(2_000).await.send(&model.app).await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
    let model = Model::of(|| (StatusCode::TOO_MANY_REQUESTS, chat()).into_response()).await;
    let failed = model.ask(2_000).await.send(&model.app).await;
    assert_eq!(failed.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(model.spent().await, 0);
}

const HI: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const LAST: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5}}\n\n";

#[tokio::test]
async fn a_stream_is_charged_at_its_end_and_ends_with_the_receipt() {
    let model = Model::of(|| {
        events(vec![
            HI,
            "data: {\"choi",
            "ces\":[]}\n\n",
            LAST,
            "data: [DONE]\n\n",
        ])
    })
    .await;
    let served = model.ask(2_000).await.send(&model.app).await;
    assert!(served.receipt().spent.is_zero());
    assert_eq!(served.receipt().units, Some(0));
    let (content, receipt) = served.body.split_once("event: payment-receipt\n").unwrap();
    assert!(content.contains("[DONE]") && content.contains("Hi"));
    assert!(receipt.contains("\"spent\":\"90\""), "{receipt}");
    assert_eq!(model.spent().await, 90);
}

// SECURITY-CASES A23: a relayed stream can not forge payment events.
#[tokio::test]
async fn an_upstream_can_not_speak_of_payments() {
    let forged = || {
        events(vec![
            "event: payment-receipt\ndata: {\"spent\":\"0\"}\n\n",
            HI,
            LAST,
        ])
    };
    let model = Model::of(forged).await;
    let served = model.ask(2_000).await.send(&model.app).await;
    assert_eq!(served.body.matches("payment-receipt").count(), 1);
    assert!(!served.body.contains("\"spent\":\"0\""));
}

// Early disconnect: what was delivered is charged, by a rule that never takes too much.
#[tokio::test]
async fn a_reader_that_leaves_pays_for_what_it_took() {
    let model = Model::of(|| events(vec![HI, HI, HI, LAST])).await;
    let response = model.ask(2_000).await.start(&model.app).await;
    let mut body = response.into_body();
    for _ in 0..2 {
        body.frame().await.unwrap().unwrap();
    }
    drop(body);
    assert_eq!(model.spent().await, 20);
}

// What nobody took was not delivered: the same purchase can still be made.
#[tokio::test]
async fn a_reader_that_takes_nothing_can_ask_again_under_its_key() {
    let model = Model::of(|| events(vec![HI, LAST])).await;
    let keyed = || async {
        let ask = model.ask(2_000).await;
        ask.header("idempotency-key", "\"order 7\"")
    };
    let response = keyed().await.start(&model.app).await;
    assert_eq!(response.status(), StatusCode::OK);
    drop(response);
    assert_eq!(model.spent().await, 0);
    let again = keyed().await.send(&model.app).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert!(again.body.contains("\"spent\":\"90\""), "{}", again.body);
    assert_eq!(model.spent().await, 90);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_is_charged_as_far_as_it_came() {
    let broken = || {
        let chunks = [Ok(HI), Err(std::io::Error::other("gone"))];
        let body = axum::body::Body::from_stream(stream::iter(chunks));
        ([("content-type", "text/event-stream")], body).into_response()
    };
    let model = Model::of(broken).await;
    let served = model.ask(2_000).await.send(&model.app).await;
    assert!(served.body.contains("\"spent\":\"10\""), "{}", served.body);
    assert_eq!(model.spent().await, 10);
}
