//! Metered streams over SSE (PROTOCOL 5.7).

mod events;
mod pressure;

use axum::{Router, body::Body};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use mpp_core::{Receipt, SessionReceipt};

use crate::{
    pair::Pair,
    wallet::{Ask, Opened, Wallet, header_receipt, session},
};

/// A stream that is read frame by frame.
struct Reading {
    headers: HeaderMap,
    body: Body,
}

impl Reading {
    /// Opens a channel with a voucher for `authorized` and starts `/stream`.
    async fn start(app: &Router, wallet: &Wallet, authorized: u128) -> (Self, Opened) {
        let opened = wallet.open(app, "/stream", authorized).await;
        let reading = Self::resume(app, wallet, &opened, authorized).await;
        (reading, opened)
    }

    /// Starts `/stream` on an open channel.
    async fn resume(app: &Router, wallet: &Wallet, opened: &Opened, authorized: u128) -> Self {
        let payload = wallet.pay(&opened.terms, authorized).await;
        let ask = Ask::get("/stream").pay(&opened.challenge, &payload);
        let (parts, body) = ask.start(app).await.into_parts();
        assert_eq!(parts.status, StatusCode::OK);
        Self {
            headers: parts.headers,
            body,
        }
    }

    /// The next frame as text; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        let frame = self.body.frame().await?.unwrap();
        let bytes = frame.into_data().unwrap();
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// Everything up to the end.
    async fn rest(mut self) -> Vec<String> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    fn first_receipt(&self) -> SessionReceipt {
        header_receipt(&self.headers)
    }
}

/// The receipt in the frame that ends a stream.
#[track_caller]
fn final_receipt(frame: &str) -> SessionReceipt {
    let data = frame
        .strip_prefix("event: payment-receipt\ndata: ")
        .unwrap_or_else(|| panic!("not a receipt: {frame}"));
    session(Receipt::from_json(data.trim().as_bytes()).unwrap())
}

async fn spent(pair: &Pair, opened: &Opened) -> u128 {
    pair.record(opened.terms.id()).await.spent.base_units()
}
