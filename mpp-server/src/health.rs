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
}
