//! Which PostgreSQL, and how it is used.

use std::{fmt, time::Duration};

use tokio_postgres::config::{Host, SslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::options::{Mode, Options};
use crate::store::shared::{ConnectError, ConnectionString, Roots, trusting_nobody};

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
    /// Whom encrypted connections trust; `None`: they are in plain text.
    roots: Option<Roots>,
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
    /// # Encryption
    /// With `sslmode=require`, `verify-ca` or `verify-full` every connection is
    /// encrypted, and the server has to show a certificate for the host's name
    /// that leads to a trusted root: the three mean the same here. `disable`
    /// is plain text. Without `sslmode`, connections within this machine are in
    /// plain text, and all others as with `require`. `prefer` and `allow` are
    /// refused: they would fall back to plain text. Local sockets are never
    /// encrypted.
    ///
    /// Roots are those that the operating system trusts, or those of
    /// `sslrootcert`, a file in PEM form that is read here.
    ///
    /// # Errors
    /// [`ConnectError::ConnectionString`].
    pub fn new(server: &ConnectionString) -> Result<Self, ConnectError> {
        let options = Options::read(server.expose())?;
        // The parser's own error may repeat a part of the string.
        let parsed = options.rest.parse::<tokio_postgres::Config>();
        let mut server = parsed.map_err(|_| {
            ConnectError::ConnectionString("the connection string of PostgreSQL has another form")
        })?;
        let encrypted = encrypt(&mut server, options.mode)?;
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
        let config = Self {
            server,
            roots: encrypted.then(Roots::default),
            schema: String::from("mpp"),
            connections: 16,
            patience: Duration::from_secs(5),
            reread_every: crate::store::shared::REREAD_EVERY,
        };
        match options.roots.as_deref() {
            None | Some("system") => Ok(config),
            Some(path) => {
                let pem = std::fs::read(path).map_err(|_| {
                    ConnectError::ConnectionString("the file of `sslrootcert` can not be read")
                })?;
                config.root_certificates(&pem)
            }
        }
    }

    /// Trusts these certificates, in PEM form, instead of those that the
    /// operating system trusts.
    ///
    /// # Errors
    /// [`ConnectError::ConnectionString`] when one can not be read, there is
    /// none, or connections are in plain text.
    pub fn root_certificates(mut self, pem: &[u8]) -> Result<Self, ConnectError> {
        let Some(roots) = &mut self.roots else {
            return Err(ConnectError::ConnectionString(
                "there are root certificates, and connections are in plain text",
            ));
        };
        *roots = Roots::from_pem(pem)?;
        Ok(self)
    }

    /// What encrypts connections. Reads the operating system's roots.
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect, ConnectError> {
        let mut client = match &self.roots {
            Some(roots) => roots.client()?,
            None => trusting_nobody()?,
        };
        if self.server.get_ssl_negotiation() == SslNegotiation::Direct {
            client.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(MakeRustlsConnect::new(client))
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

/// Decides whether connections are encrypted, and tells the driver.
fn encrypt(server: &mut tokio_postgres::Config, mode: Option<Mode>) -> Result<bool, ConnectError> {
    if server.get_ssl_mode() != SslMode::Prefer {
        // A spelling that only the driver understands.
        return Err(ConnectError::ConnectionString(
            "the connection string of PostgreSQL has another form",
        ));
    }
    let encrypted = match mode {
        Some(Mode::Plain) => false,
        // Whoever reads along on a local socket reads along everywhere.
        _ if has_sockets_only(server) => false,
        Some(Mode::Verified) => true,
        None => !stays_here(server),
    };
    if encrypted && server.get_hosts().is_empty() {
        return Err(ConnectError::ConnectionString(
            "`host` is missing: the certificate has to name it",
        ));
    }
    server.ssl_mode(if encrypted {
        SslMode::Require
    } else {
        SslMode::Disable
    });
    Ok(encrypted)
}

fn has_sockets_only(server: &tokio_postgres::Config) -> bool {
    let hosts = server.get_hosts();
    let is_socket = |host: &Host| !matches!(host, Host::Tcp(_));
    !hosts.is_empty() && server.get_hostaddrs().is_empty() && hosts.iter().all(is_socket)
}

/// Whether all connections end on this machine.
fn stays_here(server: &tokio_postgres::Config) -> bool {
    let addresses = server.get_hostaddrs();
    if !addresses.is_empty() {
        return addresses.iter().all(std::net::IpAddr::is_loopback);
    }
    server.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            let address = name.parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    })
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("encrypted", &self.roots.is_some())
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
            "postgres://root:hunter2@localhost/test?sslmode=prefer",
            "postgres://root:hunter2@localhost/test?sslmode=require&sslrootcert=/hunter2",
        ];
        let mut shown = format!("{good:?}");
        for text in bad {
            let error = config(text).unwrap_err();
            assert!(!error.is_transient());
            shown += &format!("{error} {error:?} {:?}", std::error::Error::source(&error));
        }
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[track_caller]
    fn check_mode(text: &str, encrypted: bool) {
        let config = config(text).unwrap();
        let mode = match encrypted {
            true => SslMode::Require,
            false => SslMode::Disable,
        };
        assert_eq!(config.server.get_ssl_mode(), mode, "{text}");
        assert_eq!(config.roots.is_some(), encrypted, "{text}");
    }

    #[test]
    fn only_what_stays_on_this_machine_is_in_plain_text_unasked() {
        for here in [
            "postgres://localhost/d",
            "postgres://127.0.0.1/d",
            "postgres://[::1]:5433/d",
            "host=/run/postgresql",
            "host=/run/postgresql,localhost",
            "host=db.example hostaddr=127.0.0.7",
            "host=/run/postgresql sslmode=require",
            "postgres://db.example/d?sslmode=disable",
        ] {
            check_mode(here, false);
        }
        for elsewhere in [
            "postgres://db.example/d",
            "postgres://10.0.0.7/d",
            "postgres://localhost,db.example/d",
            "host=localhost hostaddr=10.0.0.7",
            "postgres://localhost/d?sslmode=require",
            "postgres://127.0.0.1/d?sslmode=verify-ca",
            "host=localhost sslmode=verify-full",
        ] {
            check_mode(elsewhere, true);
        }
        assert!(config("hostaddr=10.0.0.7").is_err(), "no name to verify");
    }

    #[test]
    fn roots_for_plain_text_are_a_mistake() {
        let plain = config("host=localhost").unwrap();
        let refused = plain.root_certificates(b"").unwrap_err().to_string();
        assert!(refused.contains("plain text"), "{refused}");
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
