//! What a connection string says about encryption.
//!
//! The driver knows neither how strictly a certificate is checked nor whose
//! certificates are trusted: both are taken out before it reads the rest.

use std::borrow::Cow;

use crate::store::shared::ConnectError;

const MALFORMED: ConnectError =
    ConnectError::ConnectionString("the connection string of PostgreSQL has another form");

/// A connection string in two parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// What the driver reads.
    pub(super) rest: String,
    /// Whether the connection is encrypted; `None`: it does not say.
    pub(super) mode: Option<Mode>,
    /// The file of the roots, or `system`.
    pub(super) roots: Option<String>,
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is not.
    Plain,
    /// It is, with a certificate that is trusted and names the host.
    Verified,
}

impl Mode {
    fn read(value: &str) -> Result<Self, ConnectError> {
        match value {
            "disable" => Ok(Self::Plain),
            "require" | "verify-ca" | "verify-full" => Ok(Self::Verified),
            "allow" | "prefer" => Err(ConnectError::ConnectionString(
                "`sslmode` would fall back to plain text: say `require`, or `disable`",
            )),
            _ => Err(ConnectError::ConnectionString(
                "`sslmode` is `disable`, `require`, `verify-ca` or `verify-full`",
            )),
        }
    }
}

impl Options {
    /// Takes a connection string apart.
    ///
    /// # Errors
    /// [`ConnectError::ConnectionString`].
    pub(super) fn read(text: &str) -> Result<Self, ConnectError> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Self::read_url(text)
        } else {
            Self::read_pairs(text)
        }
    }

    fn read_url(url: &str) -> Result<Self, ConnectError> {
        // A password may hold a question mark; the driver looks for `@` first.
        let behind_login = url.split_once('@').map_or(url, |(_, behind)| behind);
        let Some((_, query)) = behind_login.split_once('?') else {
            return Ok(Self {
                rest: url.into(),
                ..Self::default()
            });
        };
        let before = url.strip_suffix(query).unwrap_or(url);
        let mut options = Self::default();
        let mut kept = Vec::new();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !options.note(&decoded(key)?, &decoded(value)?)? {
                kept.push(pair);
            }
        }
        options.rest = [before, &kept.join("&")].concat();
        Ok(options)
    }

    fn read_pairs(mut text: &str) -> Result<Self, ConnectError> {
        let mut options = Self::default();
        let mut kept = Vec::new();
        loop {
            text = text.trim_start();
            if text.is_empty() {
                options.rest = kept.join(" ");
                return Ok(options);
            }
            let (key, behind) = text.split_once('=').ok_or(MALFORMED)?;
            let (value, behind) = value(behind.trim_start()).ok_or(MALFORMED)?;
            if !options.note(key.trim_end(), &value)? {
                kept.push(text.strip_suffix(behind).unwrap_or(text));
            }
            text = behind;
        }
    }

    /// Takes a parameter if it is about encryption. The last one counts.
    fn note(&mut self, key: &str, value: &str) -> Result<bool, ConnectError> {
        match key {
            "sslmode" => self.mode = Some(Mode::read(value)?),
            "sslrootcert" => self.roots = Some(value.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn decoded(text: &str) -> Result<Cow<'_, str>, ConnectError> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map_err(|_| MALFORMED)
}

/// A value, perhaps in quotes, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let mut chars = text.chars();
    let is_quoted = text.starts_with('\'');
    if is_quoted {
        chars.next();
    }
    let mut value = String::new();
    loop {
        let here = chars.as_str();
        match chars.next() {
            None => return (!is_quoted).then_some((value, here)),
            Some('\'') if is_quoted => return Some((value, chars.as_str())),
            Some(char) if !is_quoted && char.is_whitespace() => return Some((value, here)),
            Some('\\') => value.extend(chars.next()),
            Some(char) => value.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, rest: &str, mode: Option<Mode>, roots: Option<&str>) {
        let options = Options::read(text).unwrap();
        let roots = roots.map(String::from);
        let rest = rest.into();
        assert_eq!(options, Options { rest, mode, roots }, "{text}");
        // What is left is the driver's.
        let parsed = options.rest.parse::<tokio_postgres::Config>();
        assert!(parsed.is_ok(), "{}", options.rest);
    }

    #[test]
    fn what_is_about_encryption_is_taken_out() {
        use Mode::{Plain, Verified};
        check("postgres://h/d", "postgres://h/d", None, None);
        check(
            "postgres://u:p@h/d?sslmode=verify-full",
            "postgres://u:p@h/d?",
            Some(Verified),
            None,
        );
        check(
            "postgresql://h/d?a%70plication_name=x&sslmode=disable&connect_timeout=3",
            "postgresql://h/d?a%70plication_name=x&connect_timeout=3",
            Some(Plain),
            None,
        );
        check(
            "postgres://u:p?sslmode=disable@h/d?sslrootcert=%2Fetc%2Fr%20t.pem",
            "postgres://u:p?sslmode=disable@h/d?",
            None,
            Some("/etc/r t.pem"),
        );
        check("host=h  user=u", "host=h user=u", None, None);
        check(
            "host = h sslmode = 'require' sslrootcert='/etc/r t.pem' user=u",
            "host = h user=u",
            Some(Verified),
            Some("/etc/r t.pem"),
        );
        check(
            r"host=h password='it\'s sslmode=disable'sslmode=verify-ca",
            r"host=h password='it\'s sslmode=disable'",
            Some(Verified),
            None,
        );
        // The last one counts, as everywhere else.
        check(
            "host=h sslmode=disable sslmode=require",
            "host=h",
            Some(Verified),
            None,
        );
    }

    #[test]
    fn what_may_fall_back_is_refused() {
        for mode in ["prefer", "allow", "Require", "no-verify", ""] {
            for text in [
                format!("postgres://h/d?sslmode={mode}"),
                format!("host=h sslmode='{mode}'"),
            ] {
                assert!(Options::read(&text).is_err(), "{text}");
            }
        }
        for text in ["host", "host='h", "postgres://h/d?sslmode=%ff"] {
            assert!(Options::read(text).is_err(), "{text}");
        }
    }
}
