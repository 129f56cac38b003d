//! Requests that manage a channel: topUp, close, and vouchers beside a stream.
//!
//! They go to the URL of the resource by `HEAD`, and as a `POST` without body where the server
//! knows no `HEAD` (PROTOCOL 5.5). They deliver nothing, so repeating one is harmless: a voucher is
//! idempotent, and top-up and close carry the same transaction again.

use mpp_core::{Problem, ProblemKind, SessionReceipt};

use super::answer::{Answer, ReceiptField};
use crate::error::ClientError;
use crate::offer::Offer;

/// How to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `HEAD`. Its answers have no body, so a refusal comes without a reason.
    Head,
    /// `POST` without a body and without the query of the URL: with a query a server would take a
    /// voucher for an order, and charge it.
    Post,
}

impl Probe {
    /// How to ask a server that answers so because it does not know this way.
    pub(crate) const fn instead(self, status: u16) -> Option<Self> {
        match (self, status) {
            (Self::Head, 404 | 405 | 501) => Some(Self::Post),
            (Self::Head | Self::Post, _) => None,
        }
    }
}

/// What to do next with a management request.
#[derive(Debug)]
pub enum ManageAction {
    /// Accepted.
    Done(Box<SessionReceipt>),
    /// Send (again) by this method, under the fresh offer if there is one.
    Send(Probe, Option<Offer>),
    /// Refused, for this reason if one is known.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's reason.
        problem: Option<Box<Problem>>,
    },
    /// The server breaks the protocol.
    Fail(ClientError),
}

/// One management request.
#[derive(Clone, Debug)]
pub struct Management {
    probe: Probe,
    renewed: bool,
}

impl Default for Management {
    fn default() -> Self {
        Self {
            probe: Probe::Head,
            renewed: false,
        }
    }
}

impl Management {
    /// A request that was not sent yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How the request is sent now.
    #[must_use]
    pub const fn probe(&self) -> Probe {
        self.probe
    }

    /// Decides what an answer means.
    pub fn on_answer(&mut self, answer: &Answer) -> ManageAction {
        if let Some(probe) = self.probe.instead(answer.status) {
            return self.by(probe, None);
        }
        match answer.status {
            200..=299 => match &answer.receipt {
                ReceiptField::Session(receipt) => ManageAction::Done(receipt.clone()),
                ReceiptField::Absent => {
                    ManageAction::Fail(ClientError::Protocol("it confirms without a receipt"))
                }
                ReceiptField::Unreadable | ReceiptField::Charge(_) => {
                    ManageAction::Fail(ClientError::Protocol("its receipt can not be read"))
                }
            },
            402 => self.on_refusal(answer),
            _ => refused(answer),
        }
    }

    fn on_refusal(&mut self, answer: &Answer) -> ManageAction {
        let offer = answer.offer().ok();
        let about_challenge = answer.problem.as_ref().is_none_or(|problem| {
            matches!(
                problem.kind,
                ProblemKind::PaymentRequired
                    | ProblemKind::PaymentExpired
                    | ProblemKind::InvalidChallenge
                    | ProblemKind::ChallengeNotFound
            )
        });
        if about_challenge && !self.renewed && offer.is_some() {
            self.renewed = true;
            return ManageAction::Send(self.probe, offer);
        }
        // A second refusal by HEAD has no reason to show: ask once where there is a body.
        if self.probe == Probe::Head && answer.problem.is_none() {
            return self.by(Probe::Post, offer);
        }
        refused(answer)
    }

    fn by(&mut self, probe: Probe, offer: Option<Offer>) -> ManageAction {
        self.probe = probe;
        ManageAction::Send(probe, offer)
    }
}

fn refused(answer: &Answer) -> ManageAction {
    ManageAction::Refused {
        status: answer.status,
        problem: answer.problem.clone().map(Box::new),
    }
}
