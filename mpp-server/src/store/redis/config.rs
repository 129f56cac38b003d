//! Which Redis, and how it is used.

use std::{fmt, time::Duration};

use redis::{ConnectionAddr, IntoConnectionInfo};

use crate::store::shared::{ConnectError, ConnectionString, REREAD_EVERY};

/// Where and how a [`RedisStore`](super::RedisStore) keeps its data.
///
/// `Debug` shows no part of the connection string.
#[derive(Clone)]
pub struct RedisConfig {
    pub(super) server: redis::Client,
    pub(super) prefix: String,
    pub(super) patience: Duration,
    pub(super) reread_every: Duration,
}

impl RedisConfig {
    /// Reads a connection string such as `redis://user:password@host:6379/0`
    /// or `redis+unix:///run/redis.sock`.
    ///
    /// # Errors
    /// [`ConnectError::ConnectionString`].
    pub fn new(server: &ConnectionString) -> Result<Self, ConnectError> {
        // The parser's own error may repeat a part of the string.
        let unusable =
            |_| ConnectError::ConnectionString("the connection string of Redis has another form");
        let server = server.expose().into_connection_info().map_err(unusable)?;
        if matches!(server.addr(), ConnectionAddr::TcpTls { .. }) {
            return Err(ConnectError::ConnectionString(
                "`rediss` is not supported: use a local socket or an encrypted network",
            ));
        }
        // Commands are small, and somebody waits for each answer.
        let settings = server.tcp_settings().clone().set_nodelay(true);
        let server = server.set_tcp_settings(settings);
        Ok(Self {
            server: redis::Client::open(server).map_err(unusable)?,
            prefix: String::from("mpp:"),
            patience: Duration::from_secs(5),
            reread_every: REREAD_EVERY,
        })
    }

    /// What every key begins with. Default: `mpp:`.
    ///
    /// # Errors
    /// [`ConnectError::ConnectionString`] unless it consists of 1 to 64
    /// visible ASCII characters.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, ConnectError> {
        let visible = prefix.bytes().all(|byte| byte.is_ascii_graphic());
        if prefix.is_empty() || prefix.len() > 64 || !visible {
            return Err(ConnectError::ConnectionString(
                "a key prefix has 1 to 64 visible ASCII characters",
            ));
        }
        prefix.clone_into(&mut self.prefix);
        Ok(self)
    }

    /// How long an operation is tried again while the server is not usable,
    /// and how long one attempt may take. Default: 5 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Makes lost announcements last, so that a test notices them.
    #[cfg(test)]
    pub(super) fn reread_every(mut self, pause: Duration) -> Self {
        self.reread_every = pause;
        self
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<RedisConfig, ConnectError> {
        RedisConfig::new(&ConnectionString::new(text))
    }

    #[test]
    fn neither_debug_nor_an_error_shows_a_secret() {
        let good = config("redis://root:hunter2@localhost/0").unwrap();
        let bad = [
            "redis://root:hunter2@localhost/hunter2",
            "hunter2",
            "rediss://root:hunter2@localhost/0",
        ];
        let mut shown = format!("{good:?}");
        for text in bad {
            let error = config(text).unwrap_err();
            assert!(!error.is_transient());
            shown += &format!("{error} {error:?} {:?}", std::error::Error::source(&error));
        }
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_prefix_is_short_and_visible() {
        let long = "x".repeat(65);
        for (prefix, good) in [("mpp:", true), ("", false), ("a b", false), (&long, false)] {
            let config = config("redis://localhost").unwrap().prefix(prefix);
            assert_eq!(config.is_ok(), good, "{prefix}");
        }
    }
}
