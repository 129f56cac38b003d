//! The log of charges: one line for each state of a charge, the last of which counts.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use mpp_core::Timestamp;

use super::fault::At as _;
use super::line::{self, Flush};
use crate::charge::{ChargeId, ChargeRecord};
use crate::session::book::{BookError, is_remembered};

/// A log that would grow beyond this many bytes is written anew, without what may be forgotten.
const MAX_BYTES: usize = 1024 * 1024;

/// Where the charges are. Whoever writes holds the book's lock.
#[derive(Debug)]
pub(super) struct Charges {
    path: PathBuf,
}

/// The log as it was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) records: BTreeMap<ChargeId, ChargeRecord>,
    end: usize,
}

impl Charges {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn read(&self) -> Result<Read, BookError> {
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.at(&self.path)?,
        };
        let (lines, end) = line::whole(&bytes, &self.path)?;
        let mut records = BTreeMap::new();
        for json in lines {
            let record: ChargeRecord = line::read(json, &self.path)?;
            records.insert(record.id, record);
        }
        Ok(Read { records, end })
    }

    /// Writes one state, on the disk when this returns.
    pub(super) fn write(
        &self,
        read: Read,
        record: &ChargeRecord,
        now: Timestamp,
    ) -> Result<(), BookError> {
        let line = line::seal(record)?;
        if read.end.saturating_add(line.len()) > MAX_BYTES {
            let mut bytes = Vec::new();
            let mut records = read.records;
            records.insert(record.id, record.clone());
            for kept in records.values().filter(|kept| is_remembered(kept, now)) {
                bytes.extend(line::seal(kept)?);
            }
            return line::replace(&self.path, &bytes);
        }
        line::append(&self.path, read.end, &line, Flush::Now)?;
        line::sync_folder(&self.path)
    }
}
