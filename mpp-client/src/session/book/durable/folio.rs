//! The log of one channel: how it came to be, then its states, the last of which counts.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mpp_tempo::ChannelTerms;
use serde::{Deserialize, Serialize};

use super::fault::At as _;
use super::line::{self, Flush};
use super::lock::FileLock;
use crate::session::book::{
    BookError, ChannelKey, ChannelRecord, OpenAttempt, PendingTopUp, Phase, record::signed,
};
use crate::session::ledger::{Ledger, Running};

/// A log that would grow beyond this many bytes is written anew with its last state.
const MAX_BYTES: usize = 64 * 1024;

/// What never changes. The first line of the log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Birth {
    /// Channels are numbered as they are added.
    pub(super) number: u64,
    pub(super) key: ChannelKey,
    pub(super) terms: ChannelTerms,
    open: Option<OpenAttempt>,
}

/// One further line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) kept: Kept,
    /// What each handle of the book has running.
    pub(super) running: BTreeMap<String, Running>,
}

/// The part of a record that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) phase: Phase,
    pub(super) ledger: Ledger,
    #[serde(with = "signed")]
    best: mpp_tempo::SignedVoucher,
    top_up: Option<PendingTopUp>,
    /// Not in logs of older versions.
    #[serde(default)]
    grows_until: u64,
}

impl From<ChannelRecord> for Kept {
    fn from(record: ChannelRecord) -> Self {
        Self {
            phase: record.phase,
            ledger: record.ledger,
            best: record.best,
            top_up: record.top_up,
            grows_until: record.grows_until,
        }
    }
}

impl State {
    pub(super) fn running_of(&self, owner: &str) -> Running {
        self.running.get(owner).copied().unwrap_or_default()
    }

    pub(super) fn set_running(&mut self, owner: &str, running: Running) {
        if running.is_nothing() {
            self.running.remove(owner);
        } else {
            self.running.insert(owner.to_owned(), running);
        }
    }

    /// Whether something must be on the disk before it is acted upon: a lower signed amount would
    /// be refused for ever, another phase or a forgotten top-up could cost a deposit, and a request
    /// that pays out of what is signed already would be charged and not explained.
    pub(super) fn promises_more_than(&self, before: &Self) -> bool {
        let promise = |state: &Self| {
            let ledger = &state.kept.ledger;
            (ledger.signed(), ledger.deposit())
        };
        promise(self) != promise(before)
            || self.kept.ledger.exposed() > before.kept.ledger.exposed()
            || self.kept.phase != before.kept.phase
            || self.kept.top_up != before.kept.top_up
    }
}

pub(super) fn split(record: ChannelRecord, number: u64) -> (Birth, State) {
    let birth = Birth {
        number,
        key: record.key.clone(),
        terms: record.terms,
        open: record.open.clone(),
    };
    let state = State {
        kept: Kept::from(record),
        running: BTreeMap::new(),
    };
    (birth, state)
}

pub(super) fn join(birth: &Birth, kept: Kept) -> ChannelRecord {
    ChannelRecord {
        id: birth.terms.id(),
        key: birth.key.clone(),
        terms: birth.terms,
        phase: kept.phase,
        ledger: kept.ledger,
        open: birth.open.clone(),
        best: kept.best,
        top_up: kept.top_up,
        grows_until: kept.grows_until,
    }
}

/// Writes the log of a new channel, as a whole and on the disk.
pub(super) fn create(path: &Path, birth: &Birth, state: &State) -> Result<(), BookError> {
    let mut bytes = line::seal(birth)?;
    bytes.extend(line::seal(state)?);
    line::replace(path, &bytes)
}

/// Reads how a channel came to be.
///
/// # Errors
/// [`BookError::Unknown`] without a log, [`BookError::Damaged`] for one that can not be trusted.
pub(super) fn birth(path: &Path) -> Result<Birth, BookError> {
    let bytes = bytes(path)?;
    let (lines, _) = line::whole(&bytes, path)?;
    let first = lines.first().ok_or_else(|| BookError::damaged(path))?;
    line::read(first, path)
}

/// Reads the last state.
///
/// # Errors
/// As [`birth`].
pub(super) fn state(path: &Path) -> Result<State, BookError> {
    let bytes = bytes(path)?;
    let (last, _) = line::last(&bytes, path)?;
    line::read(last, path)
}

fn bytes(path: &Path) -> Result<Vec<u8>, BookError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BookError::Unknown),
        read => read.at(path),
    }
}

/// One channel's log as this handle uses it.
#[derive(Debug)]
pub(super) struct Folio {
    path: PathBuf,
    guard: PathBuf,
    birth: Arc<Birth>,
}

impl Folio {
    pub(super) fn new(path: PathBuf, guard: PathBuf, birth: Arc<Birth>) -> Self {
        Self { path, guard, birth }
    }

    /// Locks the channel and reads its state.
    pub(super) fn begin(&mut self) -> Result<Page<'_>, BookError> {
        let held = FileLock::acquire(&self.guard)?;
        let bytes = bytes(&self.path)?;
        let (state, end) = line::last(&bytes, &self.path)?;
        Ok(Page {
            birth: &self.birth,
            state: line::read(state, &self.path)?,
            path: &self.path,
            end,
            _held: held,
        })
    }
}

/// The state of a locked channel.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) birth: &'a Birth,
    pub(super) state: State,
    path: &'a Path,
    end: usize,
    _held: FileLock,
}

impl Page<'_> {
    /// Writes the state; a promise is on the disk when this returns.
    pub(super) fn write(self, is_promise: bool) -> Result<(), BookError> {
        let line = line::seal(&self.state)?;
        if self.end.saturating_add(line.len()) > MAX_BYTES {
            return create(self.path, self.birth, &self.state);
        }
        let flush = if is_promise { Flush::Now } else { Flush::Later };
        line::append(self.path, self.end, &line, flush)
    }
}
