//! What the gate decides.

use std::sync::Arc;

use alloy_primitives::Address;
use mpp_core::{IssuedChallenge, problem::Problem, receipt::Receipt};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    bootstrap::Recognized,
    charge::ChargeGuard,
    error::{Failure, Rejection},
    session::tab::Tab,
    store::{StoredOutcome, StoredResponse},
    tasks::Service,
};

/// The answer to an [`Attempt`](super::Attempt).
#[derive(Debug)]
pub enum Decision {
    /// Paid for and durable: run the handler, then capture the grant.
    Grant(Grant),
    /// The request was served and charged before: answer with the outcome,
    /// run nothing.
    Replay(Box<Replay>),
    /// A management request was carried out: answer `204` with this receipt.
    Respond(Receipt),
    /// A payer has proven its identity: answer `204` with its channel.
    Recognize(Recognized),
    /// Answer with this problem and these challenges.
    Refuse(Refusal),
}

/// What a payment method made of a credential.
#[derive(Debug)]
pub enum Redeemed {
    /// Content may be served.
    Serve(Grant),
    /// Content was served before, to an equal request.
    Served(Box<Replay>),
    /// Content is not served for this, and it is certain that it was not before
    /// either, to a request with the same key.
    NeverServed(Rejection),
    /// There is nothing to serve.
    Managed(Receipt),
    /// The payer is known now.
    Recognized(Recognized),
}

/// The answer that an equal request was given before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Its receipt.
    pub receipt: Receipt,
    /// The response, unless it was too large to keep or was a stream.
    pub response: Option<StoredResponse>,
}

impl From<StoredOutcome> for Replay {
    fn from(outcome: StoredOutcome) -> Self {
        Self {
            receipt: Receipt::Session(outcome.receipt),
            response: outcome.response,
        }
    }
}

/// A payment that was made in full, as its handler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Its receipt.
    pub receipt: Receipt,
    /// Who paid, or has proven its identity.
    pub payer: Payer,
}

/// Who is behind a payment, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer {
    /// The method does not say.
    Unknown,
    /// The account whose money moved.
    Paid(Address),
    /// The account that has signed a proof of identity for this challenge.
    Proven(Address),
}

impl Payer {
    /// The account, where it is known.
    #[must_use]
    pub const fn account(self) -> Option<Address> {
        match self {
            Self::Unknown => None,
            Self::Paid(account) | Self::Proven(account) => Some(account),
        }
    }

    /// The account, if it has proven its identity.
    #[must_use]
    pub const fn proven(self) -> Option<Address> {
        match self {
            Self::Proven(account) => Some(account),
            Self::Unknown | Self::Paid(_) => None,
        }
    }
}

/// The right to serve one request. It exists only after the commit.
///
/// What the request costs is held in its session, or was paid by a charge.
/// Transports [`capture`](Self::capture) it when the handler has succeeded,
/// before the response leaves; dropped without that, as by an error, a panic
/// or a client that has gone, the hold is released and nothing is charged, and
/// a charge is granted again to whoever shows it.
#[derive(Debug)]
#[must_use = "a dropped grant charges nothing"]
pub struct Grant {
    right: Right,
    /// Counts the request as being served; dropped after the right.
    served: Option<TaskTrackerToken>,
}

#[derive(Debug)]
enum Right {
    /// Paid in full by a method without holds.
    Paid(Payment),
    Held(Guard),
    Charged(ChargeGuard),
}

impl Grant {
    /// A grant of a method that has been paid already.
    pub fn new(receipt: Receipt) -> Self {
        Self::paid(Payment {
            receipt,
            payer: Payer::Unknown,
        })
    }

    /// A grant of a payment that nothing needs to be done about any more.
    pub fn paid(payment: Payment) -> Self {
        Self::of(Right::Paid(payment))
    }

    /// A grant of a charge, which is given back unless it is captured.
    pub(crate) fn charged(guard: ChargeGuard) -> Self {
        Self::of(Right::Charged(guard))
    }

    /// A grant for which money is held, and which can go on charging.
    pub(crate) fn held(tab: Tab) -> Self {
        Self::of(Right::Held(Guard(Arc::new(tab))))
    }

    fn of(right: Right) -> Self {
        Self {
            right,
            served: None,
        }
    }

    /// Has a shutdown wait for this request from `served` on.
    pub(crate) fn counted(mut self, served: TaskTrackerToken) -> Self {
        self.served = Some(served);
        self
    }

    /// Has a shutdown wait for this request, if it does not yet. A tab counts
    /// by itself, since a stream outlives its grant.
    pub(crate) fn counted_by(self, service: &Service) -> Self {
        match (&self.right, &self.served) {
            (Right::Held(_), _) | (_, Some(_)) => self,
            (Right::Paid(_) | Right::Charged(_), None) => self.counted(service.enter()),
        }
    }

    /// What the handler may see and use.
    #[must_use]
    pub fn access(&self) -> Access {
        match &self.right {
            Right::Paid(payment) => Access::Paid(Box::new(payment.clone())),
            Right::Charged(guard) => Access::Paid(Box::new(guard.payment().clone())),
            Right::Held(guard) => Access::Session(Arc::clone(&guard.0)),
        }
    }

    /// The running tab of a session; a one-time charge has none.
    #[must_use]
    pub fn tab(&self) -> Option<&Arc<Tab>> {
        match &self.right {
            Right::Paid(_) | Right::Charged(_) => None,
            Right::Held(guard) => Some(&guard.0),
        }
    }

    /// Whether a retry will be answered with the response that is passed to
    /// [`capture`](Self::capture).
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        match &self.right {
            Right::Paid(_) => false,
            Right::Held(guard) => guard.0.is_idempotent(),
            Right::Charged(guard) => guard.is_idempotent(),
        }
    }

    /// Whether the request, sent again, is known for the same: by its key, or
    /// because its payment is taken once. Of another one nobody can tell
    /// whether its handler ran before, so nobody is told to send it again.
    #[must_use]
    pub fn is_known_again(&self) -> bool {
        match &self.right {
            Right::Paid(_) | Right::Charged(_) => true,
            Right::Held(guard) => guard.0.is_idempotent(),
        }
    }

    /// Charges the request, which was served, and returns its receipt. Only
    /// after that may the response leave.
    ///
    /// `response` is kept for retries of an idempotent request; without it
    /// they learn that the response was delivered. While the handler has a
    /// [`Reservation`](crate::session::reserve::Reservation) out, nothing is
    /// charged here and the receipt tells the state so far.
    ///
    /// # Errors
    /// The hold is gone or the store fails: nothing was charged, unless the
    /// store lost its acknowledgement, and the response must not leave.
    ///
    /// # Cancel safety
    /// Dropped, the request was charged or not; a retry of an idempotent
    /// request finds out.
    pub async fn capture(self, response: Option<StoredResponse>) -> Result<Receipt, Failure> {
        let Self {
            right,
            served: _until_then,
        } = self;
        match right {
            Right::Paid(payment) => Ok(payment.receipt),
            Right::Charged(guard) => guard.capture(response).await,
            Right::Held(guard) => guard.0.serve(response).await.map(Receipt::Session),
        }
    }

    /// Gives back what is held: the request failed and costs nothing.
    ///
    /// Awaited before the failure is answered, so that the client's next
    /// request finds its balance whole.
    ///
    /// # Cancel safety
    /// Dropped, the hold is released later.
    pub async fn release(self) {
        let Self {
            right,
            served: _until_then,
        } = self;
        match right {
            Right::Paid(_) => {}
            Right::Held(guard) => guard.0.release().await,
            Right::Charged(guard) => guard.release().await,
        }
    }
}

/// Releases the hold when nobody has captured it.
#[derive(Debug)]
struct Guard(Arc<Tab>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// How a request was paid, as its handler sees it.
#[derive(Clone, Debug)]
pub enum Access {
    /// In full, by a method without sessions.
    Paid(Box<Payment>),
    /// From a session.
    Session(Arc<Tab>),
}

impl Access {
    /// The account that pays, or has proven its identity, where that is known.
    #[must_use]
    pub fn payer(&self) -> Option<Address> {
        match self {
            Self::Paid(payment) => payment.payer.account(),
            Self::Session(tab) => Some(tab.payer()),
        }
    }

    /// The account that has proven its identity for this very request.
    #[must_use]
    pub fn proven(&self) -> Option<Address> {
        match self {
            Self::Paid(payment) => payment.payer.proven(),
            Self::Session(_) => None,
        }
    }
}

/// A refused request.
#[derive(Debug)]
pub struct Refusal {
    /// Status and body.
    pub problem: Problem,
    /// Fresh challenges, one per offer.
    pub challenges: Vec<IssuedChallenge>,
    /// Whether it is certain that no request with the same key was charged
    /// before: whoever lost an answer may pay anew.
    pub never_charged: bool,
}
