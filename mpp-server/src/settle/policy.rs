//! When a server collects what it has earned.

use std::time::Duration;

use alloy_primitives::Address;
use mpp_core::Amount;

use crate::error::Misuse;

/// When and how a server collects what it has earned.
///
/// A channel is settled as soon as one of the limits is reached; `None` turns a
/// limit off. A payer's close request is answered whatever the limits say.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use mpp_core::Amount;
/// use mpp_server::settle::SettlePolicy;
///
/// let policy = SettlePolicy {
///     channel_amount: Some(Amount::new(5_000_000)),
///     age: Some(Duration::from_secs(3_600)),
///     ..SettlePolicy::default()
/// };
/// assert!(policy.idle_close.is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlePolicy {
    /// Unsettled in one channel, in base units. Default: 1,000,000.
    pub channel_amount: Option<Amount>,
    /// Unsettled in all channels of one payer and token, in base units.
    /// Default: 5,000,000.
    pub payer_amount: Option<Amount>,
    /// Unsettled in all channels of one token, in base units. Default: off.
    pub token_amount: Option<Amount>,
    /// Unsettled in all channels, in base units. Default: off.
    pub total_amount: Option<Amount>,
    /// Unsettled units in one channel. Default: off.
    pub units: Option<u64>,
    /// Age of the oldest charge that is not settled. Default: 6 hours.
    pub age: Option<Duration>,
    /// Close a channel that has earned something when nothing has happened on
    /// it for so long. Default: off.
    pub idle_close: Option<Duration>,
    /// Settle everything when the server is shut down. Default: no.
    pub on_shutdown: OnShutdown,
    /// What may be spent on fees.
    pub fees: FeeLimits,
    /// So many blocks must follow a transaction before it counts as final.
    /// Default: 0, since a block of Tempo is final when it is there.
    pub finality: u64,
    /// Pause between two looks at what is under way. Default: 2 s.
    pub every: Duration,
    /// Pause between two looks at all channels. Default: 60 s.
    pub scan_every: Duration,
    /// After so long without a sign of life another process takes over; the
    /// one that leads gives a sign four times in this time. Default: 10 s.
    pub lease: Duration,
    /// Channels that one transaction collects from, at most. Default: 32, the
    /// most calls that the nodes of the public networks take.
    pub batch: usize,
    /// What may stay unsettled in a channel whose payer or token does not let
    /// settlements through; above that nothing is sold. Default: 1,000,000.
    pub blocked_exposure: Amount,
}

/// Whether a server settles when it is shut down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnShutdown {
    /// What is unsettled stays so until the next start.
    #[default]
    Keep,
    /// Everything that is worth its fee is settled.
    Settle,
}

/// What settlements may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeLimits {
    /// A routine settlement costs at most this share of what it brings, in
    /// hundredths of a percent. Default: 1,000, a tenth. No collection ever
    /// costs more than it brings.
    pub share: u16,
    /// What all routine settlements of a day (UTC) may cost together, in base
    /// units of the fee token. One that is under way counts with the most that
    /// it may cost, which is [`gas::SETTLE`](mpp_tempo::tx::gas::SETTLE) for a
    /// single channel at the offered price; one that is over, with what its
    /// receipt says. So a limit below that most allows none at all. Default: no
    /// limit.
    pub per_day: Option<Amount>,
    /// The highest fee per gas that is offered, in attodollars. Default: 100
    /// billion, which is fifty times the usual one.
    pub max_fee_per_gas: u128,
    /// The token that fees are paid in. Default: the one that is collected.
    pub token: Option<Address>,
}

impl Default for FeeLimits {
    fn default() -> Self {
        Self {
            share: 1_000,
            per_day: None,
            max_fee_per_gas: 100_000_000_000,
            token: None,
        }
    }
}

impl Default for SettlePolicy {
    fn default() -> Self {
        Self {
            channel_amount: Some(Amount::new(1_000_000)),
            payer_amount: Some(Amount::new(5_000_000)),
            token_amount: None,
            total_amount: None,
            units: None,
            age: Some(Duration::from_secs(6 * 60 * 60)),
            idle_close: None,
            on_shutdown: OnShutdown::Keep,
            fees: FeeLimits::default(),
            finality: 0,
            every: Duration::from_secs(2),
            scan_every: Duration::from_secs(60),
            lease: Duration::from_secs(10),
            batch: 32,
            blocked_exposure: Amount::new(1_000_000),
        }
    }
}

impl SettlePolicy {
    /// No limits: only close requests are answered.
    #[must_use]
    pub fn on_demand() -> Self {
        Self {
            channel_amount: None,
            payer_amount: None,
            age: None,
            ..Self::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), Misuse> {
        if self.every.is_zero() || self.scan_every.is_zero() {
            return Err(Misuse::Invalid("settlement needs a pause between looks"));
        }
        if self.lease < Duration::from_secs(2) {
            return Err(Misuse::Invalid("a settlement lease lasts at least 2 s"));
        }
        if self.batch == 0 {
            return Err(Misuse::Invalid("a settlement batch holds a channel"));
        }
        Ok(())
    }
}
