//! Reading the payment part of an answer.

use std::time::Duration;

use mpp_client::{
    exchange::Acquaintance,
    flow::{Answer, ReceiptField, Repetition},
    session::resume::SnapshotRefused,
};
use mpp_core::{Challenge, Problem, Receipt};
use serde_json::Value;

use crate::{
    error::{INTERNAL, PAYMENT_REQUIRED, RpcError, VERIFICATION_FAILED},
    meta::{self, Members},
    native,
};

/// Challenges of one answer that are looked at.
const MAX_CHALLENGES: usize = 16;

/// Whether a result says of itself that it is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is what was asked for.
    Success,
    /// The operation failed.
    Failure,
}

/// What a result says about its payment.
pub(crate) fn of_result(meta: Option<&Members>, verdict: Verdict) -> Answer {
    let member = |name: &str| meta.and_then(|meta| meta.get(name));
    // Some servers answer with challenges in the place of an error.
    if let Some(data) = member(meta::PAYMENT_REQUIRED) {
        return of_demand(data, 402);
    }
    let receipt = receipt(member(meta::RECEIPT));
    let replayed = member(meta::REPLAYED);
    let is_gone = replayed.is_some_and(Value::is_string);
    let status = match (verdict, &receipt) {
        _ if is_gone => 204,
        // No receipt on an error: an honest server has not charged for it.
        (Verdict::Failure, ReceiptField::Absent) => 422,
        _ => 200,
    };
    Answer {
        status,
        receipt,
        repetition: match replayed {
            Some(Value::Bool(true) | Value::String(_)) => Repetition::Replayed,
            Some(_) | None => Repetition::Unknown,
        },
        ..Answer::default()
    }
}

/// What an error says about payment.
pub(crate) fn of_error(error: &RpcError) -> Answer {
    let status = match error.code {
        PAYMENT_REQUIRED | VERIFICATION_FAILED => 402,
        INTERNAL => 500,
        _ => 400,
    };
    match &error.data {
        Some(data) => of_demand(data, status),
        None => Answer {
            status,
            ..Answer::default()
        },
    }
}

/// Reads challenges and problem, as far as they can be read.
fn of_demand(data: &Value, status: u16) -> Answer {
    let problem = data
        .get("problem")
        .and_then(|problem| Problem::from_value(problem).ok());
    let named = problem.as_ref().map(Problem::status);
    let retry_after = data.get("retryAfter").and_then(Value::as_u64);
    Answer {
        status: named.filter(|named| *named >= 400).unwrap_or(status),
        challenges: challenges(data),
        problem,
        repetition: match data.get(meta::REPLAYED) {
            Some(Value::Bool(false)) => Repetition::New,
            Some(_) | None => Repetition::Unknown,
        },
        retry_after: retry_after.map(Duration::from_secs),
        ..Answer::default()
    }
}

/// The challenges that can be read. A malformed one spoils no other.
fn challenges(data: &Value) -> Vec<Challenge> {
    let listed = data.get("challenges").and_then(Value::as_array);
    listed
        .into_iter()
        .flatten()
        .take(MAX_CHALLENGES)
        .filter_map(|value| native::read_challenge(value.clone()).ok())
        .collect()
}

fn receipt(value: Option<&Value>) -> ReceiptField {
    let Some(value) = value else {
        return ReceiptField::Absent;
    };
    let text = value.to_string();
    Receipt::from_json(text.as_bytes()).map_or(ReceiptField::Unreadable, ReceiptField::from)
}

/// The answer to somebody who asked to be known.
pub(crate) fn acquaintance(answer: Answer, meta: Option<&Members>) -> Acquaintance {
    let snapshot = meta.and_then(|meta| meta.get(meta::SESSION_SNAPSHOT));
    Acquaintance {
        answer,
        snapshot: match snapshot {
            None => Ok(None),
            Some(snapshot) if snapshot.is_object() => Ok(Some(snapshot.clone())),
            Some(_) => Err(SnapshotRefused::Unreadable),
        },
    }
}

#[cfg(test)]
mod tests;
