//! The tower layer that guards a route.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use mpp_server::{PaymentServer, Route, gate::Decision};
use tower_layer::Layer;
use tower_service::Service;

use super::{PaymentBody, render, request::Presented};

/// Lets a request through to the handler only when it is paid.
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
    server: PaymentServer,
    route: Route,
}

impl PaymentLayer {
    /// Guards `route` with `server`.
    #[must_use]
    pub fn new(server: PaymentServer, route: Route) -> Self {
        Self { server, route }
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
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body + Send + 'static,
    R: Send + 'static,
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
        let PaymentLayer { server, route } = self.layer.clone();
        Box::pin(async move {
            let presented = Presented::take_from(&mut request);
            match server.decide(&route, presented.attempt()).await {
                Decision::Grant(grant) => {
                    let receipt = grant.receipt().clone();
                    request.extensions_mut().insert(grant);
                    let response = inner.call(request).await?;
                    Ok(render::served(response, &receipt))
                }
                Decision::Respond(receipt) => Ok(render::managed(&receipt)),
                Decision::Recognize(payer) => Ok(render::recognized(&payer)),
                Decision::Refuse(refusal) => Ok(render::refusal(&refusal)),
            }
        })
    }
}
