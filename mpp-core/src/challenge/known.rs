//! Challenges that were verified before, recognized by their text.

use alloc::boxed::Box;
use core::fmt;

use super::{Challenge, ChallengeTemplate, ExpiryError, KeyRing};
use crate::credential::{CredentialText, Place};
use crate::time::Timestamp;

/// The bytes and the characters of a base64 group.
const GROUP: (usize, usize) = (3, 4);

/// A challenge of ours with the credential text in which it was verified.
///
/// In a session the client echoes one challenge again and again, so that its
/// credentials begin with the same characters. Equal characters are an equal
/// challenge under an equal MAC: what has been verified once need not be
/// verified again, with the *same key ring*. Everything else is checked each
/// time: expiry, realm, route and terms are not remembered, only readable here.
pub struct KnownChallenge {
    challenge: Challenge,
    expires: Result<Timestamp, ExpiryError>,
    opening: Opening,
}

/// `{"challenge":{..}` in base64url.
struct Opening {
    /// Its whole groups.
    text: Box<str>,
    /// The bytes that stand in the next group, at most two.
    rest: Box<[u8]>,
}

impl KnownChallenge {
    /// The challenge, as issued.
    #[must_use]
    pub const fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// The time from which the challenge is void.
    ///
    /// # Errors
    /// As [`Challenge::expires_at`].
    pub const fn expires_at(&self) -> Result<Timestamp, ExpiryError> {
        self.expires
    }

    /// The beginning that all credentials for this challenge share.
    #[must_use]
    pub fn opening(&self) -> &str {
        &self.opening.text
    }

    /// What stands behind the opening, decoded, begins with this.
    pub(crate) fn opening_rest(&self) -> &[u8] {
        &self.opening.rest
    }
}

impl KeyRing {
    /// Verifies a credential's challenge and keeps it with its text.
    ///
    /// `None` if the MAC is wrong, if a field breaks its grammar, and if the
    /// credential does not begin with its challenge: [`KeyRing::verify`] says more.
    #[must_use]
    pub fn recognize(&self, text: &CredentialText<'_>) -> Option<KnownChallenge> {
        self.verify_text(&text.challenge).ok()?;
        KnownChallenge::keep(text.challenge.to_challenge()?, text.place())
    }
}

impl ChallengeTemplate {
    /// As [`KeyRing::recognize`], for challenges of this template only, and in
    /// less time.
    #[must_use]
    pub fn recognize(&self, text: &CredentialText<'_>) -> Option<KnownChallenge> {
        self.verify_text(&text.challenge).ok()?;
        KnownChallenge::keep(text.challenge.to_challenge()?, text.place())
    }
}

impl KnownChallenge {
    /// Keeps a challenge whose MAC was verified in a credential.
    pub(super) fn keep(challenge: Challenge, place: Place<'_>) -> Option<Self> {
        let end = place.opening_end?;
        let (bytes, characters) = GROUP;
        let groups = end.checked_div(bytes)?;
        let opening = place.token68.get(..groups.checked_mul(characters)?)?;
        let rest = place.json.get(groups.checked_mul(bytes)?..end)?;
        Some(Self {
            expires: challenge.expires_at(),
            challenge,
            opening: Opening {
                text: opening.into(),
                rest: rest.into(),
            },
        })
    }
}

impl fmt::Debug for KnownChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownChallenge")
            .field("challenge", &self.challenge)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
