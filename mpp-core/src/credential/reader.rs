//! Reading credentials of the common form without allocating.

use alloc::vec::Vec;
use core::fmt;

use crate::challenge::{ChallengeText, KnownChallenge};
use crate::encoding::base64url;
use crate::encoding::flat::{FlatObject, FlatReader, FlatText};
use crate::header::limits::MAX_CREDENTIAL;

/// The name of the first member of a credential in the common form.
const CHALLENGE: &[u8] = b"challenge";

/// Reads the credentials that conforming peers send, into reused buffers.
///
/// It never refuses a credential. What it returns is what
/// [`header::credential::parse`](crate::header::credential::parse) makes of
/// the same token; where it returns `None`, that function decides.
///
/// # Examples
///
/// ```
/// use mpp_core::{CredentialReader, encoding::base64url};
///
/// let json = r#"{"challenge":{"id":"a1","realm":"shop","method":"tempo","intent":"session","request":"e30"},"payload":{"action":"voucher"}}"#;
/// let token68 = base64url::encode(json.as_bytes());
/// let mut reader = CredentialReader::default();
/// let text = reader.read(&token68).unwrap();
/// assert_eq!(text.challenge.id.as_str(), "a1");
/// assert_eq!(text.proof.payload.members().count(), 1);
/// ```
#[derive(Default)]
pub struct CredentialReader {
    json: Vec<u8>,
    flat: FlatReader,
}

/// A credential as it lies in its text: nothing is owned, nothing believed.
#[derive(Clone, Copy, Debug)]
pub struct CredentialText<'t> {
    /// The challenge, as echoed.
    pub challenge: ChallengeText<'t>,
    /// The payment.
    pub proof: Proof<'t>,
    source: Source<'t>,
}

/// What a credential holds beside its challenge.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'t> {
    /// The proof in the terms of method and intent.
    pub payload: FlatObject<'t>,
    /// Who pays.
    pub source: Option<FlatText<'t>>,
}

/// Where a [`CredentialText`] comes from.
#[derive(Clone, Copy)]
struct Source<'t> {
    token68: &'t str,
    json: &'t [u8],
    /// Where the challenge ends in the JSON, if that begins with it.
    opening_end: Option<usize>,
}

impl CredentialReader {
    /// Reads a token68; `None` if it has another form than the common one.
    pub fn read<'t>(&'t mut self, token68: &'t str) -> Option<CredentialText<'t>> {
        if token68.len() > MAX_CREDENTIAL {
            return None;
        }
        let json = base64url::decode_plain(token68.as_bytes(), &mut self.json).ok()?;
        let object = self.flat.read(json)?;
        let (mut challenge, mut payload, mut source) = (None, None, None);
        for (name, value) in object.members() {
            match name {
                CHALLENGE => challenge = Some(value.object()?),
                b"payload" => payload = Some(value.object()?),
                b"source" => source = Some(value.text()?),
                _ => {}
            }
        }
        let begins = object
            .members()
            .next()
            .is_some_and(|(name, _)| name == CHALLENGE);
        Some(CredentialText {
            challenge: ChallengeText::pick(challenge?)?,
            proof: Proof {
                payload: payload?,
                source,
            },
            source: Source {
                token68,
                json,
                opening_end: begins.then(|| object.first_object_end()).flatten(),
            },
        })
    }

    /// Reads a token68 that begins as one for this challenge did.
    ///
    /// Decodes and reads only what follows. `None` if it begins otherwise, or
    /// has another form than the common one.
    pub fn read_known<'t>(
        &'t mut self,
        known: &KnownChallenge,
        token68: &'t str,
    ) -> Option<Proof<'t>> {
        if token68.len() > MAX_CREDENTIAL {
            return None;
        }
        let rest = token68
            .as_bytes()
            .strip_prefix(known.opening().as_bytes())?;
        let json = base64url::decode_plain(rest, &mut self.json).ok()?;
        let rest = json.strip_prefix(known.opening_rest())?;
        let object = self.flat.read_after(CHALLENGE, rest)?;
        let (mut payload, mut source) = (None, None);
        for (name, value) in object.members() {
            match name {
                b"payload" => payload = Some(value.object()?),
                b"source" => source = Some(value.text()?),
                _ => {}
            }
        }
        Some(Proof {
            payload: payload?,
            source,
        })
    }
}

impl<'t> CredentialText<'t> {
    pub(crate) const fn token68(&self) -> &'t str {
        self.source.token68
    }

    pub(crate) const fn json(&self) -> &'t [u8] {
        self.source.json
    }

    pub(crate) const fn opening_end(&self) -> Option<usize> {
        self.source.opening_end
    }
}

/// Never shows the buffers: whoever reads a log could spend what is in them.
impl fmt::Debug for CredentialReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialReader").finish_non_exhaustive()
    }
}

/// Never shows the text: whoever reads a log could spend it.
impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
