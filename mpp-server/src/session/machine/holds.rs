//! Money set aside for a request while it is served.

use mpp_core::{Amount, Timestamp};

use super::{Draft, Sale, require_open};
use crate::{
    error::{Rejection, Shortage},
    session::{
        command::{Capture, NewHold, Step},
        receipt::session_receipt,
        record::{Hold, HoldId, LedgerKind, MAX_HOLDS, Phase},
    },
    store::StoredOutcome,
};

impl Draft<'_> {
    pub(super) fn hold_alone(mut self, hold: NewHold) -> Result<Step, Rejection> {
        require_open(self.old)?;
        self.check_new(&hold)?;
        let id = self.hold(hold).map_err(Rejection::InsufficientBalance)?;
        let mut step = self.finish(LedgerKind::Observed, None);
        step.outcome.hold = Some(id);
        Ok(step)
    }

    /// One request per idempotency key at a time, and not too many in all.
    pub(super) fn check_new(&self, asked: &NewHold) -> Result<(), Rejection> {
        let channel_id = self.old.id;
        let mut live = 0_usize;
        for hold in self.old.holds.iter().filter(|hold| hold.is_live(self.now)) {
            live = live.saturating_add(1);
            if let (Some(ours), Some(theirs)) = (asked.idempotency, hold.idempotency)
                && ours.key == theirs.key
            {
                return Err(if ours.request == theirs.request {
                    Rejection::RequestInProgress { channel_id }
                } else {
                    Rejection::IdempotencyKeyReused { channel_id }
                });
            }
        }
        if live >= MAX_HOLDS {
            return Err(Rejection::TooManyHolds { channel_id });
        }
        Ok(())
    }

    /// Sets the amount aside, if the balance covers it.
    pub(super) fn hold(&mut self, asked: NewHold) -> Result<HoldId, Shortage> {
        self.check_balance(asked.amount)?;
        self.forget_lapsed();
        let id = HoldId(self.old.newest_hold.0.saturating_add(1));
        self.next.newest_hold = id;
        self.next.holds.push(Hold {
            id,
            amount: asked.amount,
            challenge_id: asked.challenge_id,
            idempotency: asked.idempotency,
            until: asked.until,
        });
        Ok(id)
    }

    /// A hold only grows: lowering it would take from the request what it was
    /// promised.
    pub(super) fn raise(mut self, id: HoldId, amount: Amount) -> Result<Step, Rejection> {
        require_open(self.old)?;
        let mut hold = self.take_hold(id)?;
        hold.amount = hold.amount.max(amount);
        self.check_balance(hold.amount)
            .map_err(Rejection::InsufficientBalance)?;
        self.next.holds.push(hold);
        Ok(self.finish(LedgerKind::Observed, None))
    }

    /// Extends those that are there, all in one commit.
    pub(super) fn extend(mut self, ids: &[HoldId], until: Timestamp) -> Result<Step, Rejection> {
        let (channel_id, now) = (self.old.id, self.now);
        let live = self.next.holds.iter_mut();
        let mut found = live
            .filter(|hold| hold.is_live(now) && ids.contains(&hold.id))
            .peekable();
        if found.peek().is_none() {
            return Err(Rejection::HoldGone { channel_id });
        }
        for hold in found {
            hold.until = hold.until.max(until);
        }
        Ok(self.finish(LedgerKind::Observed, None))
    }

    /// Charges a request that was served, and keeps its outcome for a retry.
    ///
    /// A payer's close request ends new sales; what was begun before it was
    /// noticed is still charged, since the held voucher pays for it.
    pub(super) fn capture(mut self, capture: Capture) -> Result<Step, Rejection> {
        let channel_id = self.old.id;
        if !matches!(self.old.phase, Phase::Open | Phase::CloseRequested { .. }) {
            return Err(Rejection::HoldGone { channel_id });
        }
        let hold = self.take_hold(capture.hold)?;
        if capture.cost > hold.amount {
            return Err(Rejection::HoldGone { channel_id });
        }
        self.spend(capture.cost, capture.units);
        let kept = hold.idempotency.map(|asked| {
            let number = self.old.newest_outcome.saturating_add(1);
            self.next.newest_outcome = number;
            let units = Some(capture.units);
            Box::new(StoredOutcome {
                key: asked.key,
                channel_id,
                number,
                request: asked.request,
                receipt: session_receipt(&self.next, &hold.challenge_id, units, None, self.now),
                response: capture.response,
                expires: capture.keep_until,
            })
        });
        let charged = !capture.cost.is_zero() || capture.units > 0;
        let sale = charged.then(|| Sale {
            challenge_id: Some(hold.challenge_id),
            idempotency: hold.idempotency.map(|asked| asked.key),
            cost: capture.cost,
            units: capture.units,
        });
        let mut step = self.finish(LedgerKind::Charged, sale);
        step.kept = kept;
        Ok(step)
    }

    /// Whoever releases a hold that is gone has what it wants.
    pub(super) fn release(mut self, id: HoldId) -> Step {
        self.next.holds.retain(|hold| hold.id != id);
        if self.next.holds.len() == self.old.holds.len() {
            return self.unchanged();
        }
        self.finish(LedgerKind::Observed, None)
    }

    /// Takes a live hold out of the record.
    fn take_hold(&mut self, id: HoldId) -> Result<Hold, Rejection> {
        self.forget_lapsed();
        let at = self.next.holds.iter().position(|hold| hold.id == id);
        at.map(|at| self.next.holds.swap_remove(at))
            .ok_or(Rejection::HoldGone {
                channel_id: self.old.id,
            })
    }

    fn forget_lapsed(&mut self) {
        let now = self.now;
        self.next.holds.retain(|hold| hold.is_live(now));
    }
}
