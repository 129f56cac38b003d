//! Trying calls: `eth_simulateV1` where the node has it, else `eth_call` for the first.

use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::read::{self, hex_quantity};
use super::request::Failure;
use super::{RpcChain, malformed};
use crate::chain::{ChainError, Simulated, Simulation};

/// JSON-RPC codes and words by which a node says that it has no such method.
const NO_SUCH_METHOD: i64 = -32601;
const UNSUPPORTED: [&str; 3] = ["not found", "not supported", "not available"];
/// The code by which nodes say that a call was reverted (EIP-1474 leaves it open).
const REVERTED: i64 = 3;

impl RpcChain {
    pub(super) async fn try_calls(&self, tried: &Simulation) -> Result<Simulated, ChainError> {
        // The first nonce of an account is dear, and where none is named each call would pay for it.
        // Nonces are not compared here, and an expiring one is never an account's first.
        let calls = (1_u64..).zip(&tried.calls).map(|(nonce, (to, input))| {
            json!({"from": tried.from, "to": to, "input": input, "nonce": hex_quantity(nonce)})
        });
        let calls: Vec<Value> = calls.collect();
        let all = json!([{"blockStateCalls": [{"calls": calls}]}, "latest"]);
        match self.attempt("eth_simulateV1", all).await? {
            Ok(answer) => read_simulated(&answer).ok_or_else(|| malformed("simulation")),
            Err((code, message)) if is_unsupported(code, &message) => self.try_first(&calls).await,
            Err((code, message)) => refusal(code, message),
        }
    }

    /// This is the weaker check: alone, a later call does not see what the ones before it have
    /// done, such as the approval before an open, so that its revert would say nothing.
    async fn try_first(&self, calls: &[Value]) -> Result<Simulated, ChainError> {
        let untold = Simulated::Succeeded { gas_used: None };
        let Some(call) = calls.first() else {
            return Ok(untold);
        };
        let tried = self.attempt("eth_call", json!([call, "latest"])).await?;
        match tried {
            Ok(_) => Ok(untold),
            Err((code, message)) => refusal(code, message),
        }
    }

    /// The answer, or the error that the node answered with.
    pub(super) async fn attempt(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Result<Value, (i64, String)>, ChainError> {
        let answer = timeout(self.timeouts.request, self.raw(method, params));
        match answer.await {
            Ok(Ok(value)) => Ok(Ok(value)),
            Ok(Err(Failure::Refused { code, message })) => Ok(Err((code, message))),
            Ok(Err(failure)) => Err(failure.into()),
            Err(_) => Err(ChainError::unreachable("no answer in time")),
        }
    }
}

pub(super) fn is_unsupported(code: i64, message: &str) -> bool {
    let message = message.to_lowercase();
    let says_so = UNSUPPORTED.iter().any(|words| message.contains(words));
    code == NO_SUCH_METHOD || (says_so && message.contains("method"))
}

/// What an error of the node says about the calls, if it is about them.
fn refusal(code: i64, message: String) -> Result<Simulated, ChainError> {
    if code == REVERTED || message.to_lowercase().contains("revert") {
        return Ok(Simulated::Reverted { reason: message });
    }
    Err(Failure::Refused { code, message }.into())
}

/// One block with the result of each call.
fn read_simulated(answer: &Value) -> Option<Simulated> {
    let blocks = answer.as_array()?;
    let mut calls = Vec::new();
    for block in blocks {
        calls.extend(block.get("calls")?.as_array()?);
    }
    let mut gas_used = Some(0_u64);
    for call in calls {
        if read::quantity(call.get("status")?)? != 1 {
            let reason = call.pointer("/error/message").and_then(Value::as_str);
            let reason = reason.unwrap_or("reverted").chars().take(300).collect();
            return Some(Simulated::Reverted { reason });
        }
        let used = call.get("gasUsed").and_then(read::quantity);
        gas_used = gas_used
            .zip(used)
            .and_then(|(sum, used)| sum.checked_add(used));
    }
    Some(Simulated::Succeeded { gas_used })
}
