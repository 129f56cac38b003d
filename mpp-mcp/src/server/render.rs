//! Decisions as results and errors of JSON-RPC (PROTOCOL 6).

use mpp_core::{ChallengeId, Problem, ProblemKind, Receipt};
use mpp_server::{
    bootstrap::Recognized,
    gate::{Refusal, Replay},
};
use serde_json::{Value, json};

use super::Success;
use crate::{
    error::{self, RpcError, VERIFICATION_FAILED},
    meta::{self, Members},
    native,
    operation::Operation,
};

/// When a call may come again, in seconds.
const RETRY_AFTER: &str = "retryAfter";
/// Seconds after which a call that could not be served may come again.
const SOON: u32 = 1;

/// The error that a refusal becomes: its code from the problem, challenges as
/// objects, and for a failed verification the reason.
///
/// Whoever lost the answer to an earlier call under the same key learns that it
/// was not charged, if that is certain.
pub(super) fn refusal(refusal: &Refusal) -> RpcError {
    let problem = &refusal.problem;
    let code = problem.kind.mcp_code();
    let mut data = Members::new();
    data.insert("httpStatus".into(), json!(problem.status()));
    if !refusal.challenges.is_empty() {
        let challenges = native::issued(&refusal.challenges);
        data.insert("challenges".into(), Value::Array(challenges));
    }
    if code == VERIFICATION_FAILED {
        let failure = json!({ "reason": reason(problem), "detail": problem.detail });
        data.insert("failure".into(), failure);
    }
    if code == error::INVALID_PARAMS {
        data.insert("detail".into(), json!(problem.detail));
    }
    if let ProblemKind::RequestInProgress
    | ProblemKind::RateLimited
    | ProblemKind::ServiceUnavailable = problem.kind
    {
        data.insert(RETRY_AFTER.into(), json!(SOON));
    }
    if refusal.never_charged {
        data.insert(meta::REPLAYED.into(), json!(false));
    }
    let written = serde_json::to_value(problem).unwrap_or_default();
    data.insert("problem".into(), written);
    RpcError::new(code, error::message(code)).with_data(Value::Object(data))
}

/// A refusal after the handler has run. A call that is not known again would
/// have it run twice, so nobody is told when to send it again.
pub(super) fn after_handler(mut refusal: RpcError) -> RpcError {
    if let Some(Value::Object(data)) = &mut refusal.data {
        data.remove(RETRY_AFTER);
    }
    refusal
}

/// The last part of the problem's type, which names it.
fn reason(problem: &Problem) -> &str {
    let uri = problem.type_uri();
    uri.rsplit('/').next().unwrap_or(uri)
}

/// A receipt, which always names its challenge
/// (draft-payment-transport-mcp-00, Receipt Structure).
pub(super) fn receipt(receipt: &Receipt, paid: Option<&ChallengeId>) -> Value {
    let mut written = serde_json::to_value(receipt).unwrap_or_default();
    if let (Some(members), Some(paid)) = (written.as_object_mut(), paid) {
        members
            .entry("challengeId")
            .or_insert_with(|| json!(paid.as_str()));
    }
    written
}

/// The answer to a call that only managed a channel.
pub(super) fn managed(operation: &Operation, receipt: Value) -> Success {
    let mut meta = Members::new();
    meta.insert(meta::RECEIPT.into(), receipt);
    Success::new(operation.is_mcp(), operation.empty_result(), meta)
}

/// The answer to a payer who has proven who it is (PROTOCOL 5.8).
pub(super) fn recognized(operation: &Operation, receipt: Value, payer: &Recognized) -> Success {
    let mut answer = managed(operation, receipt);
    if let Some(snapshot) = &payer.snapshot {
        let written = serde_json::to_value(snapshot).unwrap_or_default();
        answer.meta.insert(meta::SESSION_SNAPSHOT.into(), written);
    }
    answer
}

/// The answer that an equal call was given before. Of one that was not kept
/// only the receipt is left: it was delivered already.
pub(super) fn replayed(
    operation: &Operation,
    before: &Replay,
    paid: Option<&ChallengeId>,
) -> Success {
    let kept = before.response.as_ref();
    let result = kept.and_then(|response| serde_json::from_slice(&response.body).ok());
    let receipt = receipt(&before.receipt, paid);
    let mut answer = managed(operation, receipt);
    let said = match result {
        Some(result) => {
            answer.result = result;
            json!(true)
        }
        None => json!(meta::DELIVERED),
    };
    answer.meta.insert(meta::REPLAYED.into(), said);
    answer
}
