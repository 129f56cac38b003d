//! Every money rule of a session, as one pure function.
//!
//! Nothing here waits, stores, verifies signatures or looks at a clock: a
//! record and a command go in, the next record or a rejection comes out.

use alloy_primitives::B256;
use mpp_core::{Amount, Timestamp};
use mpp_tempo::{
    channel::{ChannelView, Existence, SessionProtocol},
    voucher::{SignedVoucher, VerifiedVoucher},
};

use super::{
    command::{Charge, Command, Outcome, Step},
    record::{ChannelRecord, LedgerEntry, LedgerKind, PendingTx, Phase, StreamEpoch},
};
use crate::error::{Rejection, Shortage};

/// Applies a command to a channel.
///
/// # Errors
/// The [`Rejection`] that names the rule the command breaks; the record then
/// stays as it is.
pub fn apply(record: &ChannelRecord, command: Command, now: Timestamp) -> Result<Step, Rejection> {
    let draft = Draft::of(record, now);
    match command {
        Command::Observe(view) => Ok(draft.observe(view)),
        Command::OpenFailed => Ok(draft.open_failed()),
        Command::Accept {
            voucher,
            min_delta,
            charge,
        } => draft.accept(&voucher, min_delta, charge),
        Command::Charge(charge) => draft.charge_alone(charge),
        Command::Keep => require_open(record).map(|()| draft.unchanged()),
        Command::BeginStream => draft.begin_stream(),
        Command::BeginClose(voucher) => draft.begin_close(&voucher),
        Command::CloseSent(sent) => draft.close_sent(sent),
        Command::CloseFailed { transaction } => Ok(draft.close_failed(transaction)),
        Command::Closed {
            transaction,
            settled,
        } => Ok(draft.closed(transaction, settled)),
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
    require_open(record)?;
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
        Phase::Closed { .. } => Err(Rejection::ChannelFinalized {
            channel_id,
            why: "this channel is closed",
        }),
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
    next: ChannelRecord,
    now: Timestamp,
}

impl<'a> Draft<'a> {
    fn of(record: &'a ChannelRecord, now: Timestamp) -> Self {
        Self {
            old: record,
            next: record.clone(),
            now,
        }
    }

    fn observe(mut self, view: ChannelView) -> Step {
        match view.existence {
            Existence::Open => self.observe_open(&view),
            Existence::Finalized => self.observe_gone(view.settled),
            // An empty slot is what a deleted channel leaves behind, and also what a
            // node shows that lags behind the open. Only its event proves a close
            // (SECURITY-CASES A33).
            Existence::Unknown => {}
        }
        let kind = match (&self.old.phase, &self.next.phase) {
            (Phase::Opening(_) | Phase::Failed, Phase::Open) => LedgerKind::Opened,
            (Phase::Closed { .. }, _) | (_, Phase::Closed { .. }) => LedgerKind::Closed,
            _ => LedgerKind::Observed,
        };
        self.finish(kind, None)
    }

    fn observe_open(&mut self, view: &ChannelView) {
        if matches!(self.next.phase, Phase::Closed { .. }) {
            return;
        }
        // Settlements only grow, and so do deposits: a smaller one is an older state,
        // whose close request may have been cancelled since.
        self.next.settled = self.next.settled.max(view.settled);
        if view.deposit < self.old.deposit {
            return;
        }
        self.next.deposit = view.deposit;
        // Only a top-up cancels a close request; without one, a view that
        // shows no request is an older state.
        let cancelled = view.close_requested_at.is_none() && view.deposit > self.old.deposit;
        match &mut self.next.phase {
            Phase::Closing { requested_at, .. } => {
                *requested_at = match view.close_requested_at {
                    None if cancelled => None,
                    None => *requested_at,
                    at => at,
                };
            }
            Phase::CloseRequested { at } => match view.close_requested_at {
                Some(requested) => *at = requested,
                None if cancelled => self.next.phase = Phase::Open,
                None => {}
            },
            phase => {
                *phase = match view.close_requested_at {
                    Some(at) => Phase::CloseRequested { at },
                    None => Phase::Open,
                };
            }
        }
        // A v1 id does not contain the deposit: a payer can show us one open
        // transaction and have another mined. The chain would not pay a voucher
        // above the deposit that is there.
        if self.next.accepted() > self.next.deposit {
            self.next.best = None;
        }
    }

    fn observe_gone(&mut self, settled: Amount) {
        self.next.settled = self.next.settled.max(settled);
        if !matches!(self.next.phase, Phase::Closed { .. }) {
            self.next.phase = Phase::Closed { transaction: None };
        }
    }

    fn open_failed(mut self) -> Step {
        if matches!(self.next.phase, Phase::Opening(_)) {
            self.next.phase = Phase::Failed;
        }
        self.finish(LedgerKind::Observed, None)
    }

    fn accept(
        mut self,
        voucher: &VerifiedVoucher,
        min_delta: Amount,
        charge: Option<Charge>,
    ) -> Result<Step, Rejection> {
        require_open(self.old)?;
        check_amount(self.old, voucher.cumulative(), min_delta)?;
        if voucher.cumulative() > self.old.accepted() {
            self.next.best = Some(voucher.as_signed().clone());
        }
        // The voucher is kept even if it does not cover the price: an accepted
        // voucher is never lost (PROTOCOL 5.6: persist accepted, then check).
        match charge.map(|charge| (self.take(&charge), charge)) {
            None => Ok(self.finish(LedgerKind::Accepted, None)),
            Some((Ok(()), charge)) => Ok(self.finish(LedgerKind::Charged, Some(charge))),
            Some((Err(shortage), _)) => {
                let mut step = self.finish(LedgerKind::Accepted, None);
                step.outcome.shortage = Some(shortage);
                Ok(step)
            }
        }
    }

    fn charge_alone(mut self, charge: Charge) -> Result<Step, Rejection> {
        require_open(self.old)?;
        if charge.stream.is_some_and(|epoch| epoch != self.old.stream) {
            return Err(Rejection::StreamSuperseded {
                channel_id: self.old.id,
            });
        }
        self.take(&charge).map_err(Rejection::InsufficientBalance)?;
        Ok(self.finish(LedgerKind::Charged, Some(charge)))
    }

    /// Charges the price, never the voucher's increase (SECURITY-CASES A24).
    fn take(&mut self, charge: &Charge) -> Result<(), Shortage> {
        let record = &mut self.next;
        let accepted = record.accepted();
        let after = record.spent.checked_add(charge.cost);
        let Some(spent) = after.filter(|spent| *spent <= accepted) else {
            return Err(Shortage {
                channel_id: record.id,
                required_top_up: charge.cost.saturating_sub(record.available()),
                required_cumulative: after.unwrap_or(Amount::MAX),
                accepted,
                deposit: record.deposit,
            });
        };
        record.spent = spent;
        record.units = record.units.saturating_add(charge.units);
        Ok(())
    }

    fn begin_stream(mut self) -> Result<Step, Rejection> {
        require_open(self.old)?;
        self.next.stream = StreamEpoch(self.old.stream.0.saturating_add(1));
        Ok(self.finish(LedgerKind::Observed, None))
    }

    fn begin_close(mut self, voucher: &VerifiedVoucher) -> Result<Step, Rejection> {
        let requested_at = match &self.old.phase {
            Phase::Closing { .. } => return Ok(self.unchanged()),
            Phase::CloseRequested { at } => Some(*at),
            _ => None,
        };
        let chosen = close_voucher(self.old, voucher.as_signed())?;
        self.next.phase = Phase::Closing {
            voucher: chosen.clone(),
            capture: self.old.owed(),
            sent: None,
            requested_at,
        };
        Ok(self.finish(LedgerKind::Observed, None))
    }

    /// One close in flight per channel (PROTOCOL 5.4).
    fn close_sent(mut self, pending: PendingTx) -> Result<Step, Rejection> {
        let channel_id = self.old.id;
        let refused = |why| Err(Rejection::ChannelFinalized { channel_id, why });
        match &mut self.next.phase {
            Phase::Closing {
                sent: Some(sent), ..
            } if *sent != pending => refused("another close of this channel is under way"),
            Phase::Closing { sent, .. } => {
                *sent = Some(pending);
                Ok(self.finish(LedgerKind::Observed, None))
            }
            _ => refused("this channel is not being closed"),
        }
    }

    fn close_failed(mut self, transaction: B256) -> Step {
        if let Phase::Closing {
            requested_at,
            sent: Some(sent),
            ..
        } = &self.next.phase
            && sent.hash == transaction
        {
            self.next.phase = match requested_at {
                Some(at) => Phase::CloseRequested { at: *at },
                None => Phase::Open,
            };
        }
        self.finish(LedgerKind::Observed, None)
    }

    fn closed(mut self, transaction: B256, settled: Amount) -> Step {
        if !matches!(
            self.next.phase,
            Phase::Closed {
                transaction: Some(_)
            }
        ) {
            self.next.settled = self.next.settled.max(settled);
            self.next.phase = Phase::Closed {
                transaction: Some(transaction),
            };
        }
        self.finish(LedgerKind::Closed, None)
    }

    fn unchanged(self) -> Step {
        Step {
            next: self.next,
            entry: None,
            outcome: Outcome {
                changed: false,
                charged: Amount::ZERO,
                units: 0,
                shortage: None,
            },
        }
    }

    fn finish(mut self, kind: LedgerKind, charge: Option<Charge>) -> Step {
        if self.next == *self.old {
            return self.unchanged();
        }
        self.next.changed_at = self.now;
        let (challenge_id, cost, units) = match charge {
            Some(charge) => (Some(charge.challenge_id), charge.cost, charge.units),
            None => (None, Amount::ZERO, 0),
        };
        Step {
            entry: Some(LedgerEntry {
                channel_id: self.next.id,
                at: self.now,
                kind,
                challenge_id,
                idempotency: None,
                cost,
                units,
                accepted: self.next.accepted(),
                spent: self.next.spent,
                deposit: self.next.deposit,
            }),
            next: self.next,
            outcome: Outcome {
                changed: true,
                charged: cost,
                units,
                shortage: None,
            },
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
