//! Challenges: what a server asks a client to pay.

mod binding;
mod draft;
mod encoded_json;
mod form;
mod known;
mod secret;
mod template;
mod text;

use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

pub use self::binding::{BindingError, KeyRing};
pub use self::draft::ChallengeDraft;
pub use self::encoded_json::{EncodedJson, EncodedJsonError};
pub use self::form::ChallengeForm;
pub use self::known::KnownChallenge;
pub use self::secret::{SecretKey, SecretKeyError};
pub use self::template::{ChallengeTemplate, IssuedChallenge};
pub use self::text::ChallengeText;

use crate::ids::{ChallengeId, IntentName, MethodName, Realm};
use crate::time::Timestamp;

/// A challenge as it stands on the wire.
///
/// `expires` and `digest` stay text because the server's MAC covers their exact
/// characters; [`Challenge::expires_at`] and [`BodyDigest`](crate::BodyDigest)
/// read them. The serde form is the `challenge` object of a credential
/// (PROTOCOL.md section 1.2).
///
/// # Examples
///
/// ```
/// use mpp_core::{ExpiryError, Timestamp, header};
///
/// let value = r#"Payment id="a1", realm="shop", method="tempo", intent="charge",
///     request="eyJhbW91bnQiOiIxIn0", expires="2026-11-20T11:05:44Z""#;
/// let challenge = header::challenge::parse_all([value.replace('\n', " ").as_str()]).remove(0)?;
///
/// assert_eq!(challenge.method.as_str(), "tempo");
/// assert_eq!(challenge.request.decode_value()?["amount"], "1");
/// // The moment of expiry counts as expired.
/// let expires = challenge.expires_at()?;
/// assert_eq!(challenge.ensure_live(expires), Err(ExpiryError::Expired));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Identifies the challenge; for ours, the MAC over the other fields.
    pub id: ChallengeId,
    /// The protection space.
    pub realm: Realm,
    /// The payment method.
    pub method: MethodName,
    /// The payment intent.
    pub intent: IntentName,
    /// What is to be paid, in the terms of method and intent.
    pub request: EncodedJson,
    /// RFC 3339 time from which the challenge is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Digest of the request body this challenge is good for (RFC 9530).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Text for humans; not covered by the MAC and never a basis for payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The server's correlation data: a flat map of strings, returned unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<EncodedJson>,
    /// Where the credential goes; absent means `Authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<CredentialHeader>,
}

impl Challenge {
    /// The time from which the challenge is void.
    ///
    /// # Errors
    /// [`ExpiryError::Missing`] or [`ExpiryError::Malformed`]. Servers refuse
    /// both: a challenge without a readable end would be good forever
    /// (PROTOCOL.md section 1.1).
    pub fn expires_at(&self) -> Result<Timestamp, ExpiryError> {
        let text = self.expires.as_deref().ok_or(ExpiryError::Missing)?;
        Timestamp::parse(text).map_err(|_| ExpiryError::Malformed)
    }

    /// Checks that the challenge is still good at `now`; equal is expired.
    ///
    /// # Errors
    /// [`ExpiryError::Expired`], or the errors of [`Challenge::expires_at`].
    pub fn ensure_live(&self, now: Timestamp) -> Result<(), ExpiryError> {
        if now < self.expires_at()? {
            Ok(())
        } else {
            Err(ExpiryError::Expired)
        }
    }

    /// The correlation data in `opaque`; empty when there is none.
    ///
    /// # Errors
    /// [`EncodedJsonError`] when it is not a flat map of strings to strings.
    pub fn correlation(&self) -> Result<BTreeMap<String, String>, EncodedJsonError> {
        self.opaque
            .as_ref()
            .map_or_else(|| Ok(BTreeMap::new()), EncodedJson::decode)
    }
}

/// A header field other than `Authorization` that the credential goes into.
///
/// It is the value of the challenge parameter `header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CredentialHeader {
    /// `Payment-Authorization`, which leaves `Authorization` free for a normal token.
    #[serde(rename = "Payment-Authorization")]
    PaymentAuthorization,
}

impl CredentialHeader {
    /// Reads the value as it stands in a credential, where case counts.
    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        let known = Self::PaymentAuthorization;
        (name == known.as_str().as_bytes()).then_some(known)
    }

    /// The value of the challenge parameter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentAuthorization => "Payment-Authorization",
        }
    }
}

/// Why a challenge is not, or no longer, good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpiryError {
    /// It has no `expires`.
    #[error("challenge has no expiry")]
    Missing,
    /// Its `expires` is not RFC 3339.
    #[error("challenge has a malformed expiry")]
    Malformed,
    /// Its time has come.
    #[error("challenge has expired")]
    Expired,
}

#[cfg(test)]
mod tests;
