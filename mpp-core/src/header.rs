//! Codecs of the HTTP header fields, one file per field.
//!
//! Everything here works on text. HTTP libraries hand out bytes: turn them into
//! text with [`decode_bytes`]. What the encoders write is always visible ASCII,
//! whatever it contains, so it can go into a header as it is: characters beyond
//! ASCII travel as `\uXXXX` (UTF-16 units) inside quoted strings, as deployed
//! peers write and read them (PROTOCOL.md section 1).

mod auth_params;
mod cursor;
mod error;

pub mod accept_payment;
pub mod challenge;
pub mod credential;
pub mod idempotency_key;
pub mod limits;
pub mod names;
pub mod receipt;
pub mod session;

use alloc::borrow::Cow;
use alloc::string::String;

pub use self::error::HeaderError;

/// Turns the bytes of a header value into text.
///
/// UTF-8 is taken as such; anything else is Latin-1, which is what the bytes of
/// HTTP header fields historically mean.
///
/// ```
/// use mpp_core::header::decode_bytes;
///
/// assert_eq!(decode_bytes(b"caf\xc3\xa9"), "caf\u{e9}");
/// assert_eq!(decode_bytes(b"caf\xe9"), "caf\u{e9}");
/// ```
#[must_use]
pub fn decode_bytes(value: &[u8]) -> Cow<'_, str> {
    match core::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.iter().copied().map(char::from).collect::<String>()),
    }
}

#[cfg(test)]
mod tests;
