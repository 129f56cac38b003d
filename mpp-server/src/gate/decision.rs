//! What the gate decides.

use std::sync::Arc;

use mpp_core::{Challenge, problem::Problem, receipt::Receipt};

use crate::{bootstrap::Recognized, session::meter::Tab};

/// The answer to an [`Attempt`](super::Attempt).
#[derive(Debug)]
pub enum Decision {
    /// Paid and durable: run the handler, add the receipt.
    Grant(Grant),
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
    /// There is nothing to serve.
    Managed(Receipt),
    /// The payer is known now.
    Recognized(Recognized),
}

/// The right to serve one request. It exists only after the commit.
#[derive(Clone, Debug)]
pub struct Grant {
    receipt: Receipt,
    tab: Option<Arc<Tab>>,
}

impl Grant {
    /// A grant for one request at a fixed price.
    #[must_use]
    pub fn new(receipt: Receipt) -> Self {
        Self { receipt, tab: None }
    }

    /// A grant that can go on charging, unit by unit.
    pub(crate) fn metered(receipt: Receipt, tab: Tab) -> Self {
        Self {
            receipt,
            tab: Some(Arc::new(tab)),
        }
    }

    /// The receipt, from the committed state.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The running tab of a session; a one-time charge has none.
    #[must_use]
    pub fn tab(&self) -> Option<&Arc<Tab>> {
        self.tab.as_ref()
    }
}

/// A refused request.
#[derive(Debug)]
pub struct Refusal {
    /// Status and body.
    pub problem: Problem,
    /// Fresh challenges, one per offer.
    pub challenges: Vec<Challenge>,
}
