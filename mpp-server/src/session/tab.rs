//! The running tab of a granted request: what is held, and what it will cost.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_primitives::Address;
use mpp_core::{Amount, ChallengeId, MethodName, Timestamp, receipt::SessionReceipt};
use mpp_tempo::channel::ChannelId;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    command::Capture,
    offer::StreamOptions,
    receipt::session_receipt,
    record::{ChannelRecord, HoldId},
    reserve::Reservation,
    till::Till,
};
use crate::{
    error::{Failure, Fault, Rejection},
    store::StoredResponse,
    tasks::TaskLost,
};

/// The running tab of one granted request.
///
/// The price of one unit is held for it. It is charged when the request has
/// been served ([`Grant::capture`](crate::gate::Grant::capture)), unless the
/// handler has reserved another amount.
pub struct Tab {
    pub(super) till: Arc<dyn Till>,
    pub(super) channel_id: ChannelId,
    payer: Address,
    pub(super) challenge_id: ChallengeId,
    pub(super) price: Amount,
    pub(super) options: StreamOptions,
    hold: HoldId,
    /// How long a retry finds the outcome; `None`: nobody asked for that.
    keep_outcome: Option<Duration>,
    granted: Totals,
    /// Units that the request itself paid for and nothing has used yet.
    pub(super) prepaid: AtomicU64,
    bill: Mutex<Bill>,
    /// A shutdown waits for what is being served.
    _served: TaskTrackerToken,
}

/// The state of the channel when the request was granted.
#[derive(Clone, Copy, Debug)]
struct Totals {
    accepted: Amount,
    spent: Amount,
    at: Timestamp,
}

#[derive(Debug)]
struct Bill {
    /// What is held, in base units.
    limit: Amount,
    price: Price,
    state: State,
    /// Set once the request was charged.
    receipt: Option<Box<SessionReceipt>>,
}

impl Bill {
    fn price(&mut self, cost: Amount, units: u64) {
        let cost = cost.min(self.limit);
        self.price = Price { cost, units };
    }
}

/// What the request will be charged, as far as is known.
#[derive(Clone, Copy, Debug)]
struct Price {
    cost: Amount,
    units: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be captured or released by the grant.
    Held,
    /// A [`Reservation`] is out; the grant still guards the request.
    Reserved,
    /// A [`Reservation`] is out and alone decides: the response has begun.
    Detached,
    /// A [`Reservation`] has said what the request costs, and a task of the
    /// server captures that. Nobody else settles the request.
    Finishing,
    /// Captured, released, or being one of these.
    Settled,
}

/// What a tab is made from.
pub(super) struct NewTab<'a> {
    pub(super) record: &'a ChannelRecord,
    pub(super) hold: HoldId,
    pub(super) challenge_id: ChallengeId,
    pub(super) price: Amount,
    pub(super) options: StreamOptions,
    pub(super) keep_outcome: Option<Duration>,
}

impl Tab {
    pub(super) fn new(till: Arc<dyn Till>, new: NewTab<'_>) -> Self {
        let record = new.record;
        Self {
            _served: till.service().enter(),
            till,
            channel_id: record.id,
            payer: record.terms.descriptor.payer,
            challenge_id: new.challenge_id,
            price: new.price,
            options: new.options,
            hold: new.hold,
            keep_outcome: new.keep_outcome,
            granted: Totals {
                accepted: record.accepted(),
                spent: record.spent,
                at: record.changed_at,
            },
            prepaid: AtomicU64::new(0),
            bill: Mutex::new(Bill {
                limit: new.price,
                price: Price {
                    cost: new.price,
                    units: 1,
                },
                state: State::Held,
                receipt: None,
            }),
        }
    }

    /// The channel that pays.
    #[must_use]
    pub fn channel_id(&self) -> ChannelId {
        self.channel_id
    }

    /// The account whose channel it is.
    #[must_use]
    pub fn payer(&self) -> Address {
        self.payer
    }

    /// The challenge that the request answers.
    #[must_use]
    pub fn challenge_id(&self) -> &ChallengeId {
        &self.challenge_id
    }

    /// The price of one unit, in base units.
    #[must_use]
    pub fn price(&self) -> Amount {
        self.price
    }

    /// How streams on this tab behave.
    #[must_use]
    pub fn options(&self) -> StreamOptions {
        self.options
    }

    /// Whether a retry of the request will find its outcome.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.keep_outcome.is_some()
    }

    /// Reserves up to `max` base units in place of the price.
    ///
    /// From here on the reservation says what is captured; dropped, that is
    /// nothing. It may outlive the response's head, as in a stream that is
    /// charged at its end.
    ///
    /// # Errors
    /// [`Rejection::InsufficientBalance`] names what is missing; the price
    /// stays held. [`Fault::Inconsistent`] for a second reservation beside
    /// one that is out, and for one on a request that is settled.
    ///
    /// # Cancel safety
    /// Dropped, the larger amount may stay held until the request ends.
    pub async fn reserve(self: &Arc<Self>, max: Amount) -> Result<Reservation, Failure> {
        let held = {
            let bill = self.bill();
            if bill.state != State::Held {
                return Err(Fault::Inconsistent("a request has one reservation at a time").into());
            }
            bill.limit
        };
        if max > held {
            self.till.raise(self.channel_id, self.hold, max).await?;
        }
        let mut bill = self.bill();
        if bill.state != State::Held {
            return Err(Fault::Inconsistent("a request has one reservation at a time").into());
        }
        bill.limit = max.max(held);
        bill.price = Price {
            cost: Amount::ZERO,
            units: 0,
        };
        bill.state = State::Reserved;
        Ok(Reservation::new(Arc::clone(self), max))
    }

    /// Takes the reservation back, with what it says the request costs. Returns
    /// whether the grant is gone, so that the caller has to settle the request.
    pub(super) fn reserved(&self, cost: Amount, units: u64) -> bool {
        let mut bill = self.bill();
        bill.price(cost, units);
        match bill.state {
            State::Reserved => {
                bill.state = State::Held;
                false
            }
            State::Detached => {
                bill.state = State::Finishing;
                true
            }
            State::Held | State::Finishing | State::Settled => false,
        }
    }

    /// As [`reserved`](Self::reserved), for a cost that is to be captured now,
    /// whether the head of the response has left or is about to. Returns
    /// whether there is something left to capture.
    pub(super) fn finishes(&self, cost: Amount, units: u64) -> bool {
        let mut bill = self.bill();
        bill.price(cost, units);
        let is_open = bill.state != State::Settled;
        if is_open {
            bill.state = State::Finishing;
        }
        is_open
    }

    /// Captures what the request costs, or leaves that to the reservation
    /// that is out. Returns the receipt to send with the head.
    pub(crate) async fn serve(
        &self,
        response: Option<StoredResponse>,
    ) -> Result<SessionReceipt, Failure> {
        if self.detach() {
            return Ok(self.first_receipt());
        }
        self.capture(response).await
    }

    /// Whether a reservation decides alone from here on: one that is out, or
    /// one whose cost is being captured.
    fn detach(&self) -> bool {
        let mut bill = self.bill();
        if bill.state == State::Reserved {
            bill.state = State::Detached;
        }
        matches!(bill.state, State::Detached | State::Finishing)
    }

    /// Charges, durably, and keeps the outcome with it. Charges once: after
    /// that it returns the same receipt.
    pub(super) async fn capture(
        &self,
        response: Option<StoredResponse>,
    ) -> Result<SessionReceipt, Failure> {
        let receipt = self.bill().receipt.clone();
        if let Some(receipt) = receipt {
            return Ok(*receipt);
        }
        if !self.settle(&[State::Held]) {
            return Err(self.hold_gone());
        }
        // Back in place until the commit is known to have happened, so that a
        // future dropped here still gives the hold back.
        let undo = Undo(self);
        let receipt = self.charge(response).await?;
        undo.forget();
        Ok(receipt)
    }

    pub(super) fn hold_gone(&self) -> Failure {
        let channel_id = self.channel_id;
        Rejection::HoldGone { channel_id }.into()
    }

    /// Charges what the bill says, for whoever has claimed the request.
    async fn charge(&self, response: Option<StoredResponse>) -> Result<SessionReceipt, Failure> {
        let price = self.bill().price;
        let now = self.till.now();
        let keep_for = self.keep_outcome.unwrap_or_default();
        let capture = Capture {
            hold: self.hold,
            cost: price.cost,
            units: price.units,
            response,
            keep_until: now.checked_add(keep_for).unwrap_or(now),
        };
        let record = self.till.capture(self.channel_id, capture).await?;
        self.till.forget_hold(self.channel_id, self.hold);
        if self.price.checked_mul(price.units) == Some(price.cost) {
            self.prepaid.store(price.units, Ordering::Release);
        }
        let receipt = session_receipt(
            &record,
            &self.challenge_id,
            Some(price.units),
            None,
            record.changed_at,
        );
        self.bill().receipt = Some(Box::new(receipt.clone()));
        Ok(receipt)
    }

    /// Charges what a reservation has said, on a task of the server. The task
    /// is there when this returns; the future only waits for it.
    ///
    /// Only for a request that is [`State::Finishing`].
    pub(super) fn capture_on_task(
        self: &Arc<Self>,
    ) -> impl Future<Output = Result<SessionReceipt, Failure>> + use<> {
        let (done, waiting) = tokio::sync::oneshot::channel();
        let tab = Arc::clone(self);
        self.till.spawn(Box::pin(async move {
            let captured = tab.charge(None).await;
            if let Err(failure) = &captured {
                tracing::warn!(
                    error = failure as &dyn std::error::Error,
                    "a served request could not be charged"
                );
            }
            tab.settle(&[State::Finishing]);
            if captured.is_err() {
                tab.give_back().await;
            }
            // Nobody has to wait for it.
            drop(done.send(captured));
        }));
        async { waiting.await.unwrap_or(Err(Fault::from(TaskLost).into())) }
    }

    /// Gives the hold back: nothing is charged.
    pub(crate) async fn release(&self) {
        if !self.settle(&[State::Held, State::Reserved]) {
            return;
        }
        let undo = Undo(self);
        self.give_back().await;
        undo.forget();
    }

    /// Releases the hold, for whoever has claimed the request. One that can not
    /// be released lapses: nobody tries again.
    async fn give_back(&self) {
        let released = self.till.release(self.channel_id, self.hold).await;
        self.till.forget_hold(self.channel_id, self.hold);
        if let Err(failure) = released {
            tracing::warn!(
                error = &failure as &dyn std::error::Error,
                "a hold could not be released; it lapses"
            );
        }
    }

    /// As [`release`](Self::release), on a task of the server. Does nothing
    /// while a reservation that outlives the grant decides.
    pub(crate) fn abandon(self: &Arc<Self>) {
        self.give_back_from(&[State::Held, State::Reserved]);
    }

    /// As [`abandon`](Self::abandon), for the reservation that decides.
    pub(super) fn abandon_reserved(self: &Arc<Self>) {
        self.give_back_from(&[State::Finishing]);
    }

    fn give_back_from(self: &Arc<Self>, from: &[State]) {
        if self.settle(from) {
            self.till.forget_hold(self.channel_id, self.hold);
            let tab = Arc::clone(self);
            self.till
                .spawn(Box::pin(async move { tab.give_back().await }));
        }
    }

    /// The state at the grant: the receipt that a stream begins with when its
    /// cost is known only at its end.
    fn first_receipt(&self) -> SessionReceipt {
        let totals = self.granted;
        let mut receipt = SessionReceipt::new(
            MethodName::tempo(),
            totals.at,
            self.challenge_id.clone(),
            self.channel_id.to_string(),
            totals.accepted,
            totals.spent,
        );
        receipt.units = Some(0);
        receipt
    }

    /// Claims the right to settle the request, out of one of these states.
    fn settle(&self, from: &[State]) -> bool {
        let mut bill = self.bill();
        let free = from.contains(&bill.state);
        if free {
            bill.state = State::Settled;
        }
        free
    }

    fn bill(&self) -> MutexGuard<'_, Bill> {
        self.bill.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a tab back to held, unless its settlement went through.
struct Undo<'a>(&'a Tab);

impl Undo<'_> {
    fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.0.bill().state = State::Held;
    }
}

impl fmt::Debug for Tab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tab")
            .field("channel_id", &self.channel_id)
            .field("price", &self.price)
            .finish_non_exhaustive()
    }
}
