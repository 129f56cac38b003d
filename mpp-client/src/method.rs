//! Payment methods of one's own, on the paying side.

use std::future::Future;
use std::pin::Pin;

use mpp_core::{Challenge, ChargeReceipt, IntentName, MethodName};
use serde_json::Value;

use crate::error::ClientError;
use crate::origin::Origin;

/// A future on the heap, as trait objects need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way to pay that this crate does not know: the counterpart of a server's payment method.
///
/// The client chooses among a server's offers, sends the credential and repeats it when the answer
/// was lost; the method makes the payload, once for each challenge. What may be spent is the
/// method's own to limit: the [`Policy`](crate::Policy) knows tokens only. That a credential does
/// not leave unencrypted is checked before the method is asked.
///
/// # Examples
///
/// `examples/custom-method` pays from a prepaid credit, server side included.
pub trait ClientMethod: Send + Sync + 'static {
    /// The method's name.
    fn method(&self) -> &MethodName;

    /// The intent.
    fn intent(&self) -> &IntentName;

    /// Whether this challenge of a server is one to be paid. Another offer is taken otherwise.
    ///
    /// # Errors
    /// [`MethodError`] with the reason, when there is no other offer.
    fn check(&self, origin: &Origin, challenge: &Challenge) -> Result<(), MethodError>;

    /// Pays, and returns the payload of the credential.
    ///
    /// # Errors
    /// [`MethodError`]; nothing is sent then.
    ///
    /// # Cancel safety
    /// Dropped, the payment is made or not; the challenge is not paid again.
    fn pay<'a>(
        &'a self,
        origin: &'a Origin,
        challenge: &'a Challenge,
    ) -> BoxFuture<'a, Result<Value, MethodError>>;

    /// Checks the receipt. Method and challenge have been compared.
    ///
    /// # Errors
    /// [`MethodError`] when it confirms something else than was paid.
    fn confirm(&self, _challenge: &Challenge, _receipt: &ChargeReceipt) -> Result<(), MethodError> {
        Ok(())
    }
}

/// Why a method of one's own does not pay. Its text is shown as it is.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct MethodError(Box<dyn std::error::Error + Send + Sync>);

impl MethodError {
    /// Wraps a reason.
    pub fn new(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(reason.into())
    }
}

impl From<MethodError> for ClientError {
    fn from(error: MethodError) -> Self {
        Self::Method(error.0)
    }
}
