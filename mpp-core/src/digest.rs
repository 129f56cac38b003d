//! The digest that binds a challenge to the body of its request (RFC 9530).

use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::encoding::base64url;

/// The SHA-256 digest of a request body.
///
/// The text form is `sha-256=:<base64>:`; reading also takes the bare
/// `sha-256=<base64>` that deployed peers emit (PROTOCOL.md section 1.1).
///
/// # Examples
///
/// ```
/// use mpp_core::BodyDigest;
///
/// let digest = BodyDigest::of(br#"{"amount":"1000"}"#);
/// assert_eq!(digest.to_string(), "sha-256=:Bxp4xJtbVfsB9npD5AEWUnIk76Cuv8Au4ECDA+F0biY=:");
/// assert!(digest.matches(b"another body").is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BodyDigest([u8; 32]);

impl BodyDigest {
    /// The digest of a body.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }

    /// Checks that a body is the one that was digested.
    ///
    /// # Errors
    /// [`DigestMismatch`] when it is another body.
    pub fn matches(&self, body: &[u8]) -> Result<(), DigestMismatch> {
        if Self::of(body) == *self {
            Ok(())
        } else {
            Err(DigestMismatch)
        }
    }
}

impl fmt::Display for BodyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha-256=:{}:", STANDARD.encode(self.0))
    }
}

impl FromStr for BodyDigest {
    type Err = DigestParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (algorithm, value) = text.split_once('=').ok_or(DigestParseError::Malformed)?;
        if !algorithm.eq_ignore_ascii_case("sha-256") {
            return Err(DigestParseError::UnknownAlgorithm);
        }
        let encoded = match value.strip_prefix(':') {
            Some(item) => item.strip_suffix(':').ok_or(DigestParseError::Malformed)?,
            None => value,
        };
        base64url::decode(encoded)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(DigestParseError::Malformed)
    }
}

/// The request body is not the one the challenge was issued for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request body does not match the digest of the challenge")]
pub struct DigestMismatch;

/// Why a text is not a body digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestParseError {
    /// The algorithm is not SHA-256.
    #[error("digest algorithm is not sha-256")]
    UnknownAlgorithm,
    /// The text is not `sha-256=` and the base64 of 32 bytes.
    #[error("malformed body digest")]
    Malformed,
}

#[cfg(test)]
mod tests;
