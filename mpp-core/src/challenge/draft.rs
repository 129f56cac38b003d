//! A challenge before it has an id.

use alloc::string::String;

use super::{CredentialHeader, EncodedJson};
use crate::digest::BodyDigest;
use crate::ids::{IntentName, MethodName, Realm};
use crate::time::Timestamp;

/// The contents of a challenge that a [`KeyRing`](super::KeyRing) is about to bind.
///
/// ```
/// use core::time::Duration;
/// use mpp_core::{ChallengeDraft, EncodedJson, IntentName, MethodName, Realm, Timestamp};
///
/// let now = Timestamp::from_secs(1_795_172_444);
/// let mut draft = ChallengeDraft::new(
///     Realm::new("api.example.com")?,
///     MethodName::tempo(),
///     IntentName::session(),
///     EncodedJson::from_value(&serde_json::json!({"amount": "1000"}))?,
/// )
/// .with_description("one word of a poem");
/// draft.expires = now.checked_add(Duration::from_secs(300));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeDraft {
    /// The protection space, from configuration.
    pub realm: Realm,
    /// The payment method.
    pub method: MethodName,
    /// The payment intent.
    pub intent: IntentName,
    /// What is to be paid.
    pub request: EncodedJson,
    /// When the challenge becomes void; servers always set it.
    pub expires: Option<Timestamp>,
    /// The request body the challenge is good for.
    pub digest: Option<BodyDigest>,
    /// Text for humans.
    pub description: Option<String>,
    /// Correlation data: a flat map of strings to strings.
    pub opaque: Option<EncodedJson>,
    /// Where the credential goes, if not into `Authorization`.
    pub header: Option<CredentialHeader>,
}

impl ChallengeDraft {
    /// A draft with the required parameters only.
    #[must_use]
    pub const fn new(
        realm: Realm,
        method: MethodName,
        intent: IntentName,
        request: EncodedJson,
    ) -> Self {
        Self {
            realm,
            method,
            intent,
            request,
            expires: None,
            digest: None,
            description: None,
            opaque: None,
            header: None,
        }
    }

    /// Sets the time from which the challenge is void.
    #[must_use]
    pub const fn with_expires(mut self, expires: Timestamp) -> Self {
        self.expires = Some(expires);
        self
    }

    /// Binds the challenge to a request body.
    #[must_use]
    pub const fn with_digest(mut self, digest: BodyDigest) -> Self {
        self.digest = Some(digest);
        self
    }

    /// Sets the text for humans.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets the correlation data.
    #[must_use]
    pub fn with_opaque(mut self, opaque: EncodedJson) -> Self {
        self.opaque = Some(opaque);
        self
    }

    /// Asks for the credential in another header field than `Authorization`.
    #[must_use]
    pub const fn with_header(mut self, header: CredentialHeader) -> Self {
        self.header = Some(header);
        self
    }
}
