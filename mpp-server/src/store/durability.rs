//! What a store promises to keep, in words that can be logged.

use std::fmt;

use mpp_core::Amount;

/// What survives a crash of the process and of its machine.
///
/// `Display` says what is at risk, in one line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing survives.
    Memory,
    /// Every commit is on the disk before it is acknowledged, each on its own.
    Strict,
    /// Every commit is on the disk before it is acknowledged; concurrent ones
    /// share the wait.
    Group,
    /// Commits are acknowledged first; a crash may lose the last ones, up to
    /// a cap.
    Relaxed(LossCaps),
    /// Another system keeps the data.
    External {
        /// Which, for the log; never with credentials.
        backend: String,
        /// What that system may lose of what it acknowledged, in words;
        /// `None`: nothing.
        may_lose: Option<String>,
    },
}

/// How much a store may owe to the disk, in base units.
///
/// What counts is money that a crash would lose: vouchers accepted, and
/// service charged, that are acknowledged but not yet on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossCaps {
    /// For any one channel.
    pub per_channel: Amount,
    /// For all channels together.
    pub total: Amount,
}

impl Durability {
    /// Whether it is known how much a crash can lose at most.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        match self {
            Self::Strict | Self::Group | Self::Relaxed(_) => true,
            Self::External { may_lose, .. } => may_lose.is_none(),
            Self::Memory => false,
        }
    }

    /// A stable name for logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Strict => "strict",
            Self::Group => "group",
            Self::Relaxed(_) => "relaxed",
            Self::External { .. } => "external",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("a restart loses every voucher and every charge"),
            Self::Strict | Self::Group => {
                f.write_str("a crash loses nothing that was acknowledged")
            }
            Self::Relaxed(caps) => write!(
                f,
                "a crash loses at most {} base units of a channel and {} in total",
                caps.per_channel, caps.total
            ),
            Self::External {
                backend,
                may_lose: None,
            } => write!(f, "{backend} keeps everything that was acknowledged"),
            Self::External {
                backend,
                may_lose: Some(what),
            } => write!(f, "{backend} may lose {what}"),
        }
    }
}
