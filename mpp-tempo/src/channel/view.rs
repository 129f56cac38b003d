//! What the chain says about a channel at one moment.

use mpp_core::Amount;
use serde::{Deserialize, Serialize};

/// State of a channel as read from its escrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelView {
    /// Total deposit in base units.
    pub deposit: Amount,
    /// Cumulative amount already paid to the payee, in base units.
    pub settled: Amount,
    /// When the payer asked to close, in Unix seconds of the chain; `None` if not pending.
    pub close_requested_at: Option<u64>,
    /// Whether the channel lives.
    pub existence: Existence,
}

impl ChannelView {
    /// The view of an escrow slot that holds nothing.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            deposit: Amount::ZERO,
            settled: Amount::ZERO,
            close_requested_at: None,
            existence: Existence::Unknown,
        }
    }
}

/// Whether a channel lives, as far as the escrow can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existence {
    /// It holds a deposit.
    Open,
    /// It was closed or withdrawn (the v1 contract keeps a mark).
    Finalized,
    /// The slot is empty: never opened, or a closed v2 channel, whose slot is deleted.
    Unknown,
}
