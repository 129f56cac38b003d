//! Names and identifiers of the protocol, validated once.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::encoding::base64url;

/// Defines a string newtype whose only way in is its validating constructor.
macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $valid:path, $error:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Cow<'static, str>);

        impl $name {
            /// Validates the text.
            ///
            /// # Errors
            /// [`IdError`] when the text breaks the grammar of the type.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                if $valid(&text) { Ok(Self(Cow::Owned(text))) } else { Err($error) }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    };
}

string_id!(
    /// The `id` of a challenge: any non-empty text without control characters.
    ///
    /// Challenges of this implementation carry the base64url form of their MAC
    /// (PROTOCOL.md section 1.1); other servers may use something else.
    ChallengeId,
    is_plain_text,
    IdError::ChallengeId
);
string_id!(
    /// The protection space of a challenge, usually a host name.
    ///
    /// It comes from configuration, never from a request. The character `|` is
    /// refused because it separates the fields under the challenge's MAC.
    Realm,
    is_realm,
    IdError::Realm
);
string_id!(
    /// The name of a payment method: lower-case ASCII letters.
    MethodName,
    is_method,
    IdError::Method
);
string_id!(
    /// The name of a payment intent: ASCII letters, digits and hyphens.
    IntentName,
    is_intent,
    IdError::Intent
);

impl ChallengeId {
    /// The id that a MAC makes: 43 base64url characters.
    pub(crate) fn from_mac(mac: &[u8; 32]) -> Self {
        Self(Cow::Owned(base64url::encode(mac)))
    }

    /// The same, from the characters.
    pub(crate) fn from_mac_text(text: &str) -> Self {
        Self(Cow::Owned(String::from(text)))
    }
}

impl MethodName {
    /// The method `tempo`.
    #[must_use]
    pub const fn tempo() -> Self {
        Self(Cow::Borrowed("tempo"))
    }
}

impl IntentName {
    /// The intent `charge`: one payment for one request.
    #[must_use]
    pub const fn charge() -> Self {
        Self(Cow::Borrowed("charge"))
    }

    /// The intent `session`: vouchers over a payment channel.
    #[must_use]
    pub const fn session() -> Self {
        Self(Cow::Borrowed("session"))
    }
}

/// Why a text is not a name of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The challenge id is empty or has control characters.
    #[error("challenge id is empty or has control characters")]
    ChallengeId,
    /// The realm is empty, or has control characters or a vertical bar.
    #[error("realm is empty or has control characters or a vertical bar")]
    Realm,
    /// The method name is not `[a-z]+`.
    #[error("method name is not made of lower-case letters")]
    Method,
    /// The intent name is not `[A-Za-z0-9-]+`.
    #[error("intent name is not made of letters, digits and hyphens")]
    Intent,
}

fn is_plain_text(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

fn is_realm(text: &str) -> bool {
    is_plain_text(text) && !text.contains('|')
}

fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn is_intent(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests;
