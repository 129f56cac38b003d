//! `Idempotency-Key`: a request that must not be carried out twice.
//!
//! ```abnf
//! Idempotency-Key = sf-string / token
//! ```
//!
//! The draft's form is a structured-field string; deployed clients also send
//! the key bare. Both name the same key.

use alloc::string::String;
use core::fmt;

use super::HeaderError;

/// Bytes that a key may have, without its quotes and escapes.
pub const MAX_KEY: usize = 255;

/// The key that a client has chosen for one request.
///
/// `Debug` leaves it out: together with a voucher, whoever knows it could read
/// the answer that another request has paid for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the header's value.
    ///
    /// # Errors
    /// [`HeaderError::Syntax`] for an empty key and for anything that is
    /// neither a string nor a token, [`HeaderError::TooLarge`] beyond
    /// [`MAX_KEY`] bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use mpp_core::header::idempotency_key::IdempotencyKey;
    ///
    /// let quoted = IdempotencyKey::parse("\"order-7\"")?;
    /// assert_eq!(quoted, IdempotencyKey::parse("order-7")?);
    /// assert!(IdempotencyKey::parse("\"\"").is_err());
    /// # Ok::<(), mpp_core::header::HeaderError>(())
    /// ```
    pub fn parse(value: &str) -> Result<Self, HeaderError> {
        let value = value.trim_matches([' ', '\t']);
        // Every byte of a key takes at most two in a string.
        if value.len() > MAX_KEY.saturating_mul(2).saturating_add(2) {
            return Err(HeaderError::TooLarge);
        }
        let key = match value.strip_prefix('"') {
            Some(rest) => unquote(rest)?,
            None if value.bytes().all(is_token) => String::from(value),
            None => return Err(HeaderError::Syntax),
        };
        match key.len() {
            0 => Err(HeaderError::Syntax),
            length if length > MAX_KEY => Err(HeaderError::TooLarge),
            _ => Ok(Self(key)),
        }
    }

    /// Takes the key itself, as transports without headers carry it.
    ///
    /// # Errors
    /// [`HeaderError::Syntax`] for an empty key and for characters that a
    /// header could not carry, [`HeaderError::TooLarge`] beyond [`MAX_KEY`]
    /// bytes.
    pub fn from_text(text: &str) -> Result<Self, HeaderError> {
        match text.len() {
            0 => Err(HeaderError::Syntax),
            length if length > MAX_KEY => Err(HeaderError::TooLarge),
            _ if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
                Ok(Self(String::from(text)))
            }
            _ => Err(HeaderError::Syntax),
        }
    }

    /// The header's value, as a string in quotes.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut value = String::with_capacity(self.0.len().saturating_add(2));
        value.push('"');
        for character in self.0.chars() {
            if matches!(character, '"' | '\\') {
                value.push('\\');
            }
            value.push(character);
        }
        value.push('"');
        value
    }

    /// The key itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(..)")
    }
}

/// RFC 9651, 3.3.3: visible ASCII and blanks; only quote and backslash are escaped.
fn unquote(mut rest: &str) -> Result<String, HeaderError> {
    let mut text = String::with_capacity(rest.len());
    loop {
        let mut characters = rest.chars();
        match characters.next() {
            Some('"') if characters.as_str().is_empty() => return Ok(text),
            Some('\\') => match characters.next() {
                Some(escaped @ ('"' | '\\')) => text.push(escaped),
                _ => return Err(HeaderError::Syntax),
            },
            Some(plain @ ' '..='~') if plain != '"' => text.push(plain),
            _ => return Err(HeaderError::Syntax),
        }
        rest = characters.as_str();
    }
}

/// RFC 9110, 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bare_text_is_the_key_that_its_quoted_form_names() {
        for text in ["order-7", "say \"hi\" \\ bye", " x "] {
            let key = IdempotencyKey::from_text(text).unwrap();
            assert_eq!(key.as_str(), text);
            assert_eq!(IdempotencyKey::parse(&key.encode()).unwrap(), key);
        }
        assert_eq!(IdempotencyKey::from_text(""), Err(HeaderError::Syntax));
        assert_eq!(IdempotencyKey::from_text("a\nb"), Err(HeaderError::Syntax));
        assert_eq!(
            IdempotencyKey::from_text("\u{e9}"),
            Err(HeaderError::Syntax)
        );
        let long = "k".repeat(MAX_KEY + 1);
        assert_eq!(IdempotencyKey::from_text(&long), Err(HeaderError::TooLarge));
    }

    #[track_caller]
    fn check(value: &str, expected: Result<&str, HeaderError>) {
        let parsed = IdempotencyKey::parse(value);
        let key = parsed.as_ref().map(IdempotencyKey::as_str);
        match expected {
            Ok(expected) => assert_eq!(key.ok(), Some(expected), "{value}"),
            Err(_) => assert!(parsed.is_err(), "{value}"),
        }
    }

    #[test]
    fn strings_and_tokens_are_keys() {
        check(
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
            Ok("8e03978e-40d5-43dd-bc93-6894a57f9324"),
        );
        check("\"a b\"", Ok("a b"));
        check(" \"a\" ", Ok("a"));
        check(r#""a\"b\\c""#, Ok(r#"a"b\c"#));
        for broken in [
            "",
            "\"\"",
            "\"",
            "\"a",
            "a\"",
            "\"a\"b",
            r#""\a""#,
            "a b",
            "a,b",
            "\"a\"; q=1",
            "\"\u{e9}\"",
            "\"a\nb\"",
        ] {
            check(broken, Err(HeaderError::Syntax));
        }
    }

    // SECURITY-CASES A16: bounded.
    #[test]
    fn a_key_has_at_most_255_bytes() {
        let longest = "k".repeat(MAX_KEY);
        check(&longest, Ok(&longest));
        check(&format!("\"{longest}\""), Ok(&longest));
        check(&format!("{longest}k"), Err(HeaderError::TooLarge));
        check(&"k".repeat(100_000), Err(HeaderError::TooLarge));
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let key = IdempotencyKey::parse("hidden").unwrap();
        assert!(!format!("{key:?}").contains("hidden"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(text in "[ -~]{1,255}") {
            let key = IdempotencyKey(text);
            prop_assert_eq!(IdempotencyKey::parse(&key.encode()), Ok(key));
        }

        #[test]
        fn no_value_panics(value in "\\PC{0,40}") {
            drop(IdempotencyKey::parse(&value));
        }
    }
}
