//! `Payment-Receipt`: receipts.
//!
//! ```abnf
//! Payment-Receipt = base64url-nopad
//! ```

use alloc::string::String;

use super::HeaderError;
use super::limits::MAX_CREDENTIAL;
use crate::encoding::base64url;
use crate::receipt::Receipt;

/// Writes a receipt as a header value.
#[must_use]
pub fn encode(receipt: &Receipt) -> String {
    base64url::encode(receipt.to_json().as_bytes())
}

/// Reads a receipt; padding and the standard alphabet are accepted.
///
/// # Errors
/// [`HeaderError::TooLarge`] before decoding, [`HeaderError::Base64`], or
/// [`HeaderError::Receipt`].
pub fn parse(value: &str) -> Result<Receipt, HeaderError> {
    let value = value.trim_matches([' ', '\t']);
    if value.len() > MAX_CREDENTIAL {
        return Err(HeaderError::TooLarge);
    }
    Ok(Receipt::from_json(&base64url::decode(value)?)?)
}

#[cfg(test)]
mod tests;
