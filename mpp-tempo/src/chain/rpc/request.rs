//! One JSON-RPC request, and what its failure means.

use core::error::Error;

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloy_provider::Provider;
use alloy_transport::{RpcError, TransportError, TransportErrorKind};
use serde_json::Value;
use std::io;
use tokio::time::timeout;
use tracing::{Dispatch, instrument::WithSubscriber as _};

use super::RpcChain;
use crate::chain::ChainError;

/// The longest message that is taken over from a node, in characters.
const MAX_MESSAGE: usize = 300;
/// The node is overloaded or limits our rate.
const LIMIT_EXCEEDED: i64 = -32005;
/// HTTP statuses by which a gateway says that it passed nothing on.
const NOT_PASSED_ON: [u16; 5] = [401, 403, 404, 413, 429];

/// How a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It did not reach a node.
    NotSent(String),
    /// It may have reached a node; no answer came.
    NoAnswer(String),
    /// The node answered with an error.
    Refused {
        /// JSON-RPC error code.
        code: i64,
        /// The node's reason.
        message: String,
    },
    /// The answer is no JSON-RPC.
    Malformed(String),
}

impl RpcChain {
    /// A read: every failure without an answer may simply be tried again.
    pub(super) async fn request(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Value, ChainError> {
        let answer = timeout(self.timeouts.request, self.raw(method, params));
        match answer.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(failure)) => Err(failure.into()),
            Err(_) => Err(ChainError::unreachable("no answer in time")),
        }
    }

    /// Sends a request. What alloy would log of it is all of it, signed
    /// transactions and vouchers included, so it is heard by nobody
    /// (SECURITY-CASES A20).
    pub(super) async fn raw(&self, method: &'static str, params: Value) -> Result<Value, Failure> {
        let sent = self.provider.raw_request(Cow::Borrowed(method), params);
        let answer: Result<Option<Value>, _> = sent.with_subscriber(Dispatch::none()).await;
        answer.map(Option::unwrap_or_default).map_err(classify)
    }
}

impl From<Failure> for ChainError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotSent(message) | Failure::NoAnswer(message) => Self::unreachable(message),
            Failure::Refused {
                code: LIMIT_EXCEEDED,
                message,
            } => Self::unreachable(message),
            Failure::Refused { message, .. } => Self::rejected(message),
            Failure::Malformed(message) => Self::malformed(message),
        }
    }
}

fn classify(error: TransportError) -> Failure {
    match error {
        RpcError::ErrorResp(payload) => {
            let message = payload.message.chars().take(MAX_MESSAGE).collect();
            Failure::Refused {
                code: payload.code,
                message,
            }
        }
        RpcError::NullResp | RpcError::DeserError { .. } => {
            Failure::Malformed(String::from("answer is no JSON-RPC"))
        }
        RpcError::Transport(kind) => classify_transport(&kind),
        RpcError::UnsupportedFeature(_) | RpcError::LocalUsageError(_) | RpcError::SerError(_) => {
            Failure::NotSent(String::from("request can not be sent"))
        }
    }
}

fn classify_transport(kind: &TransportErrorKind) -> Failure {
    if let TransportErrorKind::HttpError(http)
    | TransportErrorKind::HttpErrorWithRetryAfter { error: http, .. } = kind
    {
        let message = alloc::format!("HTTP status {}", http.status);
        return if NOT_PASSED_ON.contains(&http.status) {
            Failure::NotSent(message)
        } else {
            Failure::NoAnswer(message)
        };
    }
    let innermost = innermost(kind);
    let refused = innermost
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    let message = innermost.to_string().chars().take(MAX_MESSAGE).collect();
    if refused {
        Failure::NotSent(message)
    } else {
        Failure::NoAnswer(message)
    }
}

/// The root cause. Outer errors of an HTTP client print the URL, which may carry a key.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}
