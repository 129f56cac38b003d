//! Where a store's server is, and why it can not be used.

use std::fmt;

use super::{Distrust, Insecure, Trouble};
use crate::store::StoreFault;

/// Where a server is and how to log in. Shows nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString(String);

impl ConnectionString {
    /// Wraps a connection string such as `postgres://user:password@host/db`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads it from an environment variable.
    ///
    /// # Errors
    /// [`ConnectError::ConnectionString`] when the variable is not set or is
    /// not text.
    pub fn from_env(name: &str) -> Result<Self, ConnectError> {
        let text = std::env::var(name);
        text.map(Self).map_err(|_| {
            ConnectError::ConnectionString("its environment variable is not set, or not text")
        })
    }

    pub(in crate::store) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionString(..)")
    }
}

/// A store's server can not be used as it is.
///
/// Never holds a connection string or a part of one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The connection string or another setting can not work.
    #[error("the store's configuration can not be used: {0}")]
    ConnectionString(&'static str),
    /// The server does not answer, or refuses the login.
    #[error("{backend} can not be reached")]
    Unreachable {
        /// Which kind of server.
        backend: &'static str,
        /// Why.
        source: StoreFault,
    },
    /// The connection was to be encrypted, and the server's certificate is not
    /// trusted. Nothing was sent, no password either.
    #[error("the certificate of {backend} is not trusted")]
    Untrusted {
        /// Which kind of server.
        backend: &'static str,
        /// Why.
        #[source]
        why: Distrust,
    },
    /// The connection was to be encrypted, and the server speaks plain text.
    /// Nothing was sent, no password either.
    #[error("{backend} offers no encryption, and its address asks for it")]
    Unencrypted {
        /// Which kind of server.
        backend: &'static str,
    },
    /// Connections were to be encrypted, and there is nobody to trust.
    #[error("the operating system trusts no certificates: give the server's root certificate")]
    NoRoots,
    /// The server lacks what the store needs.
    #[error("{backend} {found} is too old: {needed} or later is needed")]
    TooOld {
        /// Which kind of server.
        backend: &'static str,
        /// Its version.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// The server accepts no writes; a replica, for example.
    #[error("{backend} is read-only")]
    ReadOnly {
        /// Which kind of server.
        backend: &'static str,
    },
    /// A later version of this software has changed the stored form.
    #[error("the stored form {found} is newer than {known}, the newest that is known here")]
    NewerForm {
        /// What is there.
        found: u32,
        /// What this software knows.
        known: u32,
    },
    /// The tables are missing or of an older form.
    #[error("the tables are not there or not up to date: `migrate` brings them up to date")]
    NotMigrated,
    /// The server is part of a Redis cluster.
    #[error("the server is part of a Redis cluster: the store needs a server of its own")]
    Cluster,
    /// The server would drop records when its memory is full.
    #[error("Redis evicts keys when memory is short: set `maxmemory-policy` to `noeviction`")]
    Evicts,
    /// The keys of the prefix hold something else.
    #[error("keys under the prefix belong to another program")]
    ForeignKeys,
    /// The server failed while it was looked at.
    #[error(transparent)]
    Failed(#[from] StoreFault),
}

impl ConnectError {
    /// What kept the store from connecting.
    pub(in crate::store) fn unreachable(backend: &'static str, trouble: Trouble) -> Self {
        let source = trouble.fault;
        let insecure = std::error::Error::source(&source).and_then(|source| source.downcast_ref());
        match insecure {
            Some(Insecure::Untrusted(why)) => Self::Untrusted { backend, why: *why },
            Some(Insecure::NotOffered) => Self::Unencrypted { backend },
            None => Self::Unreachable { backend, source },
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } | Self::Failed(source) => source.is_transient(),
            Self::ReadOnly { .. } => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_shows_nothing() {
        let secret = ConnectionString::new("postgres://root:hunter2@db.example/test");
        let shown = format!("{secret:?}");
        for part in ["hunter2", "root", "db.example"] {
            assert!(!shown.contains(part), "{shown}");
        }
    }
}
