//! The secret under the challenge binding.

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

/// The shortest secret that is accepted, in bytes.
const MIN_BYTES: usize = 32;

/// Parts of texts that people leave in configuration templates.
const PLACEHOLDERS: [&[u8]; 7] = [
    b"changeme",
    b"change-me",
    b"change_me",
    b"your-secret",
    b"your_secret",
    b"placeholder",
    b"replace-me",
];

/// A server secret of at least 32 bytes; wiped when dropped, never printed.
///
/// # Examples
///
/// ```
/// use mpp_core::{SecretKey, SecretKeyError};
///
/// assert_eq!(SecretKey::from_bytes(b"short").unwrap_err(), SecretKeyError::TooShort);
/// assert_eq!(SecretKey::from_bytes(&[0; 32]).unwrap_err(), SecretKeyError::WellKnown);
///
/// let secret = SecretKey::from_bytes(b"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(")?;
/// assert_eq!(format!("{secret:?}"), "SecretKey(..)");
/// # Ok::<(), SecretKeyError>(())
/// ```
pub struct SecretKey(Zeroizing<Vec<u8>>);

impl SecretKey {
    /// Takes a secret, all of whose bytes count.
    ///
    /// # Errors
    /// [`SecretKeyError::TooShort`] below 32 bytes, [`SecretKeyError::WellKnown`]
    /// for one repeated byte and for texts out of configuration templates
    /// (security case A22).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretKeyError> {
        if bytes.len() < MIN_BYTES {
            return Err(SecretKeyError::TooShort);
        }
        if is_well_known(bytes) {
            return Err(SecretKeyError::WellKnown);
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }

    /// Reads a secret from an environment variable, usually `MPP_SECRET_KEY`.
    ///
    /// # Errors
    /// [`SecretKeyError::Absent`] when it is not set or not Unicode, else the
    /// errors of [`SecretKey::from_bytes`].
    #[cfg(feature = "std")]
    pub fn from_env(variable: &str) -> Result<Self, SecretKeyError> {
        let value = std::env::var(variable).map_err(|_| SecretKeyError::Absent)?;
        Self::from_bytes(Zeroizing::new(value).as_bytes())
    }

    /// The short keys of the published vectors exist for tests only.
    #[cfg(test)]
    pub(crate) fn of_published_vector(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Why a secret is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretKeyError {
    /// It has fewer than 32 bytes.
    #[error("secret key has fewer than 32 bytes")]
    TooShort,
    /// It is a default that anyone could guess.
    #[error("secret key is a well-known default")]
    WellKnown,
    /// The environment variable is not set.
    #[error("secret key is not configured")]
    Absent,
}

fn is_well_known(bytes: &[u8]) -> bool {
    let repeated = bytes.iter().all(|byte| Some(byte) == bytes.first());
    let lower = Zeroizing::new(bytes.to_ascii_lowercase());
    repeated
        || PLACEHOLDERS
            .iter()
            .any(|text| lower.windows(text.len()).any(|window| window == *text))
}

#[cfg(test)]
mod tests;
