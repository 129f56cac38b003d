//! A metered stream over a WebSocket (PROTOCOL 5.7).
//!
//! The connection is upgraded before anything is paid. The client sends its
//! credentials as frames; the first one that pays for content runs the route's
//! handler, whose metered stream then leaves frame by frame. It is the same
//! handler and the same stream as over SSE, and charged by the same rules.

mod reader;
mod writer;

use std::{
    future::poll_fn,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::extract::{FromRequestParts as _, WebSocketUpgrade, ws::WebSocket};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;
use mpp_server::{gate::Access, session::meter::MeteredStream};
use tokio::sync::mpsc;
use tower_service::Service;

use self::{reader::Reader, writer::Writer};
use super::{PaymentBody, PaymentLayer, body, extract::PaidBy, render, request::Presented};
use crate::ws::MAX_INBOUND;

/// Answers that wait until the client has taken what is before them. While
/// they do, nothing more is read from it.
const QUEUE: usize = 8;

/// Says in a request's extensions that its stream leaves over a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct OverSocket;

/// A stream on its way from the handler to the socket.
#[derive(Clone, Debug)]
pub(super) struct Handed(Arc<Mutex<Option<MeteredStream>>>);

impl Handed {
    pub(super) fn new(stream: MeteredStream) -> Self {
        Self(Arc::new(Mutex::new(Some(stream))))
    }

    fn take(&self) -> Option<MeteredStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Whether the client asks for a WebSocket.
pub(super) fn is_asked_for<B>(request: &Request<B>) -> bool {
    *request.method() == Method::GET
        && has(request.headers(), &header::CONNECTION, "upgrade")
        && has(request.headers(), &header::UPGRADE, "websocket")
}

fn has(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// Upgrades the connection. The request is kept for the handler.
pub(super) async fn upgrade<S, B, R>(
    layer: PaymentLayer,
    inner: S,
    mut request: Request<B>,
) -> Response<PaymentBody<R>>
where
    S: Service<Request<PaymentBody<B>>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body<Data = Bytes> + Send + 'static,
    R: Send + 'static,
{
    // Credentials come as frames; none is for the handler to see.
    let presented = Presented::take_from(&mut request);
    let (mut parts, body) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(_) => {
            return render::unpayable(
                StatusCode::BAD_REQUEST,
                "this is no handshake of a WebSocket",
            );
        }
    };
    parts.extensions.insert(OverSocket);
    let seller = Seller {
        layer,
        inner,
        parts,
        body: Some(body),
        peer: presented.peer_ip(),
    };
    let response = upgrade
        .max_message_size(MAX_INBOUND)
        .max_frame_size(MAX_INBOUND)
        // Nothing is charged that the connection has not room for.
        .write_buffer_size(0)
        .on_upgrade(move |socket| serve(socket, seller));
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, body::text(Bytes::new()))
}

/// What it takes to serve one socket.
struct Seller<S, B> {
    layer: PaymentLayer,
    inner: S,
    /// The head of the upgrade's request. The handler runs again when it has
    /// asked for more than was paid and that has come.
    parts: Parts,
    /// Its body, which only the first run sees: a request to upgrade has none.
    body: Option<B>,
    peer: Option<IpAddr>,
}

impl<S, B, R> Seller<S, B>
where
    S: Service<Request<PaymentBody<B>>, Response = Response<R>>,
{
    /// Runs the handler for a request that was paid.
    async fn serve(&mut self, access: Access) -> Result<Response<R>, S::Error> {
        poll_fn(|cx| self.inner.poll_ready(cx)).await?;
        let body = self.body.take();
        let body = body.map_or_else(|| body::text(Bytes::new()), PaymentBody::Left);
        let mut request = Request::from_parts(self.parts.clone(), body);
        request.extensions_mut().insert(PaidBy(access));
        self.inner.call(request).await
    }
}

/// Serves a socket until either side closes it. Then charging has stopped.
async fn serve<S, B, R>(socket: WebSocket, seller: Seller<S, B>)
where
    S: Service<Request<PaymentBody<B>>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: Send + 'static,
{
    let (sink, source) = socket.split();
    let (orders, queue) = mpsc::channel(QUEUE);
    let mut reader = Reader::new(seller, orders);
    let mut writer = Writer::new(sink, queue);
    tokio::select! {
        () = reader.run(source) => {}
        () = writer.run() => {}
    }
}
