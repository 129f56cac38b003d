//! JSON-RPC errors with the codes real nodes use.

use crate::chain::refusal::Refusal;
use crate::precompile::revert::Revert;
use alloy_primitives::B256;
use serde_json::{Value, json};

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RpcError {
    code: i64,
    message: String,
    data: Option<Value>,
}

impl RpcError {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    pub(crate) fn invalid_request() -> Self {
        Self::new(-32600, "invalid request")
    }

    pub(crate) fn parse() -> Self {
        Self::new(-32700, "parse error")
    }

    pub(crate) fn method_not_found(method: &str) -> Self {
        Self::new(
            -32601,
            format!("the method {method} does not exist/is not available"),
        )
    }

    pub(crate) fn invalid_params(what: &str) -> Self {
        Self::new(-32602, format!("invalid params: {what}"))
    }

    pub(crate) fn unknown_block() -> Self {
        Self::new(-32001, "block not found")
    }

    /// EIP-7966: the transaction was taken, the receipt did not come in time.
    pub(crate) fn sync_timeout(hash: B256) -> Self {
        let message = "the transaction was added to the mempool but wasn't processed in time";
        Self {
            code: 4,
            message: message.to_owned(),
            data: Some(json!(hash)),
        }
    }

    pub(crate) fn into_json(self) -> Value {
        match self.data {
            Some(data) => json!({"code": self.code, "message": self.message, "data": data}),
            None => json!({"code": self.code, "message": self.message}),
        }
    }
}

impl From<Refusal> for RpcError {
    fn from(refusal: Refusal) -> Self {
        // Tempo's nodes name what is wrong with a fee token for programs to read.
        let fee_token = match &refusal {
            Refusal::UnknownFeeToken(token) => Some(("FeeTokenNotTip20Error", token)),
            Refusal::FeeTokenPaused(token) => Some(("FeeTokenPausedError", token)),
            _ => None,
        };
        let code = match (&refusal, fee_token) {
            (Refusal::Undecodable(_), _) => -32602,
            (_, Some(_)) => -32003,
            (_, None) => -32000,
        };
        Self {
            code,
            message: refusal.to_string(),
            data: fee_token
                .map(|(name, token)| json!({"name": name, "token": token.to_checksum(None)})),
        }
    }
}

impl From<Revert> for RpcError {
    fn from(revert: Revert) -> Self {
        let reason = alloy_sol_types::decode_revert_reason(&revert.0);
        let message = match reason {
            Some(reason) => format!("execution reverted: {reason}"),
            None => "execution reverted".to_owned(),
        };
        Self {
            code: 3,
            message,
            data: Some(json!(revert.0)),
        }
    }
}

/// What a method answers.
pub(crate) type Answer = Result<Value, RpcError>;
