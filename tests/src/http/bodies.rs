//! Payments that are bound to the body of their request (PROTOCOL 1.1).

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{any, post},
};
use bytes::Bytes;
use http::{Method, StatusCode};
use mpp_client::{ClientError, offer::Unpayable};
use mpp_core::{BodyDigest, Challenge, ProblemKind};
use mpp_http::server::{Paid, PaymentLayer};
use mpp_server::Route;

use crate::{
    pair::{BOTH, PRICE, Pair},
    shop::sell,
    wallet::{Ask, Wallet, authorization},
};

/// Bodies up to this size are bound.
const LIMIT: usize = 64;

/// A route that binds bodies and answers with the body it was sent.
async fn echo(_: Paid, body: Bytes) -> Bytes {
    body
}

async fn size(_: Paid, body: Bytes) -> String {
    body.len().to_string()
}

fn binding(pair: &Pair) -> Router {
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let route = Route::new("/echo", [offer]).unwrap().bind_body();
    let pay = PaymentLayer::new(pair.server.clone(), route).max_bound_body(LIMIT);
    Router::new().route("/echo", any(echo).layer(pay))
}

fn posted(body: &'static str) -> Ask {
    Ask::new(Method::POST, "/echo").body(body)
}

async fn asked(app: &Router, ask: Ask) -> Challenge {
    let answer = ask.send(app).await;
    assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED, "{answer:?}");
    answer.challenges().remove(0)
}

#[track_caller]
fn bare(challenge: &Challenge) -> String {
    challenge.digest.clone().unwrap().replace(':', "")
}

#[tokio::test]
async fn the_challenge_of_a_request_with_a_body_carries_its_digest() {
    let pair = Pair::new().await;
    let app = binding(&pair);
    let bound = asked(&app, posted("mine")).await;
    assert_eq!(bound.digest, Some(BodyDigest::of(b"mine").to_string()));
    // Without a body, or with one of no bytes, there is nothing to bind.
    for ask in [
        Ask::get("/echo"),
        Ask::new(Method::POST, "/echo?q"),
        posted(""),
    ] {
        assert_eq!(asked(&app, ask).await.digest, None);
    }
    // An empty body may come in chunks: that is known only once it was read.
    let chunked = axum::body::Body::from_stream(futures_util::stream::iter([Ok::<
        _,
        std::io::Error,
    >(Bytes::new())]));
    let ask = Ask::new(Method::POST, "/echo").streamed(chunked);
    assert_eq!(asked(&app, ask).await.digest, None);
}

#[tokio::test]
async fn a_credential_pays_for_the_body_of_its_challenge_only() {
    let pair = Pair::new().await;
    let app = binding(&pair);
    let wallet = pair.wallet();
    let opened = wallet.open(&app, "/echo", 0).await;
    let payload = wallet.pay(&opened.terms, PRICE).await;
    let bound = asked(&app, posted("mine")).await;
    for (challenge, ask) in [
        (&bound, posted("theirs")),
        (&bound, posted("")),
        (&bound, Ask::get("/echo")),
        // Had for the asking without a body, it would pay for any.
        (&opened.challenge, posted("mine")),
    ] {
        let answer = ask.pay(challenge, &payload).send(&app).await;
        assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED, "{answer:?}");
        assert_eq!(answer.problem().kind, ProblemKind::InvalidChallenge);
        assert_eq!(answer.challenges().len(), 1, "a fresh one comes along");
    }
    assert!(pair.record(opened.terms.id()).await.spent.is_zero());
    let answer = posted("mine").pay(&bound, &payload).send(&app).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(
        answer.body, "mine",
        "the handler gets the body all the same"
    );
    assert_eq!(answer.receipt().spent.base_units(), PRICE);
}

// The text of the digest is under the MAC, so the bare form is one of another issuer who
// shares the secret.
#[tokio::test]
async fn both_forms_of_the_digest_verify() {
    let pair = Pair::new().await;
    let app = binding(&pair);
    let wallet: Wallet = pair.wallet();
    let opened = wallet.open(&app, "/echo", 0).await;
    let payload = wallet.pay(&opened.terms, PRICE).await;
    let mut challenge = asked(&app, posted("mine")).await;
    challenge.digest = Some(bare(&challenge));
    challenge.id = crate::pair::mac(&challenge);
    let other = posted("theirs").pay(&challenge, &payload).send(&app).await;
    assert_eq!(other.problem().kind, ProblemKind::InvalidChallenge);
    let answer = posted("mine").pay(&challenge, &payload).send(&app).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

#[tokio::test]
async fn a_body_above_the_limit_is_not_read_and_not_charged() {
    let pair = Pair::new().await;
    let app = binding(&pair);
    let long: &'static str = "x".repeat(LIMIT + 1).leak();
    let refused = posted(long).send(&app).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(refused.problem().status(), 413);
    let wallet = pair.wallet();
    let opened = wallet.open(&app, "/echo", 0).await;
    let payload = wallet.pay(&opened.terms, PRICE).await;
    let value = authorization(&opened.challenge, &payload);
    // Also in pieces, without a length in advance, and with an idempotency key.
    let pieces = (0..3).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; LIMIT / 2])));
    let body = axum::body::Body::from_stream(futures_util::stream::iter(pieces));
    let ask = Ask::new(Method::POST, "/echo")
        .streamed(body)
        .header("idempotency-key", "\"a\"")
        .header("authorization", &value);
    assert_eq!(ask.send(&app).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(pair.record(opened.terms.id()).await.spent.is_zero());
}

#[tokio::test]
async fn a_route_that_does_not_bind_leaves_bodies_alone() {
    let pair = Pair::new().await;
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let route = Route::new("/echo", [offer]).unwrap();
    let pay = PaymentLayer::new(pair.server.clone(), route).max_bound_body(0);
    let app = Router::new().route("/echo", any(echo).layer(pay));
    let free = asked(&app, posted("mine")).await;
    assert_eq!(free.digest, None);
    let wallet = pair.wallet();
    let opened = wallet.open(&app, "/echo", 0).await;
    let payload = wallet.pay(&opened.terms, PRICE).await;
    let answer = posted("mine").pay(&free, &payload).send(&app).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "mine"));
}

#[tokio::test]
async fn the_paying_client_sends_the_same_body_again() {
    let pair = Pair::new().await;
    pair.socket.serve(binding(&pair));
    let client = pair.client();
    for body in ["one", "two", "two"] {
        let response = client.post(pair.url("/echo")).body(body);
        let response = response.send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), body);
    }
    // A challenge that was learned without a body is replaced by one for the body.
    client.get(pair.url("/echo")).send().await.unwrap();
    let response = client.post(pair.url("/echo")).body("three");
    assert_eq!(
        response.send().await.unwrap().text().await.unwrap(),
        "three"
    );
    let record = pair.record(pair.only_channel()).await;
    assert_eq!(record.spent.base_units(), 5 * PRICE);
    assert_eq!(record.accepted().base_units(), 5 * PRICE);
}

#[tokio::test]
async fn a_streamed_body_can_not_be_bound_and_costs_nothing() {
    let pair = Pair::new().await;
    pair.socket.serve(binding(&pair));
    let client = pair.client();
    client.get(pair.url("/echo")).send().await.unwrap();
    let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from("once"))]);
    let request = client.post(pair.url("/echo"));
    let body = reqwest::Body::wrap_stream(stream);
    let error = request.body_stream(body).send().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Unpayable(Unpayable::StreamedBody)),
        "{error}"
    );
    // The refused voucher serves the next request.
    client.get(pair.url("/echo")).send().await.unwrap();
    let record = pair.record(pair.only_channel()).await;
    assert_eq!(record.spent.base_units(), 2 * PRICE);
    assert_eq!(record.accepted().base_units(), 2 * PRICE);
}

// A key would have the server keep the body, up to a limit; nobody could use it.
#[tokio::test]
async fn a_streamed_body_may_be_larger_than_a_server_keeps() {
    let pair = Pair::new().await;
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let size = post(size).layer(DefaultBodyLimit::disable());
    pair.socket
        .serve(sell(&pair.server, "/size", [offer], size));
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    let pieces = (0..32).map(move |_| Ok::<_, std::io::Error>(piece.clone()));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let request = pair.client().post(pair.url("/size")).body_stream(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.text().await.unwrap(), "2097152");
    let record = pair.record(pair.only_channel()).await;
    assert_eq!(record.spent.base_units(), PRICE);
}
