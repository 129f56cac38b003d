//! The tower layer that guards a route.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use mpp_server::{
    Failure, PaymentServer, Rejection, Route,
    gate::{Decision, Grant, RequestBody},
};
use tower_layer::Layer;
use tower_service::Service;

#[cfg(feature = "ws")]
use super::socket;
use super::{
    PaymentBody,
    body::{self, Unreadable},
    encryption::Encryption,
    extract::PaidBy,
    idempotency, render,
    request::Presented,
    reserve::Unaffordable,
};

/// Lets a request through to the handler only when it is paid.
///
/// The price is held while the handler runs, and charged when it has
/// succeeded (`2xx`, or `101` to another protocol), before its response leaves.
/// A handler that answers with anything else, that fails (an error, a panic) or
/// whose client has gone charges nothing. Its own `402` without a challenge
/// becomes `502`.
///
/// A retry with the same `Idempotency-Key` is answered with the response of
/// the first request and charged nothing. Responses that are streams, or
/// larger than [`max_stored_response`](Self::max_stored_response), are not
/// kept; their retry gets `204` with the receipt.
///
/// With axum, put it on a method router with `layer` (not `route_layer`), so
/// that management requests of any method find it:
///
/// ```
/// # fn example(server: mpp_server::PaymentServer, route: mpp_server::Route) {
/// use axum::{Router, routing::get};
/// use mpp_http::server::{Paid, PaymentLayer};
///
/// async fn photo(_paid: Paid) -> &'static str {
///     "a photo"
/// }
///
/// let app: Router = Router::new().route(
///     "/photo",
///     get(photo).layer(PaymentLayer::new(server, route)),
/// );
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PaymentLayer {
    pub(super) server: PaymentServer,
    pub(super) route: Route,
    limits: Limits,
    encryption: Option<Encryption>,
    #[cfg(feature = "ws")]
    sockets: Sockets,
}

/// Whether the route's stream can also be had over a WebSocket.
#[cfg(feature = "ws")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sockets {
    Refused,
    Served,
}

/// What is kept in memory of one request, in bytes.
#[derive(Clone, Copy, Debug)]
struct Limits {
    request: usize,
    bound: usize,
    response: usize,
}

/// Why a request can not be decided about.
#[derive(Debug)]
enum Unprepared {
    /// Its key can not be read.
    Key(Rejection),
    /// Its body could not be read.
    Body(Unreadable),
}

impl PaymentLayer {
    /// Guards `route` with `server`.
    #[must_use]
    pub fn new(server: PaymentServer, route: Route) -> Self {
        Self {
            server,
            route,
            limits: Limits {
                request: 1024 * 1024,
                bound: 1024 * 1024,
                response: 64 * 1024,
            },
            encryption: None,
            #[cfg(feature = "ws")]
            sockets: Sockets::Refused,
        }
    }

    /// Answers only requests that came over an encrypted connection; others
    /// get `403`, and no challenge that would call for a credential.
    ///
    /// Default: any request, because the layer does not see connections.
    /// Behind a proxy, or with TLS of your own, say so here.
    #[must_use]
    pub fn require_tls(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// Whether the request came in a way that the route allows.
    fn admits<B>(&self, request: &Request<B>) -> bool {
        let required = self.encryption.as_ref();
        required.is_none_or(|encryption| encryption.covers(request))
    }

    /// Serves the route's metered stream also over WebSockets, on the same
    /// URL and by the same handler.
    ///
    /// A client that asks for one gets its challenge by a plain `GET` first,
    /// then sends its credentials as frames (see [`crate::ws`]).
    #[cfg(feature = "ws")]
    #[must_use]
    pub fn websocket(mut self) -> Self {
        self.sockets = Sockets::Served;
        self
    }

    /// The largest body of a request with an `Idempotency-Key`. It is read
    /// before the handler runs, since a retry must send the same; a larger
    /// one is answered `413` and not charged. Default: 1 MiB.
    #[must_use]
    pub fn max_idempotent_request(mut self, bytes: usize) -> Self {
        self.limits.request = bytes;
        self
    }

    /// The largest body on a route that binds payments to bodies
    /// ([`Route::bind_body`]). It is read before the payment, paid or not,
    /// because the challenge carries its digest; a larger one is answered
    /// `413` and not charged. Default: 1 MiB.
    ///
    /// How long a client may take over it is for the HTTP server to bound.
    #[must_use]
    pub fn max_bound_body(mut self, bytes: usize) -> Self {
        self.limits.bound = bytes;
        self
    }

    /// The largest response that is kept for a retry. Default: 64 KiB.
    #[must_use]
    pub fn max_stored_response(mut self, bytes: usize) -> Self {
        self.limits.response = bytes;
        self
    }

    /// The request with its body read, if its client or its route ask for that.
    async fn prepare<B: Body<Data = Bytes>>(
        &self,
        request: Request<B>,
        presented: &mut Presented,
    ) -> Result<Request<PaymentBody<B>>, Unprepared> {
        // Nothing is read for who does not even claim to pay, but what the
        // challenge is about.
        let key = if presented.attempt().presents_credential() {
            idempotency::key(request.headers()).map_err(Unprepared::Key)?
        } else {
            None
        };
        let is_bound = self.route.binds_body() && presented.body == RequestBody::Unread;
        let limit = match (&key, is_bound) {
            (Some(_), true) => self.limits.request.min(self.limits.bound),
            (Some(_), false) => self.limits.request,
            (None, true) => self.limits.bound,
            (None, false) => return Ok(request.map(PaymentBody::Left)),
        };
        let (parts, body) = request.into_parts();
        let body = body::collect(body, limit).await.map_err(Unprepared::Body)?;
        let request = Request::from_parts(parts, PaymentBody::Right(Full::new(body.clone())));
        if is_bound {
            presented.body = RequestBody::of(&body);
        }
        presented.repeatable = key.map(|key| idempotency::repeatable(&request, &key, &body));
        Ok(request)
    }

    /// Charges for a response, unless it is a failure.
    async fn finish<R: Body<Data = Bytes>>(
        &self,
        grant: Grant,
        mut response: Response<R>,
        body: RequestBody,
    ) -> Response<PaymentBody<R>> {
        let is_known_again = grant.is_known_again();
        let refuse = |failure: &Failure| {
            let refusal = self.refuse(failure, body);
            if is_known_again {
                refusal
            } else {
                render::after_handler(refusal)
            }
        };
        if let Some(unaffordable) = response.extensions_mut().remove::<Unaffordable>() {
            grant.release().await;
            return refuse(unaffordable.failure());
        }
        let status = response.status();
        // Switching protocols delivers, too: what is paid for comes over the new one.
        if !status.is_success() && status != StatusCode::SWITCHING_PROTOCOLS {
            grant.release().await;
            return render::failed(response);
        }
        let (response, stored) = if grant.is_idempotent() {
            match idempotency::keep(response, self.limits.response).await {
                Ok(kept) => kept,
                Err(_) => {
                    tracing::warn!("the body of a paid response broke off; it was not charged");
                    grant.release().await;
                    return render::unpayable(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "the answer broke off; it was not charged",
                    );
                }
            }
        } else {
            (response.map(PaymentBody::Left), None)
        };
        match grant.capture(stored).await {
            Ok(receipt) => render::served(response, &receipt),
            Err(failure) => refuse(&failure),
        }
    }

    fn refuse<R>(&self, failure: &Failure, body: RequestBody) -> Response<PaymentBody<R>> {
        render::refusal(&self.server.refusal(&self.route, failure, body))
    }

    fn unprepared<R>(&self, why: Unprepared) -> Response<PaymentBody<R>> {
        match why {
            Unprepared::Key(rejection) => self.refuse(&rejection.into(), RequestBody::Unread),
            Unprepared::Body(Unreadable::TooLarge) => render::unpayable(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is too large to be kept until it is paid",
            ),
            Unprepared::Body(Unreadable::Broken) => {
                render::unpayable(StatusCode::BAD_REQUEST, "the body broke off")
            }
        }
    }
}

impl<S> Layer<S> for PaymentLayer {
    type Service = PaymentService<S>;

    fn layer(&self, inner: S) -> PaymentService<S> {
        PaymentService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A guarded service. See [`PaymentLayer`].
#[derive(Clone, Debug)]
pub struct PaymentService<S> {
    inner: S,
    layer: PaymentLayer,
}

impl<S, B, R> Service<Request<B>> for PaymentService<S>
where
    S: Service<Request<PaymentBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Send,
{
    type Response = Response<PaymentBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that was polled ready goes with the request.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let layer = self.layer.clone();
        Box::pin(async move {
            if !layer.admits(&request) {
                return Ok(render::unpayable(
                    StatusCode::FORBIDDEN,
                    "payments are taken over encrypted connections only",
                ));
            }
            #[cfg(feature = "ws")]
            if layer.sockets == Sockets::Served && socket::is_asked_for(&request) {
                return Ok(socket::upgrade(layer, inner, request).await);
            }
            let mut presented = Presented::take_from(&mut request);
            let mut request = match layer.prepare(request, &mut presented).await {
                Ok(request) => request,
                Err(why) => return Ok(layer.unprepared(why)),
            };
            match layer.server.decide(&layer.route, presented.attempt()).await {
                Decision::Grant(grant) => {
                    request.extensions_mut().insert(PaidBy(grant.access()));
                    let response = inner.call(request).await?;
                    Ok(layer.finish(grant, response, presented.body).await)
                }
                Decision::Replay(outcome) => Ok(render::replayed(*outcome)),
                Decision::Respond(receipt) => Ok(render::managed(&receipt)),
                Decision::Recognize(payer) => Ok(render::recognized(&payer)),
                Decision::Refuse(refusal) => Ok(render::refusal(&refusal)),
            }
        })
    }
}
