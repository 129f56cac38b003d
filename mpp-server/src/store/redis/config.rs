//! Which Redis, and how it is used.

use std::{fmt, time::Duration};

use redis::{ConnectionAddr, IntoConnectionInfo, TlsCertificates};

use crate::store::shared::{ConnectError, ConnectionString, REREAD_EVERY, check_roots};

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
    /// Reads a connection string such as `rediss://user:password@host:6379/0`
    /// or `redis+unix:///run/redis.sock`.
    ///
    /// # Encryption
    /// With `rediss:` every connection is encrypted, and the server has to show
    /// a certificate for the host's name that leads to a trusted root: one that
    /// the operating system trusts, or one of
    /// [`root_certificates`](Self::root_certificates). With `redis:`
    /// connections are in plain text; it is for networks that nobody else is
    /// in.
    ///
    /// # Errors
    /// [`ConnectError::ConnectionString`].
    pub fn new(server: &ConnectionString) -> Result<Self, ConnectError> {
        // The parser's own error may repeat a part of the string.
        let unusable =
            |_| ConnectError::ConnectionString("the connection string of Redis has another form");
        let server = server.expose().into_connection_info().map_err(unusable)?;
        if let ConnectionAddr::TcpTls { insecure: true, .. } = server.addr() {
            return Err(ConnectError::ConnectionString(
                "`#insecure` would trust anybody: give the server's root certificate instead",
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

    /// Trusts these certificates, in PEM form, instead of those that the
    /// operating system trusts.
    ///
    /// # Errors
    /// [`ConnectError::ConnectionString`] when one can not be read, there is
    /// none, or connections are in plain text.
    pub fn root_certificates(mut self, pem: &[u8]) -> Result<Self, ConnectError> {
        if !self.is_encrypted() {
            return Err(ConnectError::ConnectionString(
                "there are root certificates, and connections are in plain text",
            ));
        }
        check_roots(pem)?;
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: Some(pem.into()),
        };
        let server = self.server.get_connection_info().clone();
        let server = redis::Client::build_with_tls(server, certificates);
        self.server = server.map_err(|_| {
            ConnectError::ConnectionString("the root certificates of Redis have another form")
        })?;
        Ok(self)
    }

    pub(super) fn is_encrypted(&self) -> bool {
        let server = self.server.get_connection_info();
        matches!(server.addr(), ConnectionAddr::TcpTls { .. })
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
            .field("encrypted", &self.is_encrypted())
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
            "rediss://root:hunter2@localhost/0#insecure",
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
    fn the_address_says_whether_connections_are_encrypted() {
        for (text, encrypted) in [
            ("redis://localhost", false),
            ("redis+unix:///run/redis.sock", false),
            ("rediss://localhost", true),
            ("valkeys://localhost", true),
        ] {
            let config = config(text).unwrap();
            assert_eq!(config.is_encrypted(), encrypted, "{text}");
            let refused = config.root_certificates(b"").unwrap_err().to_string();
            assert_eq!(!refused.contains("plain text"), encrypted, "{refused}");
        }
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
