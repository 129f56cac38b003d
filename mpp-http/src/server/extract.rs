//! Extractors: proof, in a handler's signature, that the request was paid.

use std::{future::Future, sync::Arc};

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use mpp_core::receipt::Receipt;
use mpp_server::{
    gate::Grant,
    session::meter::{Meter, StreamEnd, Tab},
};

use super::Metered;

/// A paid request, by whatever method.
#[derive(Clone, Debug)]
pub struct Paid(Grant);

impl Paid {
    /// The receipt that the response will carry.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        self.0.receipt()
    }
}

impl<S: Sync> FromRequestParts<S> for Paid {
    type Rejection = NotPaid;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotPaid> {
        let grant = parts.extensions.get::<Grant>();
        grant.cloned().map(Self).ok_or(NotPaid::NoLayer)
    }
}

/// A request paid from a session, which can go on paying unit by unit.
#[derive(Clone, Debug)]
pub struct PaidSession {
    grant: Grant,
    tab: Arc<Tab>,
}

impl PaidSession {
    /// The receipt that the response starts with.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        self.grant.receipt()
    }

    /// Answers with a metered event stream.
    ///
    /// `produce` charges with [`Meter::charge`] before it sends what the
    /// charge is for. The request itself has paid for the first unit.
    pub fn stream<F, Fut>(&self, produce: F) -> Metered
    where
        F: FnOnce(Meter) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), StreamEnd>> + Send + 'static,
    {
        Metered::new(self.tab.stream(produce), self.tab.options().heartbeat)
    }
}

impl<S: Sync> FromRequestParts<S> for PaidSession {
    type Rejection = NotPaid;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, NotPaid> {
        let Paid(grant) = Paid::from_request_parts(parts, state).await?;
        let tab = grant.tab().cloned().ok_or(NotPaid::NoSession)?;
        Ok(Self { grant, tab })
    }
}

/// The handler asks for a payment that its route does not guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPaid {
    /// There is no [`PaymentLayer`](super::PaymentLayer) around the handler.
    #[error("the route has no payment layer")]
    NoLayer,
    /// The request was paid by a method that can not be metered.
    #[error("the request was not paid from a session")]
    NoSession,
}

impl IntoResponse for NotPaid {
    fn into_response(self) -> Response {
        tracing::error!(error = %self, "a handler is not set up for payment");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}
