//! Lines that tell whether they are whole: a checksum, a space, and JSON.
//!
//! A line that was being appended when the machine went down ends without a line feed, or with
//! zeros where its blocks were not written. Nobody was told that it was kept, so it is left out.
//! Anything else that does not fit its checksum is damage, and nothing is guessed.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use alloy_primitives::{hex, keccak256};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::At as _;
use super::lock::private;
use crate::session::book::BookError;

/// Bytes of the hash that are kept.
const CHECK_BYTES: usize = 16;

/// A line with its checksum.
pub(super) fn seal(value: &impl Serialize) -> Result<Vec<u8>, BookError> {
    let json = serde_json::to_vec(value).map_err(|error| BookError::Storage(Box::new(error)))?;
    let mut line = check(&json).into_bytes();
    line.push(b' ');
    line.extend(json);
    line.push(b'\n');
    Ok(line)
}

/// The whole lines of a file, and where they end. What is torn at the end is left out.
///
/// # Errors
/// [`BookError::Damaged`].
pub(super) fn whole<'a>(bytes: &'a [u8], path: &Path) -> Result<(Vec<&'a [u8]>, usize), BookError> {
    let mut lines = Vec::new();
    let mut end = 0_usize;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(json) = open(line) else {
            let rest = bytes.get(end..).unwrap_or_default();
            if is_torn(rest) {
                break;
            }
            return Err(BookError::damaged(path));
        };
        lines.push(json);
        end = end.saturating_add(line.len());
    }
    Ok((lines, end))
}

/// The last whole line, and where it ends; the lines before it do not matter.
///
/// # Errors
/// [`BookError::Damaged`].
pub(super) fn last<'a>(bytes: &'a [u8], path: &Path) -> Result<(&'a [u8], usize), BookError> {
    let feed = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n');
    let end_of = |bytes: &[u8]| feed(bytes).map_or(0, |at| at.saturating_add(1));
    let mut end = end_of(bytes);
    while let Some((whole, _)) = bytes.split_at_checked(end)
        && let Some((_, before)) = whole.split_last()
    {
        let start = end_of(before);
        let line = whole.get(start..).unwrap_or_default();
        match open(line) {
            Some(json) => return Ok((json, end)),
            None if line.contains(&0) => end = start,
            None => break,
        }
    }
    Err(BookError::damaged(path))
}

/// Reads the JSON of a whole line.
pub(super) fn read<T: DeserializeOwned>(json: &[u8], path: &Path) -> Result<T, BookError> {
    serde_json::from_slice(json).map_err(|_| BookError::damaged(path))
}

/// Writes a file as a whole: it has its old content or the new one, whatever happens.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), BookError> {
    let new = path.with_extension("new");
    let mut file = private(OpenOptions::new().write(true).create(true).truncate(true))
        .open(&new)
        .at(&new)?;
    file.write_all(bytes).at(&new)?;
    file.sync_all().at(&new)?;
    fs::rename(&new, path).at(path)?;
    sync_folder(path)
}

/// Appends bytes after the first `end` ones, and flushes them if asked to.
pub(super) fn append(path: &Path, end: usize, line: &[u8], flush: Flush) -> Result<(), BookError> {
    let mut options = OpenOptions::new();
    let mut file = private(options.append(true).create(true))
        .open(path)
        .at(path)?;
    let end = u64::try_from(end).unwrap_or(u64::MAX);
    if file.metadata().at(path)?.len() > end {
        file.set_len(end).at(path)?;
    }
    file.write_all(line).at(path)?;
    match flush {
        Flush::Now => file.sync_data().at(path),
        Flush::Later => Ok(()),
    }
}

/// When appended bytes have to be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// Before the call returns.
    Now,
    /// When the system gets to it.
    Later,
}

/// A new name is kept only once its folder is flushed.
pub(super) fn sync_folder(path: &Path) -> Result<(), BookError> {
    // Elsewhere a folder can not be opened, and the file system sees to it.
    if cfg!(unix)
        && let Some(folder) = path.parent()
    {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .at(folder)?;
    }
    Ok(())
}

/// The JSON of a line that fits its checksum.
fn open(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n")?;
    let at = line.iter().position(|byte| *byte == b' ')?;
    let (sum, json) = line.split_at_checked(at)?;
    let json = json.get(1..)?;
    (check(json).as_bytes() == sum).then_some(json)
}

/// Whether this can be what is left of one line that was being appended.
fn is_torn(rest: &[u8]) -> bool {
    !rest.contains(&b'\n') || rest.contains(&0)
}

fn check(json: &[u8]) -> String {
    let hash = keccak256(json);
    hex::encode(hash.get(..CHECK_BYTES).unwrap_or_default())
}
