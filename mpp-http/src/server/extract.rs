//! Extractors: proof, in a handler's signature, that the request was paid.

use std::{future::Future, sync::Arc};

use alloy_primitives::Address;
use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use mpp_server::{
    gate::Access,
    session::{
        meter::{Meter, StreamEnd},
        tab::Tab,
    },
};
use mpp_tempo::ChannelId;

use super::Metered;

/// How the request was paid, as the layer tells the extractors.
#[derive(Clone, Debug)]
pub(super) struct PaidBy(pub(super) Access);

/// A paid request, by whatever method.
///
/// A session's price is held, and charged when the response leaves.
#[derive(Clone, Debug)]
pub struct Paid(Access);

impl Paid {
    /// The channel that pays, when a session does.
    #[must_use]
    pub fn channel_id(&self) -> Option<ChannelId> {
        self.tab().map(|tab| tab.channel_id())
    }

    /// The account that pays, or has proven its identity, where the method
    /// knows it.
    #[must_use]
    pub fn payer(&self) -> Option<Address> {
        self.0.payer()
    }

    pub(super) fn tab(&self) -> Option<&Arc<Tab>> {
        match &self.0 {
            Access::Paid(_) => None,
            Access::Session(tab) => Some(tab),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Paid {
    type Rejection = NotPaid;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotPaid> {
        let paid = parts.extensions.get::<PaidBy>();
        let PaidBy(access) = paid.cloned().ok_or(NotPaid::NoLayer)?;
        Ok(Self(access))
    }
}

/// Who is asking: an account that has proven its identity for this request.
///
/// For routes whose offer is a charge of zero, which is answered with a proof
/// and costs nothing. A payment is no proof of who asks for this: on other
/// routes the handler is not run.
///
/// ```
/// use mpp_http::server::VerifiedPayer;
///
/// async fn orders(VerifiedPayer(account): VerifiedPayer) -> String {
///     format!("the orders of {account}")
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VerifiedPayer(pub Address);

impl<S: Sync> FromRequestParts<S> for VerifiedPayer {
    type Rejection = NotPaid;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, NotPaid> {
        let paid = Paid::from_request_parts(parts, state).await?;
        paid.0.proven().map(Self).ok_or(NotPaid::NoProof)
    }
}

/// A request paid from a session, which can go on paying unit by unit.
#[derive(Clone, Debug)]
pub struct PaidSession {
    tab: Arc<Tab>,
}

impl PaidSession {
    /// The channel that pays.
    #[must_use]
    pub fn channel_id(&self) -> ChannelId {
        self.tab.channel_id()
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
        let paid = Paid::from_request_parts(parts, state).await?;
        let tab = paid.tab().cloned().ok_or(NotPaid::NoSession)?;
        Ok(Self { tab })
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
    /// The route has no proof of identity: its price is more than zero.
    #[error("the request came without a proof of identity")]
    NoProof,
}

impl IntoResponse for NotPaid {
    fn into_response(self) -> Response {
        tracing::error!(error = %self, "a handler is not set up for payment");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}
