//! Reading credentials of the common form without allocating.

use alloc::vec::Vec;
use core::fmt;

use crate::challenge::{ChallengeForm, ChallengeText, KnownChallenge};
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
    place: Place<'t>,
}

/// A credential whose challenge is written in a form that is known.
#[derive(Debug)]
pub struct FormedText<'t> {
    /// The challenge's id.
    pub id: FlatText<'t>,
    /// When the challenge becomes void.
    pub expires: FlatText<'t>,
    /// What follows it.
    pub behind: KnownText<'t>,
    place: Place<'t>,
}

/// What follows the challenge in a credential, not yet read.
pub struct KnownText<'t> {
    rest: &'t [u8],
    flat: &'t mut FlatReader,
}

/// What a credential holds beside its challenge.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'t> {
    /// The proof in the terms of method and intent.
    pub payload: FlatObject<'t>,
    /// Who pays.
    pub source: Option<FlatText<'t>>,
}

/// Where a credential's challenge lies.
#[derive(Clone, Copy)]
pub(crate) struct Place<'t> {
    pub(crate) token68: &'t str,
    pub(crate) json: &'t [u8],
    /// Where the challenge ends in the JSON, if that begins with it.
    pub(crate) opening_end: Option<usize>,
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
            place: Place {
                token68,
                json,
                opening_end: begins.then(|| object.first_object_end()).flatten(),
            },
        })
    }

    /// Reads a token68 whose challenge is written in this form.
    ///
    /// `None` if it is not, or can not be decoded here.
    pub fn read_formed<'t>(
        &'t mut self,
        form: &ChallengeForm,
        token68: &'t str,
    ) -> Option<FormedText<'t>> {
        if token68.len() > MAX_CREDENTIAL {
            return None;
        }
        let json = base64url::decode_plain(token68.as_bytes(), &mut self.json).ok()?;
        let ([id, expires], rest) = form.form().read_start(json)?;
        Some(FormedText {
            id,
            expires,
            behind: KnownText {
                rest,
                flat: &mut self.flat,
            },
            place: Place {
                token68,
                json,
                opening_end: Some(json.len().checked_sub(rest.len())?),
            },
        })
    }

    /// Decodes what follows the challenge in a token68 that begins as one for
    /// this challenge did.
    ///
    /// `None` if it begins otherwise, or can not be decoded here.
    pub fn open_known<'t>(
        &'t mut self,
        known: &KnownChallenge,
        token68: &'t str,
    ) -> Option<KnownText<'t>> {
        if token68.len() > MAX_CREDENTIAL {
            return None;
        }
        let rest = token68
            .as_bytes()
            .strip_prefix(known.opening().as_bytes())?;
        let json = base64url::decode_plain(rest, &mut self.json).ok()?;
        Some(KnownText {
            rest: json.strip_prefix(known.opening_rest())?,
            flat: &mut self.flat,
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
        self.open_known(known, token68)?.proof()
    }
}

/// Reads what follows the challenge in a credential.
fn proof_of<'t>(flat: &'t mut FlatReader, rest: &'t [u8]) -> Option<Proof<'t>> {
    let object = flat.read_after(CHALLENGE, rest)?;
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

impl<'t> CredentialText<'t> {
    pub(crate) const fn place(&self) -> Place<'t> {
        self.place
    }

    /// The JSON up to the end of the challenge, if it begins with it.
    pub(crate) fn opening(&self) -> Option<&'t [u8]> {
        self.place.json.get(..self.place.opening_end?)
    }

    /// The JSON behind the challenge, if it begins with it.
    #[must_use]
    pub fn rest(&self) -> Option<&'t [u8]> {
        self.place.json.get(self.place.opening_end?..)
    }
}

impl<'t> FormedText<'t> {
    pub(crate) const fn place(&self) -> Place<'t> {
        self.place
    }
}

impl<'t> KnownText<'t> {
    /// The JSON behind the challenge.
    #[must_use]
    pub const fn rest(&self) -> &'t [u8] {
        self.rest
    }

    /// Reads it; `None` if it has another form than the common one.
    #[must_use]
    pub fn proof(self) -> Option<Proof<'t>> {
        proof_of(self.flat, self.rest)
    }
}

/// Never shows the buffers: whoever reads a log could spend what is in them.
impl fmt::Debug for CredentialReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialReader").finish_non_exhaustive()
    }
}

/// Never shows the text: whoever reads a log could spend it.
impl fmt::Debug for KnownText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownText").finish_non_exhaustive()
    }
}

/// Never shows the text: whoever reads a log could spend it.
impl fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
