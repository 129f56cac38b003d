//! The paying client on a socket.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    routing::{MethodRouter, get},
};
use mpp_client::{ClientError, ClientEvent, MemoryBook, Policy};
use mpp_core::Amount;
use mpp_http::{
    client::{Client, WsStream},
    server::{Metered, PaidSession, PaymentLayer},
};
use mpp_server::{PaymentServer, Route};
use mpp_tempo::SessionProtocol;

use crate::{
    pair::{BOTH, PRICE, Pair, offer_of},
    shop::{WORDS, words},
};

/// A route whose words can be had over SSE and over a socket.
pub(super) fn app(server: &PaymentServer, protocol: SessionProtocol) -> Router {
    let offer = offer_of(server, protocol).build().unwrap();
    let route = Route::new("/words", [offer]).unwrap();
    over_socket(server, route, get(words))
}

/// `/words` as this route, by this handler.
pub(super) fn over_socket(server: &PaymentServer, route: Route, handler: MethodRouter) -> Router {
    let pay = PaymentLayer::new(server.clone(), route).websocket();
    Router::new().route("/words", handler.layer(pay))
}

pub(super) async fn open(pair: &Pair, client: &Client) -> WsStream {
    let session = client.session(pair.url("/words")).unwrap();
    session.ws("/words").await.unwrap()
}

pub(super) async fn texts(stream: &mut WsStream) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(text) = stream.next().await {
        texts.push(text.unwrap());
    }
    texts
}

#[tokio::test]
async fn a_stream_is_paid_and_topped_up_over_one_socket() {
    let pair = Pair::new().await;
    for protocol in BOTH {
        pair.socket.serve(app(&pair.server, protocol));
        let book = Arc::new(MemoryBook::default());
        let client = pair.client_of(Policy::new(Amount::new(1_000_000)), book);
        let mut events = client.events();
        let before = pair.socket.requests();
        let mut stream = open(&pair, &client).await;
        let texts = texts(&mut stream).await;
        let words = usize::try_from(WORDS).unwrap();
        assert_eq!(texts.len(), words + 1);
        assert_eq!((&*texts[0], &*texts[words]), ("title", "word20"));
        let receipt = stream.receipt().unwrap().clone();
        assert_eq!(receipt.spent, Amount::new(u128::from(WORDS) * PRICE));
        assert_eq!(receipt.units, Some(WORDS));
        let topped_up = std::iter::from_fn(|| events.try_next())
            .filter(|event| matches!(event, ClientEvent::ToppedUp { .. }))
            .count();
        assert_eq!(topped_up, 1);
        // The challenge and the handshake; for v2 also who is asking, twice.
        let asked = pair.socket.requests() - before;
        let expected = if protocol == SessionProtocol::V1 {
            2
        } else {
            4
        };
        assert_eq!(asked, expected, "{protocol}");

        let closed = stream.close().await.unwrap();
        assert!(closed.tx_hash.is_some());
        assert_eq!(closed.spent, receipt.spent);
    }
}

#[tokio::test]
async fn a_reader_that_stops_pays_no_more() {
    let pair = Pair::new().await;
    pair.socket.serve(app(&pair.server, BOTH[1]));
    let client = pair.client();
    let mut stream = open(&pair, &client).await;
    for _ in 0..4 {
        stream.next().await.unwrap().unwrap();
    }
    let channel = stream.channel_id();
    stream.finish().await.unwrap();
    assert_eq!(stream.receipt().unwrap().spent, Amount::new(3 * PRICE));
    assert_eq!(pair.record(channel).await.spent, Amount::new(3 * PRICE));
    assert!(stream.next().await.is_none());
    let closed = stream.close().await.unwrap();
    assert_eq!(closed.spent, Amount::new(3 * PRICE));
}

#[tokio::test]
async fn a_socket_that_breaks_stops_charging() {
    let pair = Pair::new().await;
    pair.socket.serve(app(&pair.server, BOTH[1]));
    let client = pair.client();
    let mut stream = open(&pair, &client).await;
    for _ in 0..3 {
        stream.next().await.unwrap().unwrap();
    }
    let channel = stream.channel_id();
    drop(stream);
    // The next one continues on the same channel, and ends the old one.
    let mut stream = open(&pair, &client).await;
    assert_eq!(texts(&mut stream).await.len(), 21);
    assert_eq!(stream.channel_id(), channel);
    let record = pair.record(channel).await;
    assert_eq!(record.spent, Amount::new(22 * PRICE));
}

#[tokio::test]
async fn the_policy_bounds_what_a_socket_may_cost() {
    let pair = Pair::new().await;
    pair.socket.serve(app(&pair.server, BOTH[1]));
    let policy = Policy::new(Amount::new(1_000_000)).max_per_stream(Amount::new(5 * PRICE));
    let client = pair.client_with(policy);
    let mut stream = open(&pair, &client).await;
    let mut texts = 0;
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(_) => texts += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ClientError::Policy(_)), "{error:?}");
    assert_eq!(texts, 6);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_route_without_sockets_opens_none() {
    let pair = Pair::trading(BOTH[1]).await;
    let session = pair.client().session(pair.url("/words")).unwrap();
    let refused = session.ws("/words").await.unwrap_err();
    assert!(
        matches!(refused, ClientError::Status { status: 402 }),
        "{refused:?}"
    );
    assert!(
        pair.client()
            .channels()
            .unwrap()
            .iter()
            .all(|channel| channel.spent.is_zero())
    );
}

// A challenge that has run out is found out by its answer, and replaced.
#[tokio::test]
async fn an_expired_challenge_is_renewed_over_http() {
    let pair = Pair::new().await;
    pair.socket.serve(app(&pair.server, BOTH[1]));
    let client = pair.client();
    let mut stream = open(&pair, &client).await;
    texts(&mut stream).await;
    drop(stream);
    pair.clock.advance_secs(10 * 60);
    let mut stream = open(&pair, &client).await;
    assert_eq!(texts(&mut stream).await.len(), 21);
    assert_eq!(stream.receipt().unwrap().spent, Amount::new(40 * PRICE));
}

// The challenge that opened the stream is not good for closing anymore: another one is asked for.
#[tokio::test]
async fn a_stream_that_outlives_its_challenge_can_be_closed() {
    let pair = Pair::new().await;
    pair.socket.serve(app(&pair.server, BOTH[1]));
    let client = pair.client();
    let mut stream = open(&pair, &client).await;
    assert_eq!(texts(&mut stream).await.len(), 21);
    pair.advance(10 * 60);
    let closed = stream.close().await.unwrap();
    assert_eq!(closed.spent, Amount::new(u128::from(WORDS) * PRICE));
    assert!(closed.tx_hash.is_some());
}

// Every challenge runs out while the stream runs: the client learns that from a refusal each time.
#[tokio::test]
async fn a_stream_outlives_any_number_of_challenges() {
    let pair = Pair::new().await;
    pair.socket.serve(app(&pair.server, BOTH[1]));
    let client = pair.client();
    let mut stream = open(&pair, &client).await;
    for _ in 0..=WORDS {
        stream.next().await.unwrap().unwrap();
        pair.advance(301);
    }
    assert!(stream.next().await.is_none());
    assert_eq!(stream.receipt().unwrap().units, Some(WORDS));
}

/// Words that cost a base unit each, many of which are paid for in advance.
async fn many(session: PaidSession) -> Metered {
    session.stream(|mut stream| async move {
        for _ in 0..MANY {
            stream.charge().await?;
            stream.send("word").await;
        }
        Ok(())
    })
}

const MANY: u64 = 3_000;

async fn behind(pair: &Pair) -> WsStream {
    let offer = pair.server.session().amount("0.000001");
    let offer = offer.suggested_deposit("0.01").build().unwrap();
    let route = Route::new("/words", [offer]).unwrap();
    pair.socket
        .serve(over_socket(&pair.server, route, get(many)));
    let policy = Policy::new(Amount::new(1_000_000)).max_voucher_step(Amount::new(10_000));
    let client = pair.client_with(policy.authorize_ahead(4_000));
    let mut stream = open(pair, &client).await;
    for _ in 0..3 {
        stream.next().await.unwrap().unwrap();
    }
    let written = async {
        while pair.record(stream.channel_id()).await.spent < Amount::new(2_000) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), written)
        .await
        .unwrap();
    stream
}

#[tokio::test]
async fn a_reader_that_is_far_behind_can_close() {
    let pair = Pair::new().await;
    let stream = behind(&pair).await;
    let closed = stream.close().await.unwrap();
    assert!(closed.tx_hash.is_some());
}

#[tokio::test]
async fn what_was_paid_for_before_the_end_can_still_be_read() {
    let pair = Pair::new().await;
    let mut stream = behind(&pair).await;
    stream.finish().await.unwrap();
    let unread = u64::try_from(texts(&mut stream).await.len()).unwrap();
    assert_eq!(stream.receipt().unwrap().units, Some(3 + unread));
}
