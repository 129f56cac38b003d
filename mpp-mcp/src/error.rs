//! Errors of JSON-RPC that speak of payment.

use mpp_core::ProblemKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Payment is required, or more of it.
pub const PAYMENT_REQUIRED: i32 = ProblemKind::PaymentRequired.mcp_code();
/// The payment does not hold.
pub const VERIFICATION_FAILED: i32 = ProblemKind::VerificationFailed.mcp_code();
/// The credential can not be read.
pub const INVALID_PARAMS: i32 = ProblemKind::MalformedCredential.mcp_code();
/// The payment could not be processed.
pub const INTERNAL: i32 = ProblemKind::Internal.mcp_code();
/// The message is not a request.
pub const INVALID_REQUEST: i32 = -32_600;
/// Nobody knows the method.
pub const METHOD_NOT_FOUND: i32 = -32_601;

/// An error object of JSON-RPC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RpcError {
    /// What kind of error it is.
    pub code: i32,
    /// One sentence for people.
    pub message: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    /// An error with data.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The server failed, and says no more than that.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(INTERNAL, message(INTERNAL))
    }

    /// Nobody knows the method.
    #[must_use]
    pub fn method_not_found() -> Self {
        Self::new(METHOD_NOT_FOUND, "Method not found")
    }
}

/// The message that the draft gives a code.
pub(crate) const fn message(code: i32) -> &'static str {
    match code {
        PAYMENT_REQUIRED => "Payment Required",
        VERIFICATION_FAILED => "Payment Verification Failed",
        INVALID_PARAMS => "Invalid params",
        INVALID_REQUEST => "Invalid Request",
        _ => "Internal error",
    }
}
