//! Every money rule of a session, as one pure function.
//!
//! Nothing here waits, stores, verifies signatures or looks at a clock: a
//! record and a command go in, the next record or a rejection comes out.

mod chain;
mod exposure;
mod holds;

use mpp_core::{Amount, ChallengeId, Timestamp};
use mpp_tempo::{
    channel::SessionProtocol,
    voucher::{SignedVoucher, VerifiedVoucher},
};

use super::{
    command::{Charge, Command, NewHold, Outcome, Step},
    record::{ChannelRecord, LedgerEntry, LedgerKind, Phase, Quarantine, StreamEpoch},
};
use crate::{
    error::{Rejection, Shortage},
    store::OutcomeKey,
};

pub use self::exposure::{Bounds, apply_within};

/// Applies a command to a channel.
///
/// # Errors
/// The [`Rejection`] that names the rule the command breaks; the record then
/// stays as it is.
pub fn apply(record: &ChannelRecord, command: Command, now: Timestamp) -> Result<Step, Rejection> {
    let draft = Draft::of(record, now);
    match command {
        Command::Observe(view) => Ok(draft.observe(view)),
        Command::Follow(facts) => Ok(draft.follow(facts)),
        Command::Reorged(view) => Ok(draft.reorged(&view)),
        Command::OpenFailed { transaction } => Ok(draft.open_failed(transaction)),
        Command::Accept {
            voucher,
            min_delta,
            hold,
        } => draft.accept(&voucher, min_delta, hold),
        Command::Recover { voucher, hold } => draft.recover(&voucher, hold),
        Command::Hold(hold) => draft.hold_alone(hold),
        Command::Raise { hold, amount } => draft.raise(hold, amount),
        Command::Extend { holds, until } => draft.extend(&holds, until),
        Command::Capture(capture) => draft.capture(capture),
        Command::Release(hold) => Ok(draft.release(hold)),
        Command::Charge(charge) => draft.charge_alone(charge),
        Command::Credit { amount } => draft.credit(amount),
        Command::Keep => require_known(record).map(|()| draft.unchanged()),
        Command::BeginStream => draft.begin_stream(),
        Command::BeginClose(voucher) => draft.begin_close(&voucher),
        Command::CloseWithHeld => draft.close_with_held(),
        Command::CloseSent { sent, instead_of } => draft.close_sent(sent, instead_of),
        Command::CloseFailed { transaction } => Ok(draft.close_failed(transaction)),
        Command::Dispute(voucher) => Ok(draft.dispute(&voucher)),
        Command::Settled(amount) => Ok(draft.settled(amount)),
        Command::Closed {
            transaction,
            settled,
        } => Ok(draft.closed(transaction, settled)),
        Command::Reinstate => draft.reinstate(),
    }
}

/// What the curve still has to say about a voucher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screened {
    /// Byte for byte the accepted voucher: known to be good.
    Known,
    /// Passes every cheap check; its signature must be verified.
    NeedsCurve,
}

/// All checks of a voucher that cost no curve operation, in protocol order.
///
/// A stale, over-deposit or dust voucher ends here (PROTOCOL 5.4;
/// SECURITY-CASES A8). The machine repeats them when the voucher is applied,
/// since the record may have moved on meanwhile.
///
/// # Errors
/// The rule that the voucher breaks.
pub fn screen(
    record: &ChannelRecord,
    signed: &SignedVoucher,
    min_delta: Amount,
) -> Result<Screened, Rejection> {
    require_known(record)?;
    if record.best.as_ref() == Some(signed) {
        return Ok(Screened::Known);
    }
    check_amount(record, signed.voucher.cumulative, min_delta)?;
    Ok(Screened::NeedsCurve)
}

/// All checks of a close voucher that cost no curve operation.
///
/// # Errors
/// The rule that the voucher breaks.
pub fn screen_close(record: &ChannelRecord, signed: &SignedVoucher) -> Result<(), Rejection> {
    match record.phase {
        Phase::Closing { .. } => Ok(()),
        _ => close_voucher(record, signed).map(drop),
    }
}

/// The voucher that a close puts on chain: the payer's, or a held one.
///
/// It covers what is owed, `max(spent, settled)`. The v1 contract pays a
/// voucher in full, so there it must be for exactly that (PROTOCOL 5.4).
fn close_voucher<'a>(
    record: &'a ChannelRecord,
    signed: &'a SignedVoucher,
) -> Result<&'a SignedVoucher, Rejection> {
    let channel_id = record.id;
    // The payer may settle amicably even after asking the chain.
    if !matches!(record.phase, Phase::CloseRequested { .. }) {
        require_open(record)?;
    }
    if signed.voucher.cumulative > record.deposit {
        return Err(Rejection::AmountExceedsDeposit {
            channel_id,
            deposit: record.deposit,
        });
    }
    let owed = record.owed();
    let exact = |held: &&SignedVoucher| held.voucher.cumulative == owed;
    let chosen = match record.terms.protocol {
        SessionProtocol::V1 => [Some(signed), record.best.as_ref()]
            .into_iter()
            .flatten()
            .find(exact),
        SessionProtocol::V2 => Some(signed).filter(|signed| signed.voucher.cumulative >= owed),
    };
    chosen.ok_or(Rejection::CloseAmount {
        channel_id,
        required: owed,
    })
}

/// Draft-tempo-session-00, Voucher Verification 5 and forced-close rules.
fn require_open(record: &ChannelRecord) -> Result<(), Rejection> {
    let channel_id = record.id;
    match &record.phase {
        Phase::Open if record.deposit.is_zero() => Err(Rejection::ChannelNotFound { channel_id }),
        Phase::Open => Ok(()),
        Phase::Opening(_) | Phase::Failed => Err(Rejection::ChannelNotFound { channel_id }),
        Phase::CloseRequested { .. } => Err(Rejection::ChannelFinalized {
            channel_id,
            why: "the payer has requested to close this channel",
        }),
        Phase::Closing { .. } => Err(Rejection::ChannelFinalized {
            channel_id,
            why: "this channel is being closed",
        }),
        Phase::Quarantined { .. } => Err(Rejection::Quarantined { channel_id }),
        Phase::Closed { .. } => Err(Rejection::ChannelFinalized {
            channel_id,
            why: "this channel is closed",
        }),
    }
}

/// A quarantined channel sells nothing, but a voucher is still welcome: it may
/// be the very one that was lost.
fn require_known(record: &ChannelRecord) -> Result<(), Rejection> {
    match record.phase {
        Phase::Quarantined { .. } => Ok(()),
        _ => require_open(record),
    }
}

/// Draft-tempo-session-00, Voucher Verification 6 and 7.
fn check_amount(
    record: &ChannelRecord,
    cumulative: Amount,
    min_delta: Amount,
) -> Result<(), Rejection> {
    let channel_id = record.id;
    let accepted = record.accepted();
    if cumulative > record.deposit {
        return Err(Rejection::AmountExceedsDeposit {
            channel_id,
            deposit: record.deposit,
        });
    }
    let too_small = Rejection::DeltaTooSmall {
        channel_id,
        accepted,
        min_delta,
    };
    match cumulative.checked_sub(accepted) {
        None => Err(too_small),
        // Equal to the accepted amount: an idempotent retry.
        Some(delta) if delta.is_zero() => Ok(()),
        Some(delta) if delta < min_delta => Err(too_small),
        Some(_) => Ok(()),
    }
}

/// A record in the making.
struct Draft<'a> {
    old: &'a ChannelRecord,
    next: Box<ChannelRecord>,
    now: Timestamp,
}

impl<'a> Draft<'a> {
    fn of(record: &'a ChannelRecord, now: Timestamp) -> Self {
        Self {
            old: record,
            next: Box::new(record.clone()),
            now,
        }
    }

    fn accept(
        mut self,
        voucher: &VerifiedVoucher,
        min_delta: Amount,
        hold: Option<NewHold>,
    ) -> Result<Step, Rejection> {
        match &hold {
            Some(hold) => {
                require_open(self.old)?;
                self.check_new(hold)?;
            }
            None => require_known(self.old)?,
        }
        check_amount(self.old, voucher.cumulative(), min_delta)?;
        if voucher.cumulative() > self.old.accepted() {
            self.replace_best(voucher.as_signed().clone());
        }
        // The voucher is kept even if it does not cover the price: an accepted
        // voucher is never lost (PROTOCOL 5.6: persist accepted, then check).
        let held = hold.map(|hold| self.hold(hold)).transpose();
        let mut step = self.finish(LedgerKind::Accepted, None);
        match held {
            Ok(id) => step.outcome.hold = id,
            Err(shortage) => step.outcome.shortage = Some(shortage),
        }
        Ok(step)
    }

    fn recover(mut self, voucher: &VerifiedVoucher, hold: NewHold) -> Result<Step, Rejection> {
        let (record, cumulative) = (self.old, voucher.cumulative());
        let Phase::Quarantined {
            reason: Quarantine::Adopted,
            requested_at,
            ..
        } = record.phase
        else {
            return self.accept(voucher, Amount::ZERO, Some(hold));
        };
        let channel_id = record.id;
        if requested_at.is_some() {
            return Err(Rejection::ChannelFinalized {
                channel_id,
                why: "the payer has requested to close this channel",
            });
        }
        check_amount(record, cumulative, Amount::ZERO)?;
        // Not its newest voucher: that one also pays for this request. And what
        // was paid out is public, so anybody may show the voucher for it.
        if cumulative <= record.settled {
            return Err(Rejection::Quarantined { channel_id });
        }
        self.next.phase = Phase::Open;
        self.next.best = Some(voucher.as_signed().clone());
        let before = cumulative.saturating_sub(hold.amount).max(record.settled);
        let sale = Sale {
            cost: before.saturating_sub(record.spent),
            ..Sale::default()
        };
        self.spend(sale.cost, 0);
        let held = self.hold(hold);
        let mut step = self.finish(LedgerKind::Charged, Some(sale));
        match held {
            Ok(id) => step.outcome.hold = Some(id),
            Err(shortage) => step.outcome.shortage = Some(shortage),
        }
        Ok(step)
    }

    /// Charges a unit of a stream, never what is held for other requests.
    fn charge_alone(mut self, charge: Charge) -> Result<Step, Rejection> {
        require_open(self.old)?;
        if charge.stream.is_some_and(|epoch| epoch != self.old.stream) {
            return Err(Rejection::StreamSuperseded {
                channel_id: self.old.id,
            });
        }
        self.check_balance(charge.cost)
            .map_err(Rejection::InsufficientBalance)?;
        self.spend(charge.cost, charge.units);
        let sale = Sale {
            challenge_id: Some(charge.challenge_id),
            idempotency: None,
            cost: charge.cost,
            units: charge.units,
        };
        Ok(self.finish(LedgerKind::Charged, Some(sale)))
    }

    /// Gives back a part of what was charged: the session's way of a refund.
    ///
    /// What the chain has paid out is gone, so `spent` never falls below
    /// `settled`; and a close that is under way captures what it captures.
    fn credit(mut self, amount: Amount) -> Result<Step, Rejection> {
        if !matches!(self.old.phase, Phase::CloseRequested { .. }) {
            require_open(self.old)?;
        }
        let most = self.old.spent.saturating_sub(self.old.settled);
        let after = self.old.spent.checked_sub(amount);
        let spent = after.filter(|_| !amount.is_zero() && amount <= most);
        self.next.spent = spent.ok_or(Rejection::CreditTooLarge {
            channel_id: self.old.id,
            most,
        })?;
        self.shelve();
        if self.next.spent <= self.next.settled {
            self.next.unsettled.since = None;
            self.next.unsettled.units = 0;
        }
        let mut step = self.finish(LedgerKind::Credited, None);
        if let Some(entry) = &mut step.entry {
            entry.cost = amount;
        }
        Ok(step)
    }

    /// Whether `cost` can be promised on top of what is spent and held.
    fn check_balance(&self, cost: Amount) -> Result<(), Shortage> {
        let record = &self.next;
        let available = record.available(self.now);
        if cost <= available {
            return Ok(());
        }
        let taken = record.spent.checked_add(record.held(self.now));
        let required = taken.and_then(|taken| taken.checked_add(cost));
        Err(Shortage {
            channel_id: record.id,
            required_top_up: cost.saturating_sub(available),
            required_cumulative: required.unwrap_or(Amount::MAX),
            accepted: record.accepted(),
            deposit: record.deposit,
        })
    }

    /// Charges the price, never the voucher's increase (SECURITY-CASES A24).
    ///
    /// Whoever calls this has checked that the balance covers it.
    fn spend(&mut self, cost: Amount, units: u64) {
        let record = &mut self.next;
        let after = record.spent.checked_add(cost).unwrap_or(Amount::MAX);
        record.spent = after.min(record.accepted());
        record.units = record.units.saturating_add(units);
        record.unsettled.units = record.unsettled.units.saturating_add(units);
        if record.spent > record.settled {
            record.unsettled.since.get_or_insert(self.now);
        }
        self.shelve();
    }

    /// Keeps the voucher before, if it may be the one to settle.
    fn replace_best(&mut self, voucher: SignedVoucher) {
        let record = &mut self.next;
        if let Some(before) = record.best.replace(voucher) {
            if before.voucher.cumulative <= record.spent {
                record.unsettled.earned = Some(before);
            } else {
                record.unsettled.ahead.get_or_insert(before);
            }
        }
    }

    /// Puts the kept vouchers where they belong after something was spent or
    /// given back.
    fn shelve(&mut self) {
        let record = &mut self.next;
        let spent = record.spent;
        let covered = |signed: &SignedVoucher| signed.voucher.cumulative <= spent;
        // Something was given back: what was earned lies ahead again.
        if let Some(earned) = record.unsettled.earned.take_if(|earned| !covered(earned)) {
            record.unsettled.ahead = Some(earned);
        }
        if record.best.as_ref().is_some_and(covered) {
            record.unsettled.ahead = None;
            record.unsettled.earned = None;
        } else if record.unsettled.ahead.as_ref().is_some_and(covered) {
            record.unsettled.earned = record.unsettled.ahead.take();
        }
    }

    /// Takes note of what the chain has paid out; it only grows.
    fn pay_out(&mut self, settled: Amount) {
        let record = &mut self.next;
        if settled <= record.settled {
            return;
        }
        record.settled = settled;
        record.unsettled.units = 0;
        record.unsettled.since = (record.spent > settled).then_some(self.now);
    }

    fn begin_stream(mut self) -> Result<Step, Rejection> {
        require_open(self.old)?;
        self.next.stream = StreamEpoch(self.old.stream.0.saturating_add(1));
        Ok(self.finish(LedgerKind::Observed, None))
    }

    fn unchanged(self) -> Step {
        Step {
            next: Box::new(self.old.clone()),
            entry: None,
            kept: None,
            outcome: Outcome::default(),
        }
    }

    /// Ends the step. A ledger entry tells of every change but those of holds,
    /// which move no money.
    fn finish(mut self, kind: LedgerKind, sale: Option<Sale>) -> Step {
        if *self.next == *self.old {
            return self.unchanged();
        }
        let moved = sale.is_some() || self.moves_money();
        self.next.changed_at = self.now;
        let sale = sale.unwrap_or_default();
        let outcome = Outcome {
            changed: true,
            charged: sale.cost,
            units: sale.units,
            ..Outcome::default()
        };
        let entry = moved.then(|| LedgerEntry {
            channel_id: self.next.id,
            at: self.now,
            kind,
            challenge_id: sale.challenge_id,
            idempotency: sale.idempotency,
            cost: sale.cost,
            units: sale.units,
            accepted: self.next.accepted(),
            spent: self.next.spent,
            deposit: self.next.deposit,
        });
        Step {
            next: self.next,
            entry,
            kept: None,
            outcome,
        }
    }

    fn moves_money(&self) -> bool {
        let money = |record: &ChannelRecord| (record.deposit, record.spent, record.settled);
        let (old, next) = (self.old, &self.next);
        money(old) != money(next)
            || old.best != next.best
            || old.phase != next.phase
            || old.stream != next.stream
    }
}

/// What a step charges, for the ledger.
#[derive(Default)]
struct Sale {
    challenge_id: Option<ChallengeId>,
    idempotency: Option<OutcomeKey>,
    cost: Amount,
    units: u64,
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
