//! The binary form in which stores keep records, ledger entries and outcomes.
//!
//! ```text
//! version (1 byte) | payload (postcard) | CRC-32 (4 bytes, little endian)
//! ```
//!
//! The checksum covers the kind of the value, the version and the payload: a
//! ledger entry is never read as a record. Every version that was ever
//! released stays readable. A new variant at the end of an enum keeps the
//! version; any other change gets a new module beside `v1`, and the old one
//! only still decodes.

pub(in crate::store) mod journal;
pub(in crate::store) mod run;
mod signature;
mod v1;
mod v2;

pub(crate) use self::v1::Voucher as StoredVoucher;

use std::borrow::Cow;

use bytes::Bytes;
use mpp_core::ChallengeId;
use mpp_tempo::channel::ChannelId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{ClaimKey, DocumentKind, OutcomeKey, StoredOutcome};
use crate::session::record::{ChannelRecord, LedgerEntry};

/// The version of records that is written.
const RECORD_VERSION: u8 = 2;
/// The version of everything else that is written.
const VERSION: u8 = 1;
/// The longest form that is read. What a server writes is far shorter; a
/// damaged or foreign value must not fill the memory.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Before the challenge id of a cosigning claim.
const COSIGN: u8 = 1;
const PROOF: u8 = 2;
/// Before the signer and the challenge id of a cosigning claim.
const COSIGN_FOR: u8 = 3;
/// Room for most values. They are written on the stack first: what is kept
/// then has exactly the size that it needs, and one allocation.
const USUAL_BYTES: usize = 1_024;
/// Bytes of the checksum.
const CHECKSUM: usize = 4;

/// What a value is; part of the checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Record,
    Entry,
    Outcome,
    Document(DocumentKind),
    Journal,
}

impl Kind {
    /// What the checksum begins with.
    fn feed(self, hasher: &mut crc32fast::Hasher) {
        match self {
            Self::Record => hasher.update(&[1]),
            Self::Entry => hasher.update(&[2]),
            Self::Outcome => hasher.update(&[3]),
            Self::Document(kind) => hasher.update(&[4, kind.number()]),
            Self::Journal => hasher.update(&[5]),
        }
    }
}

/// Why stored bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Shorter than any value, or longer than any that is read.
    #[error("the stored value has an impossible length of {0} bytes")]
    Length(usize),
    /// Written by a later version of this software, or not by it at all.
    #[error("the stored value has the unknown format version {0}")]
    Version(u8),
    /// The bytes are not those that were written, or of another kind.
    #[error("the checksum of the stored value is wrong")]
    Checksum,
    /// The checksum holds, but the payload has another form.
    #[error("the stored value has another form than its version says")]
    Form,
    /// A part is outside of its range.
    #[error("the stored value has an impossible {0}")]
    Value(&'static str),
    /// The value belongs to another key than the one it was found under.
    #[error("the stored value belongs to another key")]
    Key,
}

/// The stored form of a record.
///
/// The ids of the channel and of its vouchers are not part of it: they follow
/// from the terms.
///
/// # Errors
/// [`CodecError`] when the value can not be written.
pub fn encode_record(record: &ChannelRecord) -> Result<Bytes, CodecError> {
    seal_as(RECORD_VERSION, Kind::Record, &v2::Record::from(record))
}

/// Reads the record that was stored for the channel `id`.
///
/// # Errors
/// [`CodecError`]; in particular when the id that follows from the terms is
/// not `id`.
pub fn decode_record(id: ChannelId, bytes: &[u8]) -> Result<ChannelRecord, CodecError> {
    let record = match unseal(Kind::Record, bytes)? {
        (1, payload) => ChannelRecord::try_from(parse::<v1::Record>(payload)?)?,
        (2, payload) => ChannelRecord::try_from(parse::<v2::Record>(payload)?)?,
        (version, _) => return Err(CodecError::Version(version)),
    };
    if record.id == id {
        Ok(record)
    } else {
        Err(CodecError::Key)
    }
}

/// The stored form of a ledger entry.
///
/// # Errors
/// [`CodecError`] when the value can not be written.
pub fn encode_entry(entry: &LedgerEntry) -> Result<Bytes, CodecError> {
    seal(Kind::Entry, &v1::Entry::from(entry))
}

/// Reads a ledger entry.
///
/// # Errors
/// [`CodecError`].
pub fn decode_entry(bytes: &[u8]) -> Result<LedgerEntry, CodecError> {
    match unseal(Kind::Entry, bytes)? {
        (1, payload) => LedgerEntry::try_from(parse::<v1::Entry>(payload)?),
        (version, _) => Err(CodecError::Version(version)),
    }
}

/// The stored form of an outcome.
///
/// # Errors
/// [`CodecError`] when the value can not be written.
pub fn encode_outcome(outcome: &StoredOutcome) -> Result<Bytes, CodecError> {
    seal(Kind::Outcome, &v1::Outcome::from(outcome))
}

/// Reads the outcome that was stored under `key`.
///
/// # Errors
/// [`CodecError`]; in particular when it was stored under another key.
pub fn decode_outcome(key: OutcomeKey, bytes: &[u8]) -> Result<StoredOutcome, CodecError> {
    let outcome = match unseal(Kind::Outcome, bytes)? {
        (1, payload) => StoredOutcome::try_from(parse::<v1::Outcome>(payload)?)?,
        (version, _) => return Err(CodecError::Version(version)),
    };
    if outcome.key == key {
        Ok(outcome)
    } else {
        Err(CodecError::Key)
    }
}

/// The stored form of a document.
///
/// Its owner decides what the value is, and keeps the form readable: a new
/// variant at the end of an enum is compatible, anything else is not.
///
/// # Errors
/// [`CodecError`] when the value can not be written.
pub fn encode_document(kind: DocumentKind, value: &impl Serialize) -> Result<Bytes, CodecError> {
    seal(Kind::Document(kind), value)
}

/// Reads a document.
///
/// # Errors
/// [`CodecError`].
pub fn decode_document<T: DeserializeOwned>(
    kind: DocumentKind,
    bytes: &[u8],
) -> Result<T, CodecError> {
    match unseal(Kind::Document(kind), bytes)? {
        (1, payload) => parse(payload),
        (version, _) => Err(CodecError::Version(version)),
    }
}

/// Checks that a document is as it was written, without reading its value.
///
/// # Errors
/// [`CodecError`].
pub fn check_document(kind: DocumentKind, bytes: &[u8]) -> Result<(), CodecError> {
    match unseal(Kind::Document(kind), bytes)? {
        (1, _) => Ok(()),
        (version, _) => Err(CodecError::Version(version)),
    }
}

/// The stored form of a claim's key: what it is about and of whom, then the
/// challenge's id.
#[must_use]
pub fn encode_claim_key(key: &ClaimKey) -> Bytes {
    let (about, signer, challenge) = match key {
        ClaimKey::Cosign(challenge) => (COSIGN, &[][..], challenge),
        ClaimKey::CosignFor(challenge, signer) => (COSIGN_FOR, signer.as_slice(), challenge),
        ClaimKey::Proof(challenge) => (PROOF, &[][..], challenge),
    };
    let challenge = challenge.as_str().as_bytes();
    [&[about], signer, challenge].concat().into()
}

/// Reads the key of a claim.
///
/// # Errors
/// [`CodecError`].
pub fn decode_claim_key(bytes: &[u8]) -> Result<ClaimKey, CodecError> {
    let bad = || CodecError::Value("claim key");
    let challenge = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).map_err(|_| bad())?;
        ChallengeId::new(text).map_err(|_| bad())
    };
    match bytes.split_first().ok_or(CodecError::Length(0))? {
        (&COSIGN, text) => challenge(text).map(ClaimKey::Cosign),
        (&PROOF, text) => challenge(text).map(ClaimKey::Proof),
        (&COSIGN_FOR, rest) => {
            let (signer, text) = rest.split_first_chunk::<20>().ok_or_else(bad)?;
            Ok(ClaimKey::CosignFor(challenge(text)?, signer.into()))
        }
        _ => Err(bad()),
    }
}

fn seal(kind: Kind, value: &impl Serialize) -> Result<Bytes, CodecError> {
    seal_as(VERSION, kind, value)
}

fn seal_as(version: u8, kind: Kind, value: &impl Serialize) -> Result<Bytes, CodecError> {
    let sealed = seal_in(&mut [0; USUAL_BYTES], version, kind, value)?.into_owned();
    Ok(sealed.into())
}

/// Seals a value, in the room that is given when it fits.
fn seal_in<'a>(
    room: &'a mut [u8; USUAL_BYTES],
    version: u8,
    kind: Kind,
    value: &impl Serialize,
) -> Result<Cow<'a, [u8]>, CodecError> {
    let [first, payload @ .., _, _, _, _] = room;
    *first = version;
    let end = match postcard::to_slice(value, payload) {
        Ok(payload) => payload.len().saturating_add(1),
        Err(postcard::Error::SerializeBufferFull) => {
            let sealed = postcard::to_extend(value, vec![version]);
            let mut sealed = sealed.map_err(|_| CodecError::Form)?;
            sealed.extend(checksum(kind, &sealed));
            return Ok(sealed.into());
        }
        Err(_) => return Err(CodecError::Form),
    };
    let (sealed, behind) = room.split_at_mut_checked(end).ok_or(CodecError::Form)?;
    let sum = behind.first_chunk_mut().ok_or(CodecError::Form)?;
    *sum = checksum(kind, sealed);
    let sealed = room.get(..end.saturating_add(CHECKSUM));
    sealed.map(Cow::Borrowed).ok_or(CodecError::Form)
}

fn unseal(kind: Kind, bytes: &[u8]) -> Result<(u8, &[u8]), CodecError> {
    let length = CodecError::Length(bytes.len());
    if bytes.len() > MAX_BYTES {
        return Err(length);
    }
    let (sealed, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(length)?;
    let (version, payload) = sealed.split_first().ok_or(length)?;
    if checksum(kind, sealed) != *sum {
        return Err(CodecError::Checksum);
    }
    Ok((*version, payload))
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        _ => Err(CodecError::Form),
    }
}

fn checksum(kind: Kind, sealed: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = crc32fast::Hasher::new();
    kind.feed(&mut hasher);
    hasher.update(sealed);
    hasher.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests;
