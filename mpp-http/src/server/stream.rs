//! A metered stream as a response.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderName, HeaderValue, header, request::Parts};
use http_body::{Body, Frame};
use mpp_server::session::meter::{self, MeteredStream};
use tokio::time::{Instant, Sleep};

#[cfg(feature = "ws")]
use super::socket;
use crate::sse::encode;

/// The response of a metered stream.
#[derive(Debug)]
#[must_use = "a stream charges nothing and sends nothing until it is returned"]
pub struct Metered(Framed);

#[derive(Debug)]
enum Framed {
    Events(SseBody),
    #[cfg(feature = "ws")]
    Socket(MeteredStream),
}

/// How the frames of a stream leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// As the events of a response's body.
    Events,
    /// As messages of a WebSocket.
    #[cfg(feature = "ws")]
    Socket,
}

impl Framing {
    /// What the request asks for.
    #[cfg(feature = "ws")]
    pub(super) fn of(parts: &Parts) -> Self {
        match parts.extensions.get() {
            Some(socket::OverSocket) => Self::Socket,
            None => Self::Events,
        }
    }

    /// What the request asks for.
    #[cfg(not(feature = "ws"))]
    pub(super) const fn of(_: &Parts) -> Self {
        Self::Events
    }
}

impl Metered {
    pub(super) fn new(stream: MeteredStream, heartbeat: Duration, framing: Framing) -> Self {
        Self(match framing {
            Framing::Events => Framed::Events(SseBody {
                stream,
                heartbeat,
                idle: Box::pin(tokio::time::sleep(heartbeat)),
            }),
            #[cfg(feature = "ws")]
            Framing::Socket => Framed::Socket(stream),
        })
    }
}

impl IntoResponse for Metered {
    fn into_response(self) -> Response {
        match self.0 {
            Framed::Events(body) => events(body),
            // The layer takes it from here.
            #[cfg(feature = "ws")]
            Framed::Socket(stream) => {
                let mut response = Response::new(axum::body::Body::empty());
                response
                    .extensions_mut()
                    .insert(socket::Handed::new(stream));
                response
            }
        }
    }
}

/// A response of events (PROTOCOL 5.7).
fn events(body: SseBody) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let mut response = Response::new(axum::body::Body::new(body));
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Frames as events, with a sign of life when there are none.
///
/// It polls the stream only when the connection asks for more: that is the
/// back-pressure which keeps anything that nobody takes from being charged.
/// What a connection takes before its reader does is bounded by its buffers:
/// with HTTP/1 the kernel's and hyper's write buffer, which
/// `hyper_util::server::conn::auto::Http1Builder::max_buf_size` can lower. A
/// client that signs only what it is asked for is never charged beyond that.
#[derive(Debug)]
pub struct SseBody {
    stream: MeteredStream,
    heartbeat: Duration,
    idle: Pin<Box<Sleep>>,
}

impl SseBody {
    fn rearm(&mut self) {
        let deadline = Instant::now().checked_add(self.heartbeat);
        if let Some(deadline) = deadline {
            self.idle.as_mut().reset(deadline);
        }
    }
}

impl Body for SseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = match Pin::new(&mut self.stream).poll_next(cx) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(meter::Frame::Data(text))) => encode::message(&text),
            Poll::Ready(Some(meter::Frame::NeedVoucher(need))) => encode::need_voucher(&need),
            Poll::Ready(Some(meter::Frame::Receipt(receipt))) => encode::receipt(&receipt),
            Poll::Pending => {
                std::task::ready!(self.idle.as_mut().poll(cx));
                encode::heartbeat()
            }
        };
        self.rearm();
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}
