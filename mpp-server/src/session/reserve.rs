//! Reserving a maximum and capturing what was used.

use std::{fmt, sync::Arc};

use mpp_core::{Amount, receipt::SessionReceipt};

use super::tab::Tab;
use crate::error::{Failure, Fault};

/// Up to so many base units are set aside for one request.
///
/// [`capture`](Self::capture) says what the request costs; it is charged when
/// its response leaves. Dropped without that, nothing is charged.
#[must_use = "a dropped reservation captures nothing"]
pub struct Reservation {
    tab: Arc<Tab>,
    max: Amount,
    state: Drafted,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Drafted {
    Open,
    Done,
}

/// More was to be captured than was reserved. Nothing is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cost} base units are more than the {max} that are reserved")]
pub struct OverReserved {
    /// What was to be captured, in base units.
    pub cost: Amount,
    /// What is reserved, in base units.
    pub max: Amount,
}

impl Reservation {
    pub(super) fn new(tab: Arc<Tab>, max: Amount) -> Self {
        Self {
            tab,
            max,
            state: Drafted::Open,
        }
    }

    /// The most that can be captured, in base units.
    #[must_use]
    pub fn max(&self) -> Amount {
        self.max
    }

    /// The request costs `cost` base units, for `units` units of service.
    ///
    /// It is charged when the response leaves, and only if it is a success.
    /// In a stream whose head has left, use [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`OverReserved`]: the request then costs nothing.
    pub fn capture(mut self, cost: Amount, units: u64) -> Result<(), OverReserved> {
        self.check(cost)?;
        self.close(cost, units);
        Ok(())
    }

    /// The request costs `units` units at the route's price.
    ///
    /// # Errors
    /// As [`capture`](Self::capture).
    pub fn capture_units(self, units: u64) -> Result<(), OverReserved> {
        let cost = self.tab.price.checked_mul(units).unwrap_or(Amount::MAX);
        self.capture(cost, units)
    }

    /// Charges `cost` base units now, and returns the receipt: for responses
    /// whose cost is known only after their head has left.
    ///
    /// # Errors
    /// When the hold is gone or the store fails: nothing was charged, unless
    /// the store lost its acknowledgement. More than was reserved is
    /// [`Fault::Inconsistent`].
    ///
    /// # Cancel safety
    /// What was delivered is charged: once polled, a task of the server goes
    /// on with it whether or not the future is.
    pub async fn finish(mut self, cost: Amount, units: u64) -> Result<SessionReceipt, Failure> {
        self.check(cost)
            .map_err(|_| Fault::Inconsistent("more was to be captured than was reserved"))?;
        self.state = Drafted::Done;
        if !self.tab.finishes(cost, units) {
            return Err(self.tab.hold_gone());
        }
        self.tab.capture_on_task().await
    }

    fn check(&self, cost: Amount) -> Result<(), OverReserved> {
        if cost > self.max {
            return Err(OverReserved {
                cost,
                max: self.max,
            });
        }
        Ok(())
    }

    fn close(&mut self, cost: Amount, units: u64) {
        self.state = Drafted::Done;
        if self.tab.reserved(cost, units) {
            // The head is gone, so there is no grant left to capture it.
            drop(self.tab.capture_on_task());
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.state == Drafted::Open && self.tab.reserved(Amount::ZERO, 0) {
            self.tab.abandon_reserved();
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("tab", &self.tab)
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}
