//! Credentials: what a client sends to pay.

mod reader;

pub(crate) use self::reader::Place;
pub use self::reader::{CredentialReader, CredentialText, FormedText, KnownText, Proof};

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::challenge::Challenge;
use crate::encoding::json::{self, JsonError};

/// The members of a challenge that a credential must echo.
const REQUIRED: [&str; 5] = ["id", "realm", "method", "intent", "request"];

/// A payment proof and the challenge it answers.
///
/// The JSON form is PROTOCOL.md section 1.2; unknown members are ignored.
/// `Debug` leaves the proof out, because whoever reads a log could spend it.
///
/// # Examples
///
/// ```
/// use mpp_core::Credential;
///
/// let json = br#"{
///     "challenge": {"id": "a1", "realm": "shop", "method": "tempo", "intent": "charge",
///                   "request": "eyJhbW91bnQiOiIxIn0"},
///     "payload": {"type": "hash", "hash": "0x1e66"},
///     "source": "did:pkh:eip155:42431:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"
/// }"#;
/// let credential = Credential::from_json(json)?;
/// assert_eq!(credential.payload["type"], "hash");
/// assert!(!format!("{credential:?}").contains("0x1e66"));
/// # Ok::<(), mpp_core::CredentialError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Credential {
    /// The challenge as the server issued it.
    pub challenge: Challenge,
    /// The proof: a JSON object in the terms of method and intent.
    pub payload: Value,
    /// Who pays, usually a `did:pkh` identifier (see [`DidPkh`](crate::DidPkh)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Credential {
    /// A credential without a source.
    #[must_use]
    pub const fn new(challenge: Challenge, payload: Value) -> Self {
        Self {
            challenge,
            payload,
            source: None,
        }
    }

    /// Names the payer.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Writes the JSON form, `challenge` first.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::to_text(self)
    }

    /// Reads the JSON form, strictly; the caller has bounded its size.
    ///
    /// # Errors
    /// [`CredentialError`] for JSON that is not strict, and for missing or
    /// mistyped members; `request` and `opaque` must be base64url strings.
    pub fn from_json(text: &[u8]) -> Result<Self, CredentialError> {
        Self::from_value(json::parse(text)?)
    }

    /// Reads the JSON form from a value that was parsed strictly.
    ///
    /// # Errors
    /// [`CredentialError`] for missing or mistyped members.
    pub fn from_value(value: Value) -> Result<Self, CredentialError> {
        #[derive(Deserialize)]
        struct Wire {
            challenge: Challenge,
            payload: Value,
            #[serde(default)]
            source: Option<String>,
        }
        let echoed = value
            .get("challenge")
            .ok_or(CredentialError::Missing("challenge"))?;
        if let Some(name) = REQUIRED.into_iter().find(|name| echoed.get(name).is_none()) {
            return Err(CredentialError::Missing(name));
        }
        match value.get("payload") {
            None => return Err(CredentialError::Missing("payload")),
            Some(payload) if !payload.is_object() => return Err(CredentialError::Payload),
            Some(_) => {}
        }
        let Wire {
            challenge,
            payload,
            source,
        } = serde_json::from_value(value).map_err(|_| CredentialError::Member)?;
        Ok(Self {
            challenge,
            payload,
            source,
        })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("challenge", &self.challenge)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Why a text is not a credential. No variant quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// It is not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A required member is missing.
    #[error("credential lacks the member `{0}`")]
    Missing(&'static str),
    /// The payload is not an object.
    #[error("credential payload is not an object")]
    Payload,
    /// A member has the wrong type or breaks its grammar.
    #[error("credential has a malformed member")]
    Member,
}

#[cfg(test)]
mod tests;
