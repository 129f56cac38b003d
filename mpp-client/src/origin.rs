//! Where a request goes: the origin that is paid, and the path whose challenge is good.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::policy::PolicyViolation;

/// Who is paid: what a payee and a channel belong to.
///
/// For a web server that is scheme, host and port; it displays as
/// `https://host:port`, the port always written out. A local process has a
/// name; it displays as `stdio:name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Kind);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Web {
        https: bool,
        host: String,
        loopback: bool,
        port: u16,
    },
    Process(String),
}

impl Origin {
    /// The origin of an `http` or `https` URL.
    ///
    /// # Errors
    /// [`PolicyViolation::UnsupportedUrl`] for other schemes, for URLs without a host, and for
    /// URLs with a user name or password, which would leave with every request.
    pub fn of(url: &Url) -> Result<Self, PolicyViolation> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(PolicyViolation::UnsupportedUrl),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(PolicyViolation::UnsupportedUrl);
        }
        let host = url.host().ok_or(PolicyViolation::UnsupportedUrl)?;
        let port = url
            .port_or_known_default()
            .ok_or(PolicyViolation::UnsupportedUrl)?;
        Ok(Self(Kind::Web {
            https,
            loopback: is_loopback(&host),
            host: host.to_string(),
            port,
        }))
    }

    /// The origin of a program on this machine that is talked to over pipes.
    ///
    /// The name is the client's own: it tells one program from another, and
    /// the channel that was opened for one is used for no other.
    ///
    /// # Errors
    /// [`PolicyViolation::UnsupportedUrl`] for an empty name.
    pub fn process(name: &str) -> Result<Self, PolicyViolation> {
        if name.is_empty() {
            return Err(PolicyViolation::UnsupportedUrl);
        }
        Ok(Self(Kind::Process(name.to_owned())))
    }

    /// The host as it stands in the URL, a lower-case name or an address;
    /// `None` for a process.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match &self.0 {
            Kind::Web { host, .. } => Some(host),
            Kind::Process(_) => None,
        }
    }

    /// Whether nobody between here and there can read what is sent: the
    /// connection is encrypted, or stays on this machine.
    #[must_use]
    pub const fn is_private(&self) -> bool {
        match &self.0 {
            Kind::Web {
                https, loopback, ..
            } => *https || *loopback,
            Kind::Process(_) => true,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Web {
                https, host, port, ..
            } => {
                let scheme = if *https { "https" } else { "http" };
                write!(f, "{scheme}://{host}:{port}")
            }
            Kind::Process(name) => write!(f, "stdio:{name}"),
        }
    }
}

/// An origin and a path, or the name of an operation: what the scope of a
/// challenge covers (PROTOCOL 5.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    /// The server.
    pub origin: Origin,
    /// The path of the resource, without the query.
    pub path: String,
}

impl Site {
    /// The site of a URL.
    ///
    /// # Errors
    /// As [`Origin::of`].
    pub fn of(url: &Url) -> Result<Self, PolicyViolation> {
        Ok(Self {
            origin: Origin::of(url)?,
            path: url.path().to_owned(),
        })
    }

    /// An operation that a server offers beside others, as in MCP.
    #[must_use]
    pub fn operation(origin: Origin, name: impl Into<String>) -> Self {
        Self {
            origin,
            path: name.into(),
        }
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => IpAddr::from(*address).to_canonical().is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn origin(url: &str) -> Origin {
        Origin::of(&Url::parse(url).unwrap()).unwrap()
    }

    #[test]
    fn default_ports_are_part_of_the_origin() {
        assert_eq!(
            origin("https://a.example/x"),
            origin("https://A.example:443/y?z")
        );
        assert_eq!(
            origin("http://a.example").to_string(),
            "http://a.example:80"
        );
        assert_ne!(
            origin("https://a.example"),
            origin("https://a.example:8443")
        );
        assert_ne!(origin("https://a.example:80"), origin("http://a.example"));
    }

    // SECURITY-CASES A19: only real loopback hosts count as such.
    #[test]
    fn loopback_is_recognized_and_not_imitated() {
        for url in [
            "http://localhost:1",
            "http://127.0.0.1",
            "http://127.9.9.9",
            "http://[::1]:9",
            "http://[::ffff:127.0.0.1]",
            "http://0x7f.1",
        ] {
            assert!(origin(url).is_private(), "{url}");
        }
        for url in [
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://10.0.0.1",
            "http://[::2]",
            "http://0.0.0.0",
        ] {
            assert!(!origin(url).is_private(), "{url}");
        }
    }

    #[test]
    fn urls_that_can_not_be_paid_are_refused() {
        for url in ["ftp://a.example", "data:,x", "https://user:pass@a.example/"] {
            let refused = Origin::of(&Url::parse(url).unwrap());
            assert_eq!(refused, Err(PolicyViolation::UnsupportedUrl), "{url}");
        }
    }

    #[test]
    fn a_process_is_no_web_server() {
        let process = Origin::process("https://a.example:443").unwrap();
        assert_eq!(process.to_string(), "stdio:https://a.example:443");
        assert!(process.is_private());
        assert_eq!(process.host(), None);
        assert_ne!(process, origin("https://a.example"));
        assert!(Origin::process("").is_err());
    }

    #[test]
    fn a_site_leaves_the_query_out() {
        let with = Site::of(&Url::parse("https://a.example/p?q=1").unwrap()).unwrap();
        let without = Site::of(&Url::parse("https://a.example/p").unwrap()).unwrap();
        assert_eq!(with, without);
    }
}
