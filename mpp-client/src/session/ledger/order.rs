//! What goes into the ledger and comes out of it.

use mpp_core::Amount;
use serde::{Deserialize, Serialize};

/// One running request; goes back to the ledger it came from.
#[derive(Debug, PartialEq, Eq)]
pub struct Reservation {
    pub(super) cost: Amount,
    pub(super) presented: Amount,
    pub(super) spent_before: Amount,
    pub(super) losses_before: u64,
    pub(super) is_stream: bool,
}

impl Reservation {
    /// What the request may cost, in base units; for a stream, what its beginning costs.
    #[must_use]
    pub const fn cost(&self) -> Amount {
        self.cost
    }

    /// The cumulative amount of the voucher that was last sent for the request.
    #[must_use]
    pub const fn presented(&self) -> Amount {
        self.presented
    }

    /// Notes the cumulative amount of the voucher that is sent with the request.
    pub const fn present(&mut self, cumulative: Amount) {
        self.presented = cumulative;
    }
}

/// Requests that are running, of all clients or of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// What those that are no streams may cost, in base units.
    pub in_flight: Amount,
    /// Their number, streams included.
    pub flights: u64,
    /// The number of streams among them.
    pub streams: u64,
}

impl Running {
    /// What is running after a change, given what was running before and after it in total.
    #[must_use]
    pub fn moved(self, before: Self, after: Self) -> Self {
        let step =
            |own: u64, before: u64, after: u64| own.saturating_add(after).saturating_sub(before);
        let in_flight = self.in_flight.checked_add(after.in_flight);
        Self {
            in_flight: in_flight
                .unwrap_or(Amount::MAX)
                .saturating_sub(before.in_flight),
            flights: step(self.flights, before.flights, after.flights),
            streams: step(self.streams, before.streams, after.streams),
        }
    }

    /// Whether nothing runs.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.flights == 0 && self.in_flight.is_zero()
    }
}

/// The server's side of the accounts, as a receipt states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// The highest voucher the server has accepted.
    pub accepted: Amount,
    /// What the server has charged.
    pub spent: Amount,
}

/// What a voucher is for, in base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Need {
    /// Everything that was ordered.
    #[default]
    Ordered,
    /// The same, and at least this total, which the server wants and the accounts explain.
    AtLeast(Amount),
    /// The same, and at least this total, which is the smallest step that the server takes and
    /// more than was ordered. Nothing is authorized ahead of a step.
    Step(Amount),
    /// The total that a running stream wants (PROTOCOL 5.7), and what other requests in flight
    /// may cost: without that they would use up the stream's credit, and it would starve.
    Stream(Amount),
}

/// What is added to a voucher beyond the bare need, in base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Margin {
    /// Authorized ahead of need.
    pub ahead: Amount,
    /// The smallest increase the server takes (`minVoucherDelta`).
    pub min_delta: Amount,
}

/// What must be authorized for the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// A voucher for this cumulative amount. It may be one that was signed before.
    Voucher(Amount),
    /// The deposit must first grow to at least this.
    TopUp(Amount),
}
