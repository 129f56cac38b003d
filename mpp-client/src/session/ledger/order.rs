//! What goes into the ledger and comes out of it.

use mpp_core::Amount;

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
