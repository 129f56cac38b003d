//! What a group of commits changes, in the form in which the embedded store
//! writes it first: one change behind the other, as they were taken in.
//!
//! ```text
//! version (1 byte) | items | CRC-32 (4 bytes, little endian)
//! item:  bytes of the change (u32) | number of the ledger entry (u64, zero: none)
//!        | count of ended outcomes (u32) | their keys (32 bytes each) | change (postcard)
//! ```
//!
//! Numbers are little endian. Records, entries and outcomes in it have the
//! stored form that they have elsewhere, checksum included.

use serde::{Deserialize, Serialize, Serializer};

use super::{
    CodecError, Kind, MAX_BYTES, RECORD_VERSION, USUAL_BYTES, VERSION, checksum, parse, seal_in,
    unseal, v1, v2,
};
use crate::store::{OutcomeKey, StoredOutcome, Version, Write};

/// One commit, encoded before its place in the order of commits is known.
#[derive(Debug)]
pub(crate) struct Image(Vec<u8>);

impl Image {
    /// The form of a write that makes `version`.
    ///
    /// # Errors
    /// [`CodecError`] when the write has no form, or one that would be too
    /// long to be read again.
    pub(crate) fn of(version: Version, write: &Write) -> Result<Self, CodecError> {
        let stranger = |outcome: &StoredOutcome| outcome.channel_id != write.next.id;
        if write.outcome.as_ref().is_some_and(stranger) {
            return Err(CodecError::Key);
        }
        let mut usual = [[0; USUAL_BYTES]; 3];
        let [record, entry, outcome] = &mut usual;
        let next = &write.next;
        let record = seal_in(
            record,
            RECORD_VERSION,
            Kind::Record,
            &v2::Record::from(&**next),
        )?;
        let entry = write.entry.as_ref().map(|value| {
            let value = v1::Entry::from(value);
            seal_in(entry, VERSION, Kind::Entry, &value)
        });
        let entry = entry.transpose()?;
        let value = write.outcome.as_ref().map(|value| {
            let value = v1::Outcome::from(value);
            seal_in(outcome, VERSION, Kind::Outcome, &value)
        });
        let value = value.transpose()?;
        let outcome = write.outcome.as_ref().zip(value.as_ref());
        let change = Change {
            id: next.id.0,
            version: version.0,
            record: Raw(&record),
            entry: entry.as_deref().map(Raw),
            outcome: outcome.map(|(outcome, value)| Outcome {
                key: outcome.key.0.0,
                number: outcome.number,
                expires: outcome.expires.as_millis(),
                value: Raw(value),
            }),
        };
        let length = |part: Option<usize>| part.unwrap_or_default();
        let room = record
            .len()
            .saturating_add(length(entry.as_ref().map(|entry| entry.len())))
            .saturating_add(length(value.as_ref().map(|value| value.len())))
            .saturating_add(128);
        let bytes = postcard::to_extend(&change, Vec::with_capacity(room));
        let bytes = bytes.map_err(|_| CodecError::Form)?;
        // A row takes changes until it is full, and one more.
        match bytes.len() > MAX_BYTES / 2 {
            true => Err(CodecError::Length(bytes.len())),
            false => Ok(Self(bytes)),
        }
    }
}

/// A row of the journal that takes changes.
#[derive(Debug)]
pub(crate) struct Row(Vec<u8>);

impl Default for Row {
    fn default() -> Self {
        Self(vec![VERSION])
    }
}

impl Row {
    /// An empty row with room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut row = Vec::with_capacity(bytes);
        row.push(VERSION);
        Self(row)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() <= 1
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a commit, with the number of its ledger entry and the outcomes
    /// that it pushes out.
    pub(crate) fn push(&mut self, image: &Image, entry: Option<u64>, ended: &[OutcomeKey]) {
        self.item(&image.0, entry.unwrap_or_default(), ended);
    }

    /// Adds outcomes that have ended by themselves.
    pub(crate) fn end(&mut self, ended: &[OutcomeKey]) {
        self.item(&[], 0, ended);
    }

    fn item(&mut self, change: &[u8], entry: u64, ended: &[OutcomeKey]) {
        let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        self.0.extend(length(change.len()));
        self.0.extend(entry.to_le_bytes());
        self.0.extend(length(ended.len()));
        for key in ended {
            self.0.extend(key.0.0);
        }
        self.0.extend(change);
    }

    /// The stored form.
    pub(crate) fn seal(mut self) -> Vec<u8> {
        let sum = checksum(Kind::Journal, &self.0);
        self.0.extend(sum);
        self.0
    }
}

/// What one item of a row says.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    /// Outcomes that are not kept any longer.
    pub(crate) ended: &'a [[u8; 32]],
    /// The number of the ledger entry; zero without one.
    pub(crate) entry: u64,
    pub(crate) change: Option<Change<'a>>,
}

/// A commit, as it is found in a row.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Change<'a> {
    pub(crate) id: [u8; 32],
    pub(crate) version: u64,
    #[serde(borrow)]
    pub(crate) record: Raw<'a>,
    #[serde(borrow)]
    pub(crate) entry: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) outcome: Option<Outcome<'a>>,
}

/// An outcome of the channel that is changed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome<'a> {
    pub(crate) key: [u8; 32],
    pub(crate) number: u64,
    pub(crate) expires: i64,
    #[serde(borrow)]
    pub(crate) value: Raw<'a>,
}

/// Bytes that are written at once, not one by one.
#[derive(Debug, Deserialize)]
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Reads a row.
///
/// # Errors
/// [`CodecError`]; then nothing of it may be used.
pub(crate) fn read_row(bytes: &[u8]) -> Result<Vec<Item<'_>>, CodecError> {
    let (version, mut rest) = unseal(Kind::Journal, bytes)?;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (item, behind) = item(rest).ok_or(CodecError::Form)?;
        items.push(item);
        rest = behind;
    }
    Ok(items)
}

fn item(bytes: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (entry, rest) = rest.split_first_chunk()?;
    let (count, rest) = rest.split_first_chunk()?;
    let size = |bytes: [u8; 4]| usize::try_from(u32::from_le_bytes(bytes)).ok();
    let (ended, rest) = rest.split_at_checked(size(*count)?.checked_mul(32)?)?;
    let (change, rest) = rest.split_at_checked(size(*length)?)?;
    let change = match change {
        [] => None,
        change => Some(parse::<Change<'_>>(change).ok()?),
    };
    let item = Item {
        ended: ended.as_chunks().0,
        entry: u64::from_le_bytes(*entry),
        change,
    };
    Some((item, rest))
}
