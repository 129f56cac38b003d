//! `Payment-Session` and `Payment-Session-Snapshot`: resuming a channel.
//!
//! ```abnf
//! Payment-Session          = "0x" 64HEXDIG
//! Payment-Session-Snapshot = base64url-nopad
//! ```

use alloc::string::String;

use serde_json::Value;

use super::HeaderError;
use super::limits::MAX_CREDENTIAL;
use crate::encoding::{base64url, json};

/// Reads a channel id and writes it in lower case: 0x and 64 hex digits.
///
/// The same form goes back into the field, so there is no encoder.
///
/// # Errors
/// [`HeaderError::Syntax`] for every other form.
pub fn parse_channel(value: &str) -> Result<String, HeaderError> {
    let value = value.trim_matches([' ', '\t']);
    let digits = value.strip_prefix("0x").ok_or(HeaderError::Syntax)?;
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(HeaderError::Syntax);
    }
    Ok(value.to_ascii_lowercase())
}

/// Writes a snapshot as a header value.
///
/// Deployed peers read base64url without padding (mppx) or standard base64 with padding (the
/// crate mpp). Blanks at the end of the JSON text make the padding empty, and the two alphabets
/// differ only where a snapshot has no characters, so that the value is right for both.
///
/// ```
/// use mpp_core::header::session::{encode_snapshot, parse_snapshot};
///
/// let snapshot = serde_json::json!({"channelId": "0xe8d5", "spent": "2000"});
/// assert_eq!(parse_snapshot(&encode_snapshot(&snapshot))?, snapshot);
/// # Ok::<(), mpp_core::header::HeaderError>(())
/// ```
#[must_use]
pub fn encode_snapshot(snapshot: &Value) -> String {
    let mut text = json::to_text(snapshot);
    while !text.len().is_multiple_of(3) {
        text.push(' ');
    }
    base64url::encode(text.as_bytes())
}

/// Reads a snapshot; peers write padded standard base64, which is accepted.
///
/// The content is what the server claims: clients verify the channel id and
/// their own signature before they use it (PROTOCOL.md section 5.8).
///
/// # Errors
/// [`HeaderError::TooLarge`] before decoding, [`HeaderError::Base64`], or
/// [`HeaderError::Json`] when it is not a strict JSON object.
pub fn parse_snapshot(value: &str) -> Result<Value, HeaderError> {
    let value = value.trim_matches([' ', '\t']);
    if value.len() > MAX_CREDENTIAL {
        return Err(HeaderError::TooLarge);
    }
    let snapshot = json::parse(&base64url::decode(value)?)?;
    if snapshot.is_object() {
        Ok(snapshot)
    } else {
        Err(json::JsonError::Shape.into())
    }
}

#[cfg(test)]
mod tests;
