//! Which PostgreSQL, and how it is used.

use std::{fmt, time::Duration};

use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use crate::store::shared::{ConnectError, ConnectionString};

/// A name is quoted nowhere: only names that need no quotes are accepted.
const LONGEST_SCHEMA: usize = 40;
/// A connection that says nothing for so long is looked after.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Where and how a [`PostgresStore`](super::PostgresStore) keeps its data.
///
/// `Debug` shows no part of the connection string.
#[derive(Clone)]
pub struct PostgresConfig {
    pub(super) server: tokio_postgres::Config,
    pub(super) schema: String,
    pub(super) connections: usize,
    pub(super) patience: Duration,
    pub(super) reread_every: Duration,
}

impl PostgresConfig {
    /// Reads a connection string, as a URL or as `key=value` pairs.
    ///
    /// Several hosts may be named: the one that accepts writes is used.
    ///
    /// # Errors
    /// [`ConnectError::ConnectionString`].
    pub fn new(server: &ConnectionString) -> Result<Self, ConnectError> {
        // The parser's own error may repeat a part of the string.
        let parsed = server.expose().parse::<tokio_postgres::Config>();
        let mut server = parsed.map_err(|_| {
            ConnectError::ConnectionString("the connection string of PostgreSQL has another form")
        })?;
        if server.get_ssl_mode() == SslMode::Require {
            return Err(ConnectError::ConnectionString(
                "`sslmode=require` is not supported: use a local socket or an encrypted network",
            ));
        }
        if server.get_application_name().is_none() {
            server.application_name("mpp-server");
        }
        if server.get_connect_timeout().is_none() {
            server.connect_timeout(Duration::from_secs(5));
        }
        server.keepalives_idle(server.get_keepalives_idle().min(KEEPALIVE));
        if server.get_tcp_user_timeout().is_none() {
            server.tcp_user_timeout(KEEPALIVE);
        }
        if server.get_hosts().len() > 1 {
            server.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self {
            server,
            schema: String::from("mpp"),
            connections: 16,
            patience: Duration::from_secs(5),
            reread_every: crate::store::shared::REREAD_EVERY,
        })
    }

    /// The schema of the tables. Default: `mpp`.
    ///
    /// # Errors
    /// [`ConnectError::ConnectionString`] unless it consists of at most 40
    /// lower-case letters, digits and underscores and begins with a letter.
    pub fn schema(mut self, name: &str) -> Result<Self, ConnectError> {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
        if !begins || name.len() > LONGEST_SCHEMA || !name.bytes().all(plain) {
            return Err(ConnectError::ConnectionString(
                "a schema is named with at most 40 of a-z, 0-9 and _, a letter first",
            ));
        }
        name.clone_into(&mut self.schema);
        Ok(self)
    }

    /// How many connections are open at most, besides the one that listens.
    /// Default: 16.
    ///
    /// Commits on different connections share one flush of the server's log.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
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

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<PostgresConfig, ConnectError> {
        PostgresConfig::new(&ConnectionString::new(text))
    }

    #[test]
    fn neither_debug_nor_an_error_shows_a_secret() {
        let good = config("postgres://root:hunter2@localhost/test").unwrap();
        let bad = [
            "postgres://root:hunter2@localhost/test?hunter2=hunter2",
            "host=localhost hunter2=hunter2",
            "postgres://root:hunter2@localhost:hunter2/test",
            "postgres://root:hunter2@localhost/test?sslmode=require",
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
    fn a_schema_needs_no_quotes() {
        for (name, good) in [
            ("mpp", true),
            ("mpp_2", true),
            ("", false),
            ("2mpp", false),
            ("Mpp", false),
            ("mpp; DROP TABLE x", false),
            ("a23456789012345678901234567890123456789012", false),
        ] {
            let config = config("host=localhost").unwrap().schema(name);
            assert_eq!(config.is_ok(), good, "{name}");
        }
    }
}
