//! Paid servers and paying clients of rmcp, the official MCP SDK.
//!
//! [`PaidServer`] stands around any `ServerHandler`: one line per tool,
//! resource or prompt says what it costs. [`PayingPeer`] stands around the
//! peer of a client. Both work over every transport of rmcp.
//!
//! rmcp logs whole messages under the target [`MESSAGE_LOG`], on tasks of its
//! own: at TRACE and DEBUG those with credentials, at WARN what calls cost. A
//! program that keeps logs silences that target (SECURITY-CASES A20).

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "client")]
pub use self::client::{Bought, CallError, PayingPeer, advertise};
#[cfg(feature = "server")]
pub use self::server::PaidServer;

use std::borrow::Cow;

use ::rmcp::model::{ErrorCode, ErrorData};

use crate::RpcError;

/// The target under which rmcp logs messages, credentials included.
pub const MESSAGE_LOG: &str = "rmcp::service";

impl From<RpcError> for ErrorData {
    fn from(error: RpcError) -> Self {
        Self::new(ErrorCode(error.code), Cow::Owned(error.message), error.data)
    }
}

impl From<&ErrorData> for RpcError {
    fn from(error: &ErrorData) -> Self {
        Self {
            code: error.code.0,
            message: error.message.clone().into_owned(),
            data: error.data.clone(),
        }
    }
}
