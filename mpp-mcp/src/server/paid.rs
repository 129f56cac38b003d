//! What a handler sees of the payment.

use std::sync::{Arc, Mutex, PoisonError};

use mpp_core::Amount;
use mpp_server::{
    Failure, Fault,
    gate::Access,
    session::reserve::{OverReserved, Reservation},
};
use mpp_tempo::ChannelId;

/// Proof that a call was paid, and the way to charge another amount for it.
#[derive(Clone, Debug)]
pub struct Paid {
    access: Access,
    slot: Slot,
}

impl Paid {
    pub(super) const fn new(access: Access, slot: Slot) -> Self {
        Self { access, slot }
    }

    /// The channel that pays, when a session does.
    #[must_use]
    pub fn channel_id(&self) -> Option<ChannelId> {
        match &self.access {
            Access::Paid(_) => None,
            Access::Session(tab) => Some(tab.channel_id()),
        }
    }

    /// Reserves up to `max` base units in place of the operation's price.
    ///
    /// [`Reservation::capture`] says what the call costs in the end; it is
    /// charged before the result leaves. A dropped reservation captures
    /// nothing.
    ///
    /// # Errors
    /// [`Unaffordable`]: fail with any error, and the client is told what is
    /// missing in its place.
    ///
    /// # Cancel safety
    /// Dropped, nothing is charged.
    pub async fn reserve(&self, max: Amount) -> Result<Reservation, Unaffordable> {
        let Access::Session(tab) = &self.access else {
            return Err(self.fail(NO_SESSION));
        };
        match tab.reserve(max).await {
            Ok(reservation) => Ok(reservation),
            Err(failure) => Err(self.fail(failure)),
        }
    }

    fn fail(&self, failure: Failure) -> Unaffordable {
        let failure = Arc::new(failure);
        self.slot.put(Arc::clone(&failure));
        Unaffordable(failure)
    }
}

/// An operation that reserves must not be sold by other methods.
const NO_SESSION: Failure = Failure::Fault(Fault::Inconsistent(
    "a handler reserves, and its call was not paid from a session",
));

/// A handler could not reserve or capture what it needs.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unaffordable(Arc<Failure>);

impl From<OverReserved> for Unaffordable {
    fn from(_: OverReserved) -> Self {
        Self(Arc::new(Failure::Fault(Fault::Inconsistent(
            "a handler captures more than it has reserved",
        ))))
    }
}

/// Where a handler leaves why it could not go on.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Arc<Failure>>>>);

impl Slot {
    fn put(&self, failure: Arc<Failure>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    pub(super) fn take(&self) -> Option<Arc<Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
