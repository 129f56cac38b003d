//! Every rule about what becomes of a charge, as pure functions.
//!
//! Nothing here waits, stores or looks at a clock or the chain: a record and
//! a command go in, the next record or a rejection comes out.

use alloy_primitives::B256;
use mpp_core::{Amount, Timestamp};

use super::record::{Asked, ChargeRecord, ChargeState, Kept, PaymentId, SentTx};
use crate::error::Rejection;

/// Something that happens to a charge. See [`apply`].
#[derive(Clone, Debug)]
pub enum ChargeCommand {
    /// The transaction is ready and about to be sent.
    Send {
        /// Which attempt: if its claim has lapsed, another may have begun since.
        of: Attempt,
        /// The transaction.
        sent: SentTx,
        /// Somebody follows it until then.
        until: Timestamp,
    },
    /// Somebody follows a transaction that was left alone.
    Follow {
        /// Until then.
        until: Timestamp,
    },
    /// Whoever followed a transaction has given up for now.
    Leave {
        /// Hash of the transaction.
        hash: B256,
    },
    /// The chain shows the payment.
    Confirm {
        /// Hash of the transaction.
        hash: B256,
    },
    /// An attempt to pay has ended: its transaction was never sent, or was
    /// refused or reverted, or can no longer be mined.
    Fail {
        /// Which attempt: if it has lapsed, another may have begun since.
        of: Attempt,
    },
    /// A request is about to be served.
    Serve {
        /// The grant counts until then.
        until: Timestamp,
        /// What makes the request idempotent; counts if no other one was.
        asked: Option<Asked>,
    },
    /// A request is still being served.
    Extend {
        /// Which grant.
        grant: u64,
        /// It counts until then.
        until: Timestamp,
    },
    /// A request was served.
    Capture {
        /// Which grant.
        grant: u64,
        /// What a retry of an idempotent request is answered with.
        response: Option<Kept>,
        /// A retry finds it until then.
        keep_until: Timestamp,
    },
    /// A request was not served: what was paid is still there.
    Return {
        /// Which grant.
        grant: u64,
    },
    /// No retry may ask for the response any more.
    Forget,
}

/// Names one of several attempts to pay a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The one whose claim counts until then.
    Claim {
        /// Until then.
        until: Timestamp,
    },
    /// The one that may have sent a transaction.
    Sent {
        /// Its hash.
        hash: B256,
    },
}

impl Attempt {
    /// Whether the charge stands where this attempt has brought it.
    fn is_at(self, state: &ChargeState) -> bool {
        match (self, state) {
            (Self::Claim { until: own }, ChargeState::Claimed { until }) => own == *until,
            (Self::Sent { hash }, ChargeState::Sent { sent, .. }) => hash == sent.hash,
            _ => false,
        }
    }
}

/// What is to be done about a payment that is shown for a known charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Nothing has come of the charge: begin again with this payment.
    Begin,
    /// The transaction may have been sent: find out what became of it.
    Resolve(SentTx),
    /// It is paid: serve it.
    Serve,
    /// It was served, to an equal request.
    Replay(Option<Kept>),
}

/// Decides what to do about a payment that is shown for a known charge.
///
/// # Errors
/// [`Rejection::ChargeInProgress`] while somebody works on it,
/// [`Rejection::ChargeKeyReused`] when it was served to another request with
/// the same idempotency key, and [`Rejection::InvalidChallenge`] when it was
/// served or sent back, or is paid by another transaction (PROTOCOL 1.3:
/// already used).
pub fn look(
    record: &ChargeRecord,
    shown: &PaymentId,
    asked: Option<Asked>,
    now: Timestamp,
) -> Result<Todo, Rejection> {
    if !record.payment.is(shown) {
        return match record.state {
            ChargeState::Released => Ok(Todo::Begin),
            _ => Err(Rejection::InvalidChallenge(
                "the challenge belongs to another transaction",
            )),
        };
    }
    match &record.state {
        ChargeState::Claimed { until }
        | ChargeState::Sent { until, .. }
        | ChargeState::Serving { until }
            if now < *until =>
        {
            Err(Rejection::ChargeInProgress)
        }
        ChargeState::Claimed { .. } | ChargeState::Released => Ok(Todo::Begin),
        ChargeState::Sent { sent, .. } => Ok(Todo::Resolve(sent.clone())),
        ChargeState::Paid | ChargeState::Serving { .. } => {
            not_sent_back(record).map(|()| Todo::Serve)
        }
        ChargeState::Served {
            response,
            keep_until,
            ..
        } => replay(record, asked, now < *keep_until).map(|()| Todo::Replay(response.clone())),
    }
}

/// Nobody gets what they have paid for and their money, too: a refund counts
/// from its beginning, until it is certain that it was never mined.
///
/// Whoever is being served then goes on, and whoever was served is answered
/// once more: a handler may send a part back, and a merchant what it has sold.
fn not_sent_back(record: &ChargeRecord) -> Result<(), Rejection> {
    match record.refunded.is_zero() {
        true => Ok(()),
        false => Err(Rejection::InvalidChallenge("the charge was sent back")),
    }
}

/// Whether a served charge answers an idempotent request once more.
fn replay(record: &ChargeRecord, asked: Option<Asked>, kept: bool) -> Result<(), Rejection> {
    let used = Rejection::InvalidChallenge("the challenge was used");
    match (record.asked, asked) {
        (Some(before), Some(asked)) if before.key == asked.key && kept => {
            if before.request == asked.request {
                Ok(())
            } else {
                Err(Rejection::ChargeKeyReused)
            }
        }
        _ => Err(used),
    }
}

/// Applies a command to a charge.
///
/// # Errors
/// [`Rejection::ChargeInProgress`] when somebody else was faster,
/// [`Rejection::ChargeLapsed`] for a grant that is gone, and
/// [`Rejection::InvalidChallenge`] to serve what was sent back.
pub fn apply(
    record: &ChargeRecord,
    command: ChargeCommand,
    now: Timestamp,
) -> Result<ChargeRecord, Rejection> {
    let mut next = record.clone();
    let in_progress = Err(Rejection::ChargeInProgress);
    match command {
        ChargeCommand::Send { of, sent, until } => match record.state {
            ChargeState::Claimed { .. } if of.is_at(&record.state) => {
                next.payment.hash = Some(sent.hash);
                next.state = ChargeState::Sent { sent, until };
            }
            _ => return in_progress,
        },
        ChargeCommand::Follow { until: new } => match &mut next.state {
            ChargeState::Sent { until, .. } if *until <= now => *until = new,
            _ => return in_progress,
        },
        ChargeCommand::Leave { hash } => match &mut next.state {
            ChargeState::Sent { sent, until } if sent.hash == hash => *until = (*until).min(now),
            _ => {}
        },
        ChargeCommand::Confirm { hash } => {
            if !record.is_paid() {
                next.payment.hash = Some(hash);
                next.paid_at = Some(now);
                next.state = ChargeState::Paid;
            }
        }
        // What the chain has shown once is true.
        ChargeCommand::Fail { of } => {
            if of.is_at(&record.state) {
                next.state = ChargeState::Released;
            }
        }
        ChargeCommand::Serve { until, asked } => match record.state {
            ChargeState::Paid => next.serve(until, asked)?,
            ChargeState::Serving { until: before } if before <= now => next.serve(until, asked)?,
            _ => return in_progress,
        },
        ChargeCommand::Extend { grant, until } => {
            next.require(grant)?;
            next.state = ChargeState::Serving { until };
        }
        ChargeCommand::Capture {
            grant,
            response,
            keep_until,
        } => {
            next.require(grant)?;
            next.state = ChargeState::Served {
                at: now,
                response: response.filter(|_| record.asked.is_some()),
                keep_until,
            };
        }
        ChargeCommand::Return { grant } => {
            if next.require(grant).is_ok() {
                next.state = ChargeState::Paid;
            }
        }
        ChargeCommand::Forget => {
            if let ChargeState::Served {
                response,
                keep_until,
                ..
            } = &mut next.state
                && *keep_until <= now
            {
                *response = None;
            }
        }
    }
    Ok(next)
}

/// Whether a charge was not paid, nobody works on it, and nothing can be paid
/// for it `now`, as far as the clock tells.
#[must_use]
pub fn is_over(record: &ChargeRecord, now: Timestamp) -> bool {
    let is_left = match record.state {
        ChargeState::Claimed { until } | ChargeState::Sent { until, .. } => until <= now,
        ChargeState::Released => true,
        ChargeState::Paid | ChargeState::Serving { .. } | ChargeState::Served { .. } => false,
    };
    is_left && record.ends_at.is_some_and(|end| end <= now)
}

/// Why a charge can not be sent back up to a total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRefundable {
    /// The chain has not shown it paid.
    #[error("the charge was not paid")]
    NotPaid,
    /// A total of nothing.
    #[error("a refund of nothing sends nothing back")]
    Nothing,
    /// The total exceeds what was paid.
    #[error("{paid} base units were paid, and no more can be sent back")]
    TooMuch {
        /// What was paid, in base units.
        paid: Amount,
    },
    /// More than the total was sent back before.
    #[error(
        "{refunded} base units have been sent back already; \
         a total counts them too and can not be smaller"
    )]
    TooLittle {
        /// What all refunds have sent back, in base units.
        refunded: Amount,
    },
}

/// What is missing to a total of refunds.
///
/// # Errors
/// [`NotRefundable`].
pub fn refund_due(record: &ChargeRecord, total: Amount) -> Result<Amount, NotRefundable> {
    let (paid, refunded) = (record.bill.amount, record.refunded);
    if !record.is_paid() {
        return Err(NotRefundable::NotPaid);
    }
    if total > paid {
        return Err(NotRefundable::TooMuch { paid });
    }
    let too_little = NotRefundable::TooLittle { refunded };
    let due = total.checked_sub(refunded).ok_or(too_little)?;
    match total.is_zero() {
        true => Err(NotRefundable::Nothing),
        false => Ok(due),
    }
}

/// Ends an attempt that nobody works on, to make room for another charge.
#[must_use]
pub fn release(record: &ChargeRecord, now: Timestamp) -> ChargeRecord {
    let mut next = record.clone();
    if let ChargeState::Claimed { until } = record.state
        && until <= now
    {
        next.state = ChargeState::Released;
    }
    next
}

/// Begins a refund that brings what was sent back to `total`: it counts from
/// here on, whatever becomes of it.
///
/// # Errors
/// [`NotRefundable`].
pub fn begin_refund(record: &ChargeRecord, total: Amount) -> Result<ChargeRecord, NotRefundable> {
    refund_due(record, total)?;
    let mut next = record.clone();
    let paid = record.bill.amount;
    next.refunded = total;
    next.refunds = record
        .refunds
        .checked_add(1)
        .ok_or(NotRefundable::TooMuch { paid })?;
    Ok(next)
}

/// Ends a refund of which it is certain that it was never mined.
#[must_use]
pub fn undo_refund(record: &ChargeRecord, amount: Amount) -> ChargeRecord {
    let mut next = record.clone();
    next.refunded = record.refunded.saturating_sub(amount);
    next
}

impl ChargeRecord {
    fn serve(&mut self, until: Timestamp, asked: Option<Asked>) -> Result<(), Rejection> {
        not_sent_back(self)?;
        self.asked = self.asked.or(asked);
        self.grants = self.grants.saturating_add(1);
        self.state = ChargeState::Serving { until };
        Ok(())
    }

    /// The grant must be the last one, and not be settled.
    fn require(&self, grant: u64) -> Result<(), Rejection> {
        match self.state {
            ChargeState::Serving { .. } if self.grants == grant => Ok(()),
            _ => Err(Rejection::ChargeLapsed),
        }
    }
}

#[cfg(test)]
mod tests;
