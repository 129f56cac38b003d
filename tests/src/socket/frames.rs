//! What goes over a socket, frame by frame.

use std::time::Duration;

use axum::{Router, routing::get};
use futures_util::{SinkExt as _, StreamExt as _};
use mpp_core::{Amount, Problem, ProblemKind, SessionReceipt};
use mpp_http::{
    server::{Paid, PaidSession, Unaffordable},
    ws::Frame,
};
use mpp_server::Route;
use mpp_tempo::wire::{NeedVoucher, SessionPayload};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use super::reading::{app, over_socket};
use crate::{
    pair::{BOTH, PRICE, Pair},
    shop::words,
    wallet::{Opened, Wallet, authorization, challenge_of},
};

/// A client that sends whatever it is told.
struct Raw {
    socket: WebSocketStream<TcpStream>,
    wallet: Wallet,
    opened: Opened,
}

impl Raw {
    async fn to(pair: &Pair) -> Self {
        Self::at(pair, app(&pair.server, BOTH[1])).await
    }

    async fn at(pair: &Pair, app: Router) -> Self {
        pair.socket.serve(app.clone());
        let wallet = pair.wallet();
        let opened = wallet.open(&app, "/words", 0).await;
        let host = pair.socket.url.trim_start_matches("http://");
        let stream = TcpStream::connect(host).await.unwrap();
        let url = format!("ws://{host}/words");
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        Self {
            socket,
            wallet,
            opened,
        }
    }

    async fn send(&mut self, text: impl Into<String>) {
        let message = Message::Text(text.into().into());
        self.socket.send(message).await.unwrap();
    }

    async fn authorize(&mut self, payload: &SessionPayload) {
        let authorization = authorization(&self.opened.challenge, payload);
        self.send(Frame::Authorization { authorization }.to_json())
            .await;
    }

    async fn pay(&mut self, units: u128) {
        let payload = self.wallet.pay(&self.opened.terms, units * PRICE).await;
        self.authorize(&payload).await;
    }

    async fn next(&mut self) -> Frame {
        loop {
            match self.socket.next().await.unwrap().unwrap() {
                Message::Text(text) => return Frame::from_json(text.as_bytes()).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn receipt(&mut self) -> SessionReceipt {
        match self.next().await {
            Frame::Receipt { data } => data,
            other => panic!("{other:?}"),
        }
    }

    async fn need(&mut self) -> NeedVoucher {
        match self.next().await {
            Frame::NeedVoucher { data } => data,
            other => panic!("{other:?}"),
        }
    }

    async fn word(&mut self) -> String {
        match self.next().await {
            Frame::Message { data } => data,
            other => panic!("{other:?}"),
        }
    }

    async fn refusal(&mut self) -> (u16, ProblemKind) {
        match self.next().await {
            Frame::Error { status, message } => {
                let problem = Problem::from_json(message.as_bytes());
                (
                    status,
                    problem.map_or(ProblemKind::Unknown, |read| read.kind),
                )
            }
            other => panic!("{other:?}"),
        }
    }

    /// The code with which the server closes the socket.
    async fn closed(&mut self) -> u16 {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn vouchers_come_in_band_and_each_is_confirmed() {
    let pair = Pair::new().await;
    let mut raw = Raw::to(&pair).await;
    raw.pay(1).await;
    assert_eq!(raw.receipt().await.spent, Amount::new(PRICE));
    assert_eq!(raw.word().await, "title");
    assert_eq!(raw.word().await, "word1");
    let need = raw.need().await;
    assert_eq!(need.required_cumulative, Amount::new(2 * PRICE));
    assert_eq!(need.accepted_cumulative, Amount::new(PRICE));
    raw.pay(3).await;
    let receipt = raw.receipt().await;
    assert_eq!(receipt.accepted_cumulative, Amount::new(3 * PRICE));
    assert_eq!(raw.word().await, "word2");
    assert_eq!(raw.word().await, "word3");
    raw.need().await;
    raw.send(Frame::CloseRequest.to_json()).await;
    let Frame::CloseReady { data } = raw.next().await else {
        panic!("the stream did not end");
    };
    assert_eq!((data.spent, data.units), (Amount::new(3 * PRICE), Some(3)));
    // The channel is closed over the same socket.
    let close = raw.wallet.close(&raw.opened.terms, 3 * PRICE).await;
    raw.authorize(&close).await;
    assert!(raw.receipt().await.tx_hash.is_some());
}

#[tokio::test]
async fn a_credential_that_is_no_good_can_be_replaced() {
    let pair = Pair::new().await;
    let mut raw = Raw::to(&pair).await;
    raw.pay(0).await;
    let (status, kind) = raw.refusal().await;
    assert_eq!((status, kind), (402, ProblemKind::InsufficientBalance));
    raw.send(r#"{"mpp":"authorization","authorization":"Payment e30"}"#)
        .await;
    assert_eq!(raw.refusal().await, (402, ProblemKind::MalformedCredential));
    raw.send(r#"{"mpp":"authorization","authorization":"Bearer abc"}"#)
        .await;
    assert_eq!(raw.refusal().await, (402, ProblemKind::PaymentRequired));
    raw.pay(1).await;
    raw.receipt().await;
    assert_eq!(raw.word().await, "title");
}

// The same as over SSE: the client pays what is missing, and asks again.
#[tokio::test]
async fn a_handler_that_reserves_runs_again_once_it_is_affordable() {
    let pair = Pair::new().await;
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let route = Route::new("/words", [offer]).unwrap();
    let handler = get(|paid: Paid, session: PaidSession| async move {
        drop(paid.reserve(Amount::new(3 * PRICE)).await?);
        Ok::<_, Unaffordable>(words(session).await)
    });
    let mut raw = Raw::at(&pair, over_socket(&pair.server, route, handler)).await;
    for _ in 0..2 {
        raw.pay(1).await;
        let refused = raw.refusal().await;
        assert_eq!(refused, (402, ProblemKind::InsufficientBalance));
        // Each time the client has as long as for the first payment.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(20)).await;
        tokio::time::resume();
    }
    raw.pay(3).await;
    raw.receipt().await;
    assert_eq!(raw.word().await, "title");
}

// SECURITY-CASES A3.
#[tokio::test]
async fn a_credential_of_another_route_starts_nothing() {
    let pair = Pair::new().await;
    let mut raw = Raw::to(&pair).await;
    let other = pair.goods(&pair.server, BOTH[1]);
    raw.opened.challenge = challenge_of(&other, "/photo").await;
    raw.pay(1).await;
    assert_eq!(raw.refusal().await, (402, ProblemKind::InvalidChallenge));
}

#[tokio::test]
async fn a_client_that_sends_nonsense_is_shown_out() {
    let pair = Pair::new().await;
    let mut raw = Raw::to(&pair).await;
    for nonsense in ["", "[]", r#"{"mpp":"message","data":"x"}"#, "{\"mpp\":7}"] {
        raw.send(nonsense).await;
        assert_eq!(raw.refusal().await.0, 400);
    }
    for _ in 0..12 {
        raw.send("again").await;
    }
    assert_eq!(raw.closed().await, 1008);
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_the_socket() {
    let pair = Pair::new().await;
    let mut raw = Raw::to(&pair).await;
    let huge = Message::Text("x".repeat(64 * 1024 + 1).into());
    // Whether all of it can be written depends on when the server hangs up.
    drop(raw.socket.send(huge).await);
    match raw.socket.next().await {
        None | Some(Err(_) | Ok(Message::Close(_))) => {}
        Some(Ok(other)) => panic!("{other:?}"),
    }
    assert_eq!(pair.record(raw.opened.terms.id()).await.spent, Amount::ZERO);
}

#[tokio::test]
async fn a_client_that_never_pays_is_not_waited_for() {
    let pair = Pair::new().await;
    let mut raw = Raw::to(&pair).await;
    tokio::time::pause();
    assert_eq!(raw.closed().await, 1008);
}

#[tokio::test]
async fn a_new_stream_ends_the_one_on_the_socket() {
    let pair = Pair::new().await;
    let mut raw = Raw::to(&pair).await;
    raw.pay(2).await;
    raw.receipt().await;
    for _ in 0..3 {
        raw.word().await;
    }
    raw.need().await;
    let app = app(&pair.server, BOTH[1]);
    let payload = raw.wallet.pay(&raw.opened.terms, 5 * PRICE).await;
    let ask = crate::wallet::Ask::get("/words").pay(&raw.opened.challenge, &payload);
    let other = ask.start(&app).await;
    let mut body = other.into_body().into_data_stream();
    body.next().await.unwrap().unwrap();
    body.next().await.unwrap().unwrap();
    let Frame::CloseReady { data } = raw.next().await else {
        panic!("the old stream goes on");
    };
    assert_eq!(data.units, Some(2));
}
