//! Answers to a request that was paid once, with a credential of its own.

use mpp_core::ProblemKind;

use super::{Action, Answer, Booking, Flow, MAX_FRESH, ReceiptField, fail};
use crate::error::ClientError;
use crate::session::ledger::Discrepancy;

/// What a one-time credential is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Risk {
    /// It moves money, so there is never a second one for a request.
    Money,
    /// It proves something, and can be made again.
    Nothing,
}

impl Flow {
    /// Decides what the answer to a one-time credential means.
    ///
    /// A server takes it once, so it is safe to send again just as it is.
    pub(super) fn on_once(&mut self, risk: Risk, answer: &Answer) -> Action {
        if let Some(pause) = self.on_busy(answer) {
            // What it could not serve it may have taken the money for.
            self.in_doubt |= answer.status == 503 && risk == Risk::Money;
            return Action::Repeat(pause);
        }
        match (answer.status, risk) {
            (402, Risk::Money) if self.in_doubt => Action::FailInDoubt(refusal(answer)),
            (402, Risk::Nothing) if self.fresh < MAX_FRESH && is_about_challenge(answer) => {
                self.fresh = self.fresh.saturating_add(1);
                Action::Pay
            }
            (402, _) => match &answer.problem {
                Some(problem) => fail(problem),
                None => Action::Fail(refusal(answer)),
            },
            // The resource may have failed after the payment was taken.
            (400.., Risk::Money) => Action::Deliver(Booking::Doubt),
            (400.., Risk::Nothing) => Action::Deliver(Booking::Dismiss),
            _ => on_success(answer),
        }
    }
}

fn on_success(answer: &Answer) -> Action {
    match &answer.receipt {
        ReceiptField::Charge(receipt) => Action::Deliver(Booking::Once(receipt.clone())),
        ReceiptField::Absent => Action::Deliver(Booking::Doubt),
        ReceiptField::Session(_) => Action::FailInDoubt(Discrepancy::OtherIntent.into()),
        ReceiptField::Unreadable => {
            Action::FailInDoubt(ClientError::Protocol("its receipt can not be read"))
        }
    }
}

/// Whether another challenge may be answered better.
fn is_about_challenge(answer: &Answer) -> bool {
    answer.problem.as_ref().is_none_or(|problem| {
        matches!(
            problem.kind,
            ProblemKind::PaymentRequired
                | ProblemKind::PaymentExpired
                | ProblemKind::InvalidChallenge
        )
    })
}

pub(super) fn refusal(answer: &Answer) -> ClientError {
    answer.problem.as_ref().map_or(
        ClientError::Status {
            status: answer.status,
        },
        |problem| ClientError::problem(problem.clone()),
    )
}
