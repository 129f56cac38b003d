//! What may lie in the channels of one server (SECURITY-CASES A27).
//!
//! A server that forgets its channels, or names another operator each time, can have channel after
//! channel opened. All of them count until the chain shows that they have ended, with the top-ups
//! that were signed for them.

use mpp_core::Amount;

use super::book::{ChannelRecord, PendingTopUp};
use crate::error::ClientError;
use crate::payer::Payer;
use crate::policy::{Policy, PolicyViolation};

impl ChannelRecord {
    /// What may lie in the channel, its top-up included, in base units.
    fn locks(&self) -> Amount {
        if !self.phase.may_hold_money() {
            return Amount::ZERO;
        }
        let refilled = self.top_up.as_ref().map(PendingTopUp::deposit_after);
        self.ledger.deposit().max(refilled.unwrap_or_default())
    }
}

/// Whether channels of an origin may lock `more` base units beside what `records` say.
pub(super) fn admit(
    policy: &Policy,
    origin: &str,
    records: &[ChannelRecord],
    more: Amount,
) -> Result<(), PolicyViolation> {
    let of_origin = records.iter().filter(|record| record.key.origin == origin);
    let locked = of_origin.fold(more, |sum, record| {
        sum.checked_add(record.locks()).unwrap_or(Amount::MAX)
    });
    policy.check_locked(locked)
}

impl Payer {
    /// Whether `more` base units may be locked at an origin, as far as the book knows.
    pub(super) fn may_lock(
        &self,
        origin: &str,
        more: Amount,
    ) -> Result<Result<(), PolicyViolation>, ClientError> {
        Ok(admit(self.policy(), origin, &self.book().records()?, more))
    }

    /// As [`Payer::may_lock`], with a look at the chain before the answer is no: some channels may
    /// have been closed and paid out meanwhile.
    pub(super) async fn check_locked(&self, origin: &str, more: Amount) -> Result<(), ClientError> {
        if self.may_lock(origin, more)?.is_ok() {
            return Ok(());
        }
        let records = self.book().records()?;
        // What lies on other chains stays locked: this one knows nothing of it.
        let seen = |record: &&ChannelRecord| {
            record.key.origin == origin && self.is_connected(record.terms.chain_id)
        };
        for record in records.iter().filter(seen) {
            self.resolve(&record.id).await?;
        }
        Ok(self.may_lock(origin, more)??)
    }
}
