//! `Payment-Receipt`: receipts.
//!
//! ```abnf
//! Payment-Receipt = base64url-nopad
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use super::HeaderError;
use super::limits::MAX_CREDENTIAL;
use crate::encoding::base64url;
use crate::receipt::{Receipt, SessionReceiptText};

/// Room for the JSON of a session receipt with a transaction.
const USUAL_BYTES: usize = 512;

/// Writes a receipt as a header value.
#[must_use]
pub fn encode(receipt: &Receipt) -> String {
    match receipt {
        Receipt::Charge(_) => base64url::encode(receipt.to_json().as_bytes()),
        Receipt::Session(receipt) => {
            let mut json = Vec::with_capacity(USUAL_BYTES);
            SessionReceiptText::from(receipt).write_json(&mut json);
            base64url::encode(&json)
        }
    }
}

/// Writes session receipts into reused buffers.
#[derive(Debug, Default)]
pub struct ReceiptWriter {
    json: Vec<u8>,
}

impl ReceiptWriter {
    /// Appends a receipt's header value to `out`: the bytes of [`encode`].
    ///
    /// Does not allocate once the buffers have grown to the size of a receipt.
    pub fn write(&mut self, receipt: &SessionReceiptText<'_>, out: &mut String) {
        self.json.clear();
        receipt.write_json(&mut self.json);
        base64url::encode_to(&self.json, out);
    }
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
