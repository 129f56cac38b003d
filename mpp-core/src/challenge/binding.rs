//! The MAC that makes a challenge id: the server keeps no list of challenges.

use alloc::string::{String, ToString};
use core::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

use super::{Challenge, ChallengeDraft, ChallengeText, CredentialHeader, EncodedJson, SecretKey};
use crate::encoding::base64url;
use crate::encoding::flat::FlatText;
use crate::ids::ChallengeId;

/// The block size of SHA-256.
const BLOCK_BYTES: usize = 64;

/// Binds challenges to a secret and verifies challenges that come back.
///
/// The id is the base64url form of HMAC-SHA256 over
/// `realm|method|intent|request|expires|digest|opaque`, always seven slots, an
/// absent one empty; a `header` parameter appends one more (PROTOCOL.md section
/// 1.1). New challenges use the current secret; both secrets verify, so that a
/// secret can be replaced while challenges are out.
///
/// # Examples
///
/// ```
/// use mpp_core::{ChallengeDraft, EncodedJson, IntentName, KeyRing, MethodName, Realm, SecretKey};
///
/// let old = SecretKey::from_bytes(b"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(")?;
/// let keys = KeyRing::new(old);
/// let mut challenge = keys.bind(ChallengeDraft::new(
///     Realm::new("api.example.com")?,
///     MethodName::tempo(),
///     IntentName::charge(),
///     EncodedJson::from_value(&serde_json::json!({"amount": "1000"}))?,
/// ));
/// keys.verify(&challenge)?;
///
/// challenge.request = EncodedJson::from_value(&serde_json::json!({"amount": "1"}))?;
/// assert!(keys.verify(&challenge).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    current: KeyState,
    previous: Option<KeyState>,
}

impl KeyRing {
    /// A ring with one secret.
    #[must_use]
    pub fn new(current: SecretKey) -> Self {
        Self {
            current: KeyState::new(&current),
            previous: None,
        }
    }

    /// Also accepts challenges that were bound with the secret before.
    #[must_use]
    pub fn with_previous(mut self, previous: SecretKey) -> Self {
        self.previous = Some(KeyState::new(&previous));
        self
    }

    /// Gives a draft its id.
    #[must_use]
    pub fn bind(&self, draft: ChallengeDraft) -> Challenge {
        let expires = draft.expires.map(|expires| expires.to_string());
        let digest = draft.digest.map(|digest| digest.to_string());
        let slots = Slots {
            first: [
                draft.realm.as_str().as_bytes(),
                draft.method.as_str().as_bytes(),
                draft.intent.as_str().as_bytes(),
                draft.request.as_str().as_bytes(),
                expires.as_deref().unwrap_or_default().as_bytes(),
                digest.as_deref().unwrap_or_default().as_bytes(),
                draft.opaque.as_ref().map(json_bytes).unwrap_or_default(),
            ],
            header: draft.header.map(header_bytes),
        };
        let id = self.current.tag(&slots).into_id();
        Challenge {
            id,
            realm: draft.realm,
            method: draft.method,
            intent: draft.intent,
            request: draft.request,
            expires,
            digest,
            description: draft.description,
            opaque: draft.opaque,
            header: draft.header,
        }
    }

    /// The MAC of a new challenge whose first slots are known.
    pub(super) fn midstate(&self, beginning: &str) -> Midstate {
        self.current.after(beginning)
    }

    /// Checks that an echoed challenge was bound by this ring, unchanged.
    ///
    /// Takes the same time for every wrong id. Expiry, body digest and the
    /// terms of the route are the caller's next checks.
    ///
    /// # Errors
    /// [`BindingError`], which does not say what is wrong.
    pub fn verify(&self, echoed: &Challenge) -> Result<(), BindingError> {
        self.verify_slots(&Slots::of(echoed), echoed.id.as_str().as_bytes())
    }

    /// The same for a challenge that was only looked at; does not allocate.
    ///
    /// # Errors
    /// [`BindingError`], which does not say what is wrong.
    pub fn verify_text(&self, echoed: &ChallengeText<'_>) -> Result<(), BindingError> {
        self.verify_slots(&Slots::of_text(echoed), echoed.id.as_bytes())
    }

    fn verify_slots(&self, slots: &Slots<'_>, id: &[u8]) -> Result<(), BindingError> {
        // With a separator inside of a slot, two different challenges would
        // share a MAC.
        if slots.first.iter().any(|slot| slot.contains(&b'|')) {
            return Err(BindingError);
        }
        let mut valid = self.current.tag(slots).ct_eq(id);
        if let Some(previous) = &self.previous {
            valid |= previous.tag(slots).ct_eq(id);
        }
        if bool::from(valid) {
            Ok(())
        } else {
            Err(BindingError)
        }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = if self.previous.is_some() { 2 } else { 1 };
        f.debug_struct("KeyRing")
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}

/// A challenge id that this server did not issue for these contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("challenge id does not match its contents")]
pub struct BindingError;

/// A MAC keyed once; each use clones the prepared state.
#[derive(Clone)]
struct KeyState(Hmac<Sha256>);

impl KeyState {
    fn new(secret: &SecretKey) -> Self {
        // The block that RFC 2104 makes of a key: itself or its hash, then zeros.
        let mut block = Zeroizing::new([0_u8; BLOCK_BYTES]);
        let hash: Zeroizing<[u8; 32]>;
        let key = if secret.expose().len() > BLOCK_BYTES {
            hash = Zeroizing::new(Sha256::digest(secret.expose()).into());
            hash.as_slice()
        } else {
            secret.expose()
        };
        for (byte, key_byte) in block.iter_mut().zip(key) {
            *byte = *key_byte;
        }
        let block: &[u8; BLOCK_BYTES] = &block;
        Self(Hmac::new(block.into()))
    }

    fn after(&self, beginning: &str) -> Midstate {
        let mut mac = self.0.clone();
        mac.update(beginning.as_bytes());
        Midstate(mac)
    }

    fn tag(&self, slots: &Slots<'_>) -> Tag {
        let mut mac = self.0.clone();
        for (index, slot) in slots.first.iter().chain(&slots.header).enumerate() {
            if index > 0 {
                mac.update(b"|");
            }
            mac.update(slot);
        }
        Tag(mac.finalize().into_bytes().into())
    }
}

/// A MAC of which the beginning is done.
#[derive(Clone)]
pub(super) struct Midstate(Hmac<Sha256>);

impl Midstate {
    /// Compares the MAC with an id, in constant time.
    pub(super) fn verify(&self, rest: [&str; 2], id: &[u8]) -> Result<(), BindingError> {
        match bool::from(Tag(self.finish(rest)).ct_eq(id)) {
            true => Ok(()),
            false => Err(BindingError),
        }
    }

    pub(super) fn finish(&self, rest: [&str; 2]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in rest {
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

/// The fields under the MAC, in order.
struct Slots<'a> {
    first: [&'a [u8]; 7],
    header: Option<&'a [u8]>,
}

impl<'a> Slots<'a> {
    fn of(challenge: &'a Challenge) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default().as_bytes();
        Self {
            first: [
                challenge.realm.as_str().as_bytes(),
                challenge.method.as_str().as_bytes(),
                challenge.intent.as_str().as_bytes(),
                challenge.request.as_str().as_bytes(),
                text(&challenge.expires),
                text(&challenge.digest),
                challenge
                    .opaque
                    .as_ref()
                    .map(json_bytes)
                    .unwrap_or_default(),
            ],
            header: challenge.header.map(header_bytes),
        }
    }

    fn of_text(challenge: &ChallengeText<'a>) -> Self {
        let text = |text: Option<FlatText<'a>>| text.map(FlatText::as_bytes).unwrap_or_default();
        Self {
            first: [
                challenge.realm.as_bytes(),
                challenge.method.as_bytes(),
                challenge.intent.as_bytes(),
                challenge.request.as_bytes(),
                text(challenge.expires),
                text(challenge.digest),
                text(challenge.opaque),
            ],
            header: challenge.header.map(header_bytes),
        }
    }
}

fn json_bytes(json: &EncodedJson) -> &[u8] {
    json.as_str().as_bytes()
}

fn header_bytes(header: CredentialHeader) -> &'static [u8] {
    header.as_str().as_bytes()
}

/// A MAC value. It has no `PartialEq`: the only comparison takes constant time.
struct Tag([u8; 32]);

impl Tag {
    /// Compares with an id as text: a second spelling of the same MAC would let
    /// one challenge pass for two where ids are claimed once.
    fn ct_eq(&self, id: &[u8]) -> Choice {
        let Ok(id) = <&[u8; 43]>::try_from(id) else {
            return Choice::from(0);
        };
        let (ours, theirs) = (words(&base64url::encode_mac(&self.0)), words(id));
        ours.as_slice().ct_eq(&theirs)
    }

    fn into_id(self) -> ChallengeId {
        ChallengeId::from_mac(&self.0)
    }
}

/// A MAC's text in words, which are compared in less time than bytes.
fn words(text: &[u8; 43]) -> [u64; 6] {
    let mut padded = [0; 48];
    for (to, from) in padded.iter_mut().zip(text) {
        *to = *from;
    }
    let (words, _) = padded.as_chunks::<8>();
    let mut out = [0; 6];
    for (to, from) in out.iter_mut().zip(words) {
        *to = u64::from_le_bytes(*from);
    }
    out
}

#[cfg(test)]
mod tests;
