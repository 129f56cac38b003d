//! The payment flow without sockets: answers in, actions out.
//!
//! A binding sends requests and translates answers; what to do next is decided here, once for all
//! transports. [`Flow`] accompanies one request for content, [`Management`] one request that only
//! manages a channel.

mod answer;
mod management;
mod once;

use std::time::Duration;

use mpp_core::{Amount, ChargeReceipt, Problem, ProblemKind, SessionReceipt};

pub use self::answer::{Answer, ReceiptField, Repetition};
pub use self::management::{ManageAction, Management, Probe};
pub use self::once::Risk;

use self::once::refusal;
use crate::error::ClientError;
use crate::offer::Offer;
use crate::session::book::StaleReason;
use crate::session::ledger::Discrepancy;

/// Requests that are answered with a fresh challenge because the last one was no good.
const MAX_FRESH: u32 = 1;
/// Vouchers that arrive after a higher one. Every retry carries the highest voucher there is, so
/// only a stream of concurrent requests can outrun it again and again.
const MAX_LATE: u32 = 32;
/// Times that a server may ask for a higher voucher. Beside a stream that takes whatever credit
/// there is, an honest one may ask several times; each claim must be explained by the accounts.
const MAX_RAISES: u32 = 32;

/// Times that a request is sent again because its answer was lost.
const MAX_LOST: u32 = 2;
/// Times that a request is sent again because the server is busy with it.
const MAX_IN_PROGRESS: u32 = 10;
/// Times that a request is sent again because the server can not serve it now.
const MAX_UNAVAILABLE: u32 = 2;
/// The first pause before a request is sent again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause, whatever the server asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What went out with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// No credential.
    Nothing,
    /// A voucher on an open channel.
    Voucher(Stake),
    /// The opening of a channel with its first voucher.
    Open(Stake),
    /// A credential that answers one challenge once.
    Once(Risk),
}

/// The amounts behind a credential, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stake {
    /// Cumulative amount of the voucher that was sent.
    pub presented: Amount,
    /// Highest cumulative amount signed on the channel by now.
    pub signed: Amount,
}

/// What to do next.
#[derive(Debug)]
pub enum Action {
    /// Give the answer to the caller, after booking the payment.
    Deliver(Booking),
    /// Choose among the answer's challenges ([`Payer::choose`](crate::Payer::choose)), pay and send
    /// the request again.
    Pay,
    /// Send again under the fresh offer; what was sent was not charged.
    Renew(Offer),
    /// Send again with a voucher that is raised so.
    Again(Raise),
    /// Send again just as it was, after a pause.
    Repeat(Duration),
    /// The server does not serve the channel anymore: open another, then send again.
    ReplaceChannel {
        /// The fresh offer, when the answer carried one.
        offer: Option<Offer>,
        /// What the server said.
        reason: StaleReason,
    },
    /// Give up; the payment was not charged.
    Fail(ClientError),
    /// Give up; the payment may have been charged.
    FailInDoubt(ClientError),
}

/// How a request went into the accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Booking {
    /// Nothing was paid.
    Unpaid,
    /// The receipt says what was charged.
    Confirm(Box<SessionReceipt>),
    /// The receipt of a one-time payment.
    Once(Box<ChargeReceipt>),
    /// A stream begins; its last event says what was charged. Peers send the first receipt or not.
    Stream(Option<Box<SessionReceipt>>),
    /// The answer of an earlier request with the same key: this one cost nothing, and the receipt
    /// says what that one was charged.
    Replayed(Box<SessionReceipt>),
    /// The resource failed: it should not have been charged.
    Dismiss,
    /// No receipt: it may have been charged.
    Doubt,
}

/// How to raise the voucher before the request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raise {
    /// Not at all: the highest one that is signed will do.
    Best,
    /// By the smallest step the server takes above this accepted amount, as far as the accounts
    /// explain it.
    Above(Amount),
    /// To the total that the server claims to need, as far as the accounts explain it.
    Claim(Amount),
    /// To cover what it may have charged late; it wants more and does not say how much.
    Late,
    /// The server sees a smaller deposit than we do: look at the chain and refill.
    Refill,
}

/// One request for content, from the first sending to the answer that is delivered.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    challenged: bool,
    replaced: bool,
    refilled: bool,
    fresh: u32,
    late: u32,
    raises: u32,
    lost: u32,
    in_progress: u32,
    unavailable: u32,
    /// An answer was lost, or the server could not give it, and nothing has told yet what became of
    /// its request.
    in_doubt: bool,
}

impl Flow {
    /// A request that was not sent yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The answer was lost. Returns the pause after which to send the request again just as it was,
    /// with the same voucher and key; `None`: often enough.
    pub fn on_lost(&mut self) -> Option<Duration> {
        self.in_doubt = true;
        again(&mut self.lost, MAX_LOST, None)
    }

    /// Decides what an answer means.
    pub fn on_answer(&mut self, sent: Sent, answer: &Answer) -> Action {
        let stake = match sent {
            Sent::Nothing => return self.on_unpaid(answer),
            Sent::Once(risk) => return self.on_once(risk, answer),
            Sent::Voucher(stake) | Sent::Open(stake) => stake,
        };
        // A server that was not available may have charged the sending it did not answer.
        let is_repeat = self.in_doubt || self.unavailable > 0;
        if answer.repetition == Repetition::New {
            self.in_doubt = false;
        }
        match (answer.status, sent) {
            // An open that waits for the chain is for the next request to take over.
            (409, _) | (503, Sent::Voucher(_)) => {
                if let Some(pause) = self.on_busy(answer) {
                    // What it could not serve it may have charged.
                    self.in_doubt |= answer.status == 503;
                    return Action::Repeat(pause);
                }
            }
            // Whether the lost request was charged is not known, so nothing more is signed.
            (402 | 410, _) if self.in_doubt => {
                return Action::FailInDoubt(refusal(answer));
            }
            _ => {}
        }
        match answer.status {
            402 => self.on_refusal(stake, answer),
            410 => self.on_gone(answer),
            // Only what succeeds is charged; who charges a redirect says so by a receipt.
            300..=399 if !matches!(answer.receipt, ReceiptField::Absent) => {
                on_success(stake, answer, is_repeat)
            }
            // PROTOCOL 1: there is no receipt on an error response, and a 4xx is not charged. The
            // lost request before it may have been.
            300..=499 if self.in_doubt => Action::Deliver(Booking::Doubt),
            300..=499 => Action::Deliver(Booking::Dismiss),
            500..=599 => Action::Deliver(Booking::Doubt),
            _ => on_success(stake, answer, is_repeat),
        }
    }

    /// Whether the server asks for the same request once more.
    fn on_busy(&mut self, answer: &Answer) -> Option<Duration> {
        let kind = answer.problem.as_ref().map(|problem| problem.kind);
        match (answer.status, kind) {
            (409, Some(ProblemKind::RequestInProgress)) => {
                again(&mut self.in_progress, MAX_IN_PROGRESS, answer.retry_after)
            }
            (503, Some(ProblemKind::ServiceUnavailable)) => {
                let asked = answer.retry_after?;
                again(&mut self.unavailable, MAX_UNAVAILABLE, Some(asked))
            }
            _ => None,
        }
    }

    /// How often the request was sent because an answer asked for it.
    #[must_use]
    pub const fn retries(&self) -> u32 {
        self.fresh
            .saturating_add(self.late)
            .saturating_add(self.raises)
    }

    fn on_unpaid(&mut self, answer: &Answer) -> Action {
        if answer.status != 402 {
            return Action::Deliver(Booking::Unpaid);
        }
        if self.challenged {
            return Action::Fail(ClientError::Protocol("it asks for payment in a circle"));
        }
        self.challenged = true;
        Action::Pay
    }

    fn on_refusal(&mut self, stake: Stake, answer: &Answer) -> Action {
        let Some(problem) = &answer.problem else {
            return self.renew(answer, None);
        };
        match problem.kind {
            ProblemKind::PaymentRequired
            | ProblemKind::PaymentExpired
            | ProblemKind::InvalidChallenge
            | ProblemKind::ChallengeNotFound => self.renew(answer, Some(problem)),
            ProblemKind::DeltaTooSmall => self.on_late(stake, problem),
            ProblemKind::InsufficientBalance => self.on_shortage(stake, problem),
            ProblemKind::AmountExceedsDeposit if !self.refilled => {
                self.refilled = true;
                Action::Again(Raise::Refill)
            }
            _ => fail(problem),
        }
    }

    fn renew(&mut self, answer: &Answer, problem: Option<&Problem>) -> Action {
        if self.fresh >= MAX_FRESH {
            return problem.map_or(
                Action::Fail(ClientError::Status {
                    status: answer.status,
                }),
                fail,
            );
        }
        self.fresh = self.fresh.saturating_add(1);
        match (answer.offer(), problem) {
            (Ok(offer), _) => Action::Renew(offer),
            (Err(_), Some(problem)) => fail(problem),
            (Err(reason), None) => Action::Fail(reason.into()),
        }
    }

    /// A higher voucher overtook this one. That is nobody's fault and signs nothing new.
    fn on_late(&mut self, stake: Stake, problem: &Problem) -> Action {
        let accepted = problem.accepted_cumulative.unwrap_or(stake.presented);
        if accepted > stake.signed {
            return Action::Fail(Discrepancy::AcceptedAboveSigned.into());
        }
        if self.late >= MAX_LATE {
            return exhausted(self.retries(), problem);
        }
        self.late = self.late.saturating_add(1);
        if stake.presented < stake.signed {
            return Action::Again(Raise::Best);
        }
        // The highest voucher itself rises too little: a rule of `minVoucherDelta`.
        self.raises = self.raises.saturating_add(1);
        if self.raises > MAX_RAISES {
            return exhausted(self.retries(), problem);
        }
        Action::Again(Raise::Above(accepted))
    }

    fn on_shortage(&mut self, stake: Stake, problem: &Problem) -> Action {
        if self.raises >= MAX_RAISES {
            return exhausted(self.retries(), problem);
        }
        self.raises = self.raises.saturating_add(1);
        match problem.required_cumulative {
            Some(required) if required <= stake.presented => Action::Fail(ClientError::Protocol(
                "it refuses a voucher that covers what it asks for",
            )),
            Some(required) if required > stake.signed => Action::Again(Raise::Claim(required)),
            Some(_) => Action::Again(Raise::Best),
            // Deployed peers name no amount.
            None if stake.presented < stake.signed => Action::Again(Raise::Best),
            None => Action::Again(Raise::Late),
        }
    }

    fn on_gone(&mut self, answer: &Answer) -> Action {
        let Some(problem) = &answer.problem else {
            return Action::Deliver(Booking::Dismiss);
        };
        let reason = match problem.kind {
            ProblemKind::ChannelNotFound => StaleReason::NotFound,
            ProblemKind::ChannelFinalized => StaleReason::Finalized,
            // The resource itself is gone.
            _ => return Action::Deliver(Booking::Dismiss),
        };
        if self.replaced {
            return fail(problem);
        }
        self.replaced = true;
        Action::ReplaceChannel {
            offer: answer.offer().ok(),
            reason,
        }
    }
}

/// Counts one more sending, and says how long to wait before it.
fn again(count: &mut u32, most: u32, asked: Option<Duration>) -> Option<Duration> {
    if *count >= most {
        return None;
    }
    let grown = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(*count));
    *count = count.saturating_add(1);
    Some(asked.unwrap_or_default().max(grown).min(LONGEST_PAUSE))
}

/// `is_repeat`: an earlier sending of this very request may have been charged, so that a replay is
/// its answer, unless it confirms less than that sending has presented: then the caller has used the key
/// before, and neither sending was charged.
fn on_success(stake: Stake, answer: &Answer, is_repeat: bool) -> Action {
    match (&answer.receipt, answer.is_stream) {
        (ReceiptField::Session(receipt), _)
            if answer.repetition == Repetition::Replayed
                && (!is_repeat || receipt.accepted_cumulative < stake.presented) =>
        {
            Action::Deliver(Booking::Replayed(receipt.clone()))
        }
        (ReceiptField::Session(receipt), true) => {
            Action::Deliver(Booking::Stream(Some(receipt.clone())))
        }
        (ReceiptField::Session(receipt), false) => {
            Action::Deliver(Booking::Confirm(receipt.clone()))
        }
        (ReceiptField::Absent, true) => Action::Deliver(Booking::Stream(None)),
        (ReceiptField::Absent, false) => Action::Deliver(Booking::Doubt),
        (ReceiptField::Charge(_), _) => Action::FailInDoubt(Discrepancy::OtherIntent.into()),
        (ReceiptField::Unreadable, _) => {
            Action::FailInDoubt(ClientError::Protocol("its receipt can not be read"))
        }
    }
}

fn fail(problem: &Problem) -> Action {
    Action::Fail(ClientError::problem(problem.clone()))
}

fn exhausted(attempts: u32, problem: &Problem) -> Action {
    Action::Fail(ClientError::Exhausted {
        attempts,
        problem: Box::new(problem.clone()),
    })
}

#[cfg(test)]
mod tests;
