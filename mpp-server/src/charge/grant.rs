//! The right to serve one request for a charge that was paid.

use std::{fmt, sync::Arc};

use alloy_primitives::Address;
use mpp_core::{
    MethodName,
    receipt::{ChargeReceipt, Receipt},
};

use super::record::{ChargeId, ChargeRecord};
use crate::{
    error::Failure,
    gate::{BoxFuture, Payer, Payment},
    store::StoredResponse,
};

/// What a grant needs of the engine, whatever its store.
pub(super) trait Counter: Send + Sync {
    /// Marks the charge as served, durably.
    fn capture(
        &self,
        id: ChargeId,
        grant: u64,
        response: Option<StoredResponse>,
    ) -> BoxFuture<'_, Result<(), Failure>>;
    /// Gives the charge back to who paid it, durably.
    fn give_back(&self, id: ChargeId, grant: u64) -> BoxFuture<'_, ()>;
    /// As [`give_back`](Self::give_back), on a task of the server.
    fn abandon(&self, id: ChargeId, grant: u64);
}

/// A grant of a charge. Dropped without a capture it gives the charge back.
pub(crate) struct ChargeGuard {
    counter: Arc<dyn Counter>,
    id: ChargeId,
    grant: u64,
    payment: Payment,
    idempotent: bool,
    settled: bool,
}

impl ChargeGuard {
    pub(super) fn new(counter: Arc<dyn Counter>, record: &ChargeRecord) -> Self {
        Self {
            counter,
            id: record.id(),
            grant: record.grants,
            payment: payment(record),
            idempotent: record.asked.is_some(),
            settled: false,
        }
    }

    pub(crate) fn payment(&self) -> &Payment {
        &self.payment
    }

    pub(crate) fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Marks the charge as served and returns its receipt.
    pub(crate) async fn capture(
        mut self,
        response: Option<StoredResponse>,
    ) -> Result<Receipt, Failure> {
        let captured = self.counter.capture(self.id, self.grant, response);
        captured.await?;
        self.settled = true;
        Ok(self.payment.receipt.clone())
    }

    /// Gives the charge back.
    pub(crate) async fn release(mut self) {
        self.counter.give_back(self.id, self.grant).await;
        self.settled = true;
    }
}

impl Drop for ChargeGuard {
    fn drop(&mut self) {
        if !self.settled {
            self.counter.abandon(self.id, self.grant);
        }
    }
}

impl fmt::Debug for ChargeGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChargeGuard")
            .field("id", &self.id)
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

/// A paid charge, as its handler and its receipt tell it (PROTOCOL 1.2).
pub(super) fn payment(record: &ChargeRecord) -> Payment {
    let hash = record.payment.hash.unwrap_or_default();
    let paid_at = record.paid_at.unwrap_or(record.claimed_at);
    let mut receipt = ChargeReceipt::new(MethodName::tempo(), paid_at, hash.to_string());
    receipt.challenge_id = Some(record.challenge_id.clone());
    receipt.external_id = record.bill.external_id.clone();
    Payment {
        receipt: Receipt::Charge(receipt),
        payer: Payer::Paid(record.payer),
    }
}

/// A proof of identity, in the same form; its reference is the challenge.
pub(super) fn proven(
    challenge_id: &mpp_core::ChallengeId,
    payer: Address,
    at: mpp_core::Timestamp,
) -> Payment {
    let mut receipt = ChargeReceipt::new(MethodName::tempo(), at, challenge_id.as_str());
    receipt.challenge_id = Some(challenge_id.clone());
    Payment {
        receipt: Receipt::Charge(receipt),
        payer: Payer::Proven(payer),
    }
}
