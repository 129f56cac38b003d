//! Ledger entries in the form in which the embedded store keeps them: many
//! behind each other, under the number of the first.
//!
//! ```text
//! entry: number (u64) | bytes (u32) | stored form
//! ```
//!
//! Numbers are little endian. Each entry has its own checksum.

use super::CodecError;

/// A run takes no entry that would make it longer. With what the engine adds it
/// fills a power of two.
const RUN_BYTES: usize = 16_000;

/// Entries that are kept together.
#[derive(Debug, Default)]
pub(crate) struct Run {
    first: Option<u64>,
    bytes: Vec<u8>,
}

impl Run {
    /// Adds an entry. When there is no room for it, it begins the next run, and
    /// the number and the bytes of the full one come back.
    pub(crate) fn push(&mut self, number: u64, entry: &[u8]) -> Option<(u64, Vec<u8>)> {
        let length = self.bytes.len().saturating_add(entry.len());
        let full = match length > RUN_BYTES {
            true => self.take(),
            false => None,
        };
        self.first.get_or_insert(number);
        let size = u32::try_from(entry.len()).unwrap_or(u32::MAX);
        self.bytes.extend(number.to_le_bytes());
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(entry);
        full
    }

    /// What is there, unless it is nothing.
    pub(crate) fn take(&mut self) -> Option<(u64, Vec<u8>)> {
        Some((self.first.take()?, std::mem::take(&mut self.bytes)))
    }
}

/// The number of an entry, and its stored form.
pub(crate) type Entry<'a> = (u64, &'a [u8]);

/// Each entry of a run.
///
/// # Errors
/// [`CodecError::Form`] when it is no run.
pub(crate) fn read_run(mut bytes: &[u8]) -> Result<Vec<Entry<'_>>, CodecError> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (entry, rest) = entry(bytes).ok_or(CodecError::Form)?;
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}

/// The entry at the front, and what is behind it.
fn entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    let (size, rest) = rest.split_first_chunk()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    let (entry, rest) = rest.split_at_checked(size)?;
    Some(((u64::from_le_bytes(*number), entry), rest))
}
