//! JSON inside base64url, kept as the text that came over the wire.

use alloc::string::String;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::encoding::base64url::{self, DecodeError};
use crate::encoding::jcs::{self, JcsError};
use crate::encoding::json::{self, JsonError};
use crate::header::limits::MAX_REQUEST;

/// A JSON value in base64url, exactly as it stands on the wire.
///
/// The characters are kept because the MAC of a challenge covers them. The text
/// is at most [`MAX_REQUEST`] bytes and in the base64 alphabet; the JSON inside
/// is read on demand, strictly.
///
/// # Examples
///
/// ```
/// use mpp_core::EncodedJson;
///
/// let request = EncodedJson::from_value(&serde_json::json!({"amount": "1000000"}))?;
/// assert_eq!(request.as_str(), "eyJhbW91bnQiOiIxMDAwMDAwIn0");
/// assert_eq!(request.decode_value()?["amount"], "1000000");
/// # Ok::<(), mpp_core::EncodedJsonError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EncodedJson(String);

impl EncodedJson {
    /// Encodes a value as canonical JSON in base64url.
    ///
    /// # Errors
    /// [`EncodedJsonError::Canonical`] when the value has no canonical form,
    /// [`EncodedJsonError::TooLarge`] when the text exceeds [`MAX_REQUEST`].
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodedJsonError> {
        Self::from_wire(base64url::encode(jcs::to_string(value)?.as_bytes()))
    }

    /// Takes a text from the wire without decoding it.
    ///
    /// # Errors
    /// [`EncodedJsonError::TooLarge`] beyond [`MAX_REQUEST`] bytes,
    /// [`EncodedJsonError::Base64`] when it is empty or not base64 text.
    pub fn from_wire(text: String) -> Result<Self, EncodedJsonError> {
        if text.len() > MAX_REQUEST {
            return Err(EncodedJsonError::TooLarge);
        }
        if text.is_empty() || !text.bytes().all(is_base64) {
            return Err(EncodedJsonError::Base64(DecodeError));
        }
        Ok(Self(text))
    }

    /// The text on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Decodes into a type.
    ///
    /// # Errors
    /// [`EncodedJsonError`] when the text is not base64, not strict JSON, or
    /// not the shape of the type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, EncodedJsonError> {
        serde_json::from_value(self.decode_value()?).map_err(|error| EncodedJsonError::Shape {
            reason: alloc::format!("{error}"),
        })
    }

    /// Decodes into a JSON value.
    ///
    /// # Errors
    /// [`EncodedJsonError`] when the text is not base64 or not strict JSON.
    pub fn decode_value(&self) -> Result<Value, EncodedJsonError> {
        Ok(json::parse(&base64url::decode(&self.0)?)?)
    }
}

impl Serialize for EncodedJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EncodedJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_wire(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Why a text is not JSON in base64url, or a value can not become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodedJsonError {
    /// The text is longer than [`MAX_REQUEST`] bytes.
    #[error("encoded JSON is too large")]
    TooLarge,
    /// The text is not base64url.
    #[error(transparent)]
    Base64(#[from] DecodeError),
    /// The decoded bytes are not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The JSON is not what the type expects.
    #[error("unexpected JSON: {reason}")]
    Shape {
        /// What is wrong, for people; it may quote the value.
        reason: String,
    },
    /// The value to encode has no canonical form.
    #[error(transparent)]
    Canonical(#[from] JcsError),
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests;
