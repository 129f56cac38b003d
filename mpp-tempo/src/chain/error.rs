//! Why a node did not answer as asked.

use alloc::string::String;
use alloy_primitives::B256;

/// A failed call to a node. Messages never hold the endpoint's URL, which may carry a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The node can not be reached or does not answer; nothing was sent.
    #[error("node is unreachable: {message}")]
    Unreachable {
        /// What failed.
        message: String,
    },
    /// The node answered that it will not do this.
    #[error("node rejected the request: {message}")]
    Rejected {
        /// The node's reason.
        message: String,
    },
    /// A transaction was sent and its fate is not known: it may be mined, or may still be.
    #[error("outcome of transaction {hash} is unknown")]
    Unknown {
        /// Hash of the transaction.
        hash: B256,
    },
    /// The node's answer makes no sense.
    #[error("node sent a malformed answer: {message}")]
    Malformed {
        /// What was wrong.
        message: String,
    },
}

impl ChainError {
    /// A node that can not be reached.
    #[must_use]
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::Unreachable {
            message: message.into(),
        }
    }

    /// A node that refused.
    #[must_use]
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::Rejected {
            message: message.into(),
        }
    }

    /// A node that talks nonsense.
    #[must_use]
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::Malformed {
            message: message.into(),
        }
    }

    /// Whether the same call may simply be made again later.
    ///
    /// False for [`ChainError::Unknown`]: look the transaction up before anything else.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
