//! Whether the server can do its work, for readiness probes.

use mpp_core::Timestamp;

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// How well it sees the chain.
    pub chain: ChainHealth,
}

impl Health {
    pub(crate) fn new(chain: ChainHealth) -> Self {
        Self { chain }
    }

    /// Whether it should get requests.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.chain.is_fresh
    }
}

/// How well the server sees the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainHealth {
    /// When it last read the chain; `None`: not since it started.
    pub seen_at: Option<Timestamp>,
    /// The newest block it has seen.
    pub head: Option<u64>,
    /// Whether that is recent enough to sell without bounds.
    pub is_fresh: bool,
    /// Set when the node has been behind what was seen of the chain before for
    /// longer than [`FollowPolicy::behind_after`](crate::FollowPolicy::behind_after).
    pub behind: Option<Behind>,
}

/// A node that does not catch up with what was seen of the chain before.
///
/// Until it does, what it does not show is not taken for gone, and a server that
/// starts is not ready. Seen is what this store's servers have taken facts from:
/// another node, or this one before it was set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Behind {
    /// Since when this process has found it behind.
    pub since: Timestamp,
    /// The newest block that it has.
    pub head: u64,
    /// The newest block that was seen.
    pub seen: u64,
}
