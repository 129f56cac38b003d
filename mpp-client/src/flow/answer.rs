//! What an answer says, in types.

use std::time::Duration;

use mpp_core::{Challenge, ChargeReceipt, Problem, Receipt, SessionReceipt};

use crate::offer::{Offer, Unpayable};

/// An answer as a binding has read it.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The HTTP status, or what corresponds to it.
    pub status: u16,
    /// The payment challenges that could be read, in the server's order.
    pub challenges: Vec<Challenge>,
    /// The problem in the body of a 402 or 410.
    pub problem: Option<Problem>,
    /// The receipt in the header.
    pub receipt: ReceiptField,
    /// Whether the body is a stream of events.
    pub is_stream: bool,
    /// What the server says about an earlier request with the same key.
    pub repetition: Repetition,
    /// How long to wait before the request is sent again, when the server says so.
    pub retry_after: Option<Duration>,
}

/// `Idempotent-Replayed`: whether a request with the same key was carried out before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repetition {
    /// The server does not say: it may not know of keys.
    #[default]
    Unknown,
    /// It was not: nothing was charged for it.
    New,
    /// It was: this is its answer, or what is left of it.
    Replayed,
}

/// What stands where the receipt should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReceiptField {
    /// Nothing.
    #[default]
    Absent,
    /// Something that is not a receipt.
    Unreadable,
    /// The receipt of a session.
    Session(Box<SessionReceipt>),
    /// The receipt of a one-time payment.
    Charge(Box<ChargeReceipt>),
}

impl From<Receipt> for ReceiptField {
    fn from(receipt: Receipt) -> Self {
        match receipt {
            Receipt::Session(receipt) => Self::Session(Box::new(receipt)),
            Receipt::Charge(receipt) => Self::Charge(Box::new(receipt)),
        }
    }
}

impl Answer {
    /// The session to go on with.
    pub(super) fn offer(&self) -> Result<Offer, Unpayable> {
        Offer::choose(self.challenges.iter().cloned())
    }
}
