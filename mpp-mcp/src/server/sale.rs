//! A call that was paid for, until its result leaves.

use bytes::Bytes;
use mpp_core::ChallengeId;
use mpp_server::{Failure, Route, gate::Grant, store::StoredResponse};
use serde::Serialize;
use serde_json::Value;

use super::{Catalog, Paid, paid::Slot, render};
use crate::{
    error::RpcError,
    meta::{self, Members},
};

/// The largest result that is kept for a retry, in bytes.
const MAX_STORED: usize = 64 * 1024;

/// The right to run one operation. Its price is held, not yet charged.
///
/// Dropped, as by an error or a client that has gone, it charges nothing.
#[derive(Debug)]
#[must_use = "a dropped sale charges nothing"]
pub struct Sale {
    refuser: Refuser,
    is_mcp: bool,
    paid: Option<ChallengeId>,
    grant: Grant,
    slot: Slot,
}

/// What it takes to refuse a call whose handler has run.
#[derive(Debug)]
struct Refuser {
    catalog: Catalog,
    route: Route,
    is_known_again: bool,
}

impl Refuser {
    fn refuse(&self, failure: &Failure) -> RpcError {
        let refusal = self.catalog.refuse(&self.route, failure);
        if self.is_known_again {
            refusal
        } else {
            render::after_handler(refusal)
        }
    }
}

/// A result, and the metadata that goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Success {
    is_mcp: bool,
    /// What the operation resulted in.
    pub result: Value,
    /// What is said about its payment.
    pub meta: Members,
}

impl Success {
    pub(super) const fn new(is_mcp: bool, result: Value, meta: Members) -> Self {
        Self {
            is_mcp,
            result,
            meta,
        }
    }

    /// The result with its metadata inside, as MCP has it, and what is left
    /// for the root of the message.
    #[must_use]
    pub fn into_parts(self) -> (Value, Members) {
        let mut result = self.result;
        if !self.is_mcp {
            return (result, self.meta);
        }
        meta::add(&mut result, self.meta);
        (result, Members::new())
    }
}

impl Sale {
    pub(super) fn new(
        catalog: Catalog,
        route: Route,
        is_mcp: bool,
        paid: Option<ChallengeId>,
        grant: Grant,
    ) -> Self {
        Self {
            refuser: Refuser {
                catalog,
                route,
                is_known_again: grant.is_known_again(),
            },
            is_mcp,
            paid,
            grant,
            slot: Slot::default(),
        }
    }

    /// What the operation's handler may see and use.
    #[must_use]
    pub fn paid(&self) -> Paid {
        Paid::new(self.grant.access(), self.slot.clone())
    }

    /// Charges for a result, and returns the metadata that it leaves with.
    /// Only after that may it leave.
    ///
    /// `result` is kept for a retry of an idempotent call, unless it is large.
    ///
    /// # Errors
    /// What to answer instead: the hold is gone or the store fails, and
    /// nothing was charged.
    ///
    /// # Cancel safety
    /// As [`Grant::capture`].
    pub async fn capture(self, result: &impl Serialize) -> Result<Members, RpcError> {
        let stored = if self.grant.is_idempotent() {
            stored(result)
        } else {
            None
        };
        let captured = self.grant.capture(stored).await;
        let receipt = captured.map_err(|failure| self.refuser.refuse(&failure))?;
        let receipt = render::receipt(&receipt, self.paid.as_ref());
        let mut meta = Members::new();
        meta.insert(meta::RECEIPT.into(), receipt);
        Ok(meta)
    }

    /// Gives back what is held: the operation failed and costs nothing.
    ///
    /// Returns what to answer in the place of the failure, when that is
    /// because the handler could not reserve enough.
    ///
    /// # Cancel safety
    /// Dropped, the hold is released later.
    pub async fn release(self) -> Option<RpcError> {
        self.grant.release().await;
        let failure = self.slot.take()?;
        Some(self.refuser.refuse(&failure))
    }

    /// Ends the sale with what the handler answered.
    ///
    /// A result that says of itself that it is an error, or that it is not
    /// complete yet, is not charged and leaves without a receipt.
    ///
    /// # Errors
    /// The handler's error, or what is to be answered in its place.
    ///
    /// # Cancel safety
    /// As [`Sale::capture`] and [`Sale::release`].
    pub async fn settle(self, outcome: Result<Value, RpcError>) -> Result<Success, RpcError> {
        let is_mcp = self.is_mcp;
        let mut result = match outcome {
            Ok(result) => result,
            Err(error) => return Err(self.release().await.unwrap_or(error)),
        };
        // What a handler passes on from elsewhere does not speak for us.
        if let Some(Value::Object(meta)) = result.get_mut(meta::META)
            && is_mcp
        {
            meta::strip(meta);
        }
        if is_mcp && is_unfinished(&result) {
            return match self.release().await {
                Some(refusal) => Err(refusal),
                None => Ok(Success::new(is_mcp, result, Members::new())),
            };
        }
        let meta = self.capture(&result).await?;
        Ok(Success::new(is_mcp, result, meta))
    }
}

/// Whether an MCP result is a failure, or asks for more before there is one.
fn is_unfinished(result: &Value) -> bool {
    let is_error = result.get("isError") == Some(&Value::Bool(true));
    let kind = result.get("resultType").and_then(Value::as_str);
    is_error || kind.is_some_and(|kind| kind != "complete")
}

fn stored(result: &impl Serialize) -> Option<StoredResponse> {
    let body = serde_json::to_vec(result).ok()?;
    (body.len() <= MAX_STORED).then(|| StoredResponse {
        status: 200,
        headers: Vec::new(),
        body: Bytes::from(body),
    })
}
