//! Reserving more than the price, as a handler sees it.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use mpp_server::{Failure, session::reserve::Reservation};

use super::Paid;

impl Paid {
    /// Reserves up to `max` base units in place of the route's price.
    ///
    /// [`Reservation::capture`] says what the request costs in the end; it is
    /// charged when the response leaves, if that is a success. A dropped
    /// reservation captures nothing.
    ///
    /// # Errors
    /// [`Unaffordable`], to be returned as the response: `402` with what is
    /// missing and a fresh challenge. The client pays that and asks again.
    ///
    /// # Cancel safety
    /// Dropped, nothing is charged.
    ///
    /// # Examples
    ///
    /// ```
    /// use mpp_core::Amount;
    /// use mpp_http::server::{Paid, Unaffordable};
    ///
    /// async fn summary(paid: Paid) -> Result<String, Unaffordable> {
    ///     let reserved = paid.reserve(Amount::new(5_000)).await?;
    ///     let (text, pages) = (String::from("in short"), 3);
    ///     reserved.capture_units(pages)?;
    ///     Ok(text)
    /// }
    /// ```
    pub async fn reserve(&self, max: mpp_core::Amount) -> Result<Reservation, Unaffordable> {
        let tab = self.tab().ok_or(Unaffordable(Why::NoSession))?;
        Ok(tab.reserve(max).await?)
    }
}

/// A handler could not reserve or capture what it needs.
///
/// As a response it becomes what the gate says about it, usually a `402`.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unaffordable(Why);

#[derive(Clone, Debug, thiserror::Error)]
enum Why {
    #[error("the request was not paid from a session")]
    NoSession,
    #[error(transparent)]
    Failed(Arc<Failure>),
}

impl Unaffordable {
    /// What the gate makes of it.
    pub(super) fn failure(&self) -> &Failure {
        match &self.0 {
            Why::Failed(failure) => failure,
            Why::NoSession => &NO_SESSION,
        }
    }
}

/// A route that reserves must not offer payment by other methods.
const NO_SESSION: Failure = Failure::Fault(mpp_server::Fault::Inconsistent(
    "a handler reserves, and its request was not paid from a session",
));

impl From<Failure> for Unaffordable {
    fn from(failure: Failure) -> Self {
        Self(Why::Failed(Arc::new(failure)))
    }
}

impl From<mpp_server::session::reserve::OverReserved> for Unaffordable {
    fn from(_: mpp_server::session::reserve::OverReserved) -> Self {
        Failure::from(mpp_server::Fault::Inconsistent(
            "a handler captures more than it has reserved",
        ))
        .into()
    }
}

impl IntoResponse for Unaffordable {
    fn into_response(self) -> Response {
        // The layer replaces it; this is what is left without one.
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
