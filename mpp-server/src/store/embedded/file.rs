//! The file, and what comes out of it.

use std::{ops::Bound, path::Path, sync::Arc};

use alloy_primitives::B256;
use bytes::Bytes;
use mpp_core::Timestamp;
use mpp_tempo::channel::ChannelId;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _};

use super::{
    snapshot::Snapshot,
    tables::{
        CHANNELS, CLAIMS, ClaimRow, DOCUMENTS, DocumentId, JOURNAL, LEDGER, OUTCOMES, Writing,
    },
};
use crate::store::{
    Document, DocumentKey, DocumentKind, DocumentPage, LedgerPage, Numbered, OutcomeKey,
    StoreFault, StoredOutcome, Version, Versioned,
    codec::{self, CodecError, journal::read_row, run::read_run},
};

/// The engine keeps recently used pages, up to so many bytes. All records are
/// in memory anyway.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// The file of an embedded store, locked against other processes.
#[derive(Debug)]
pub(super) struct StoreFile {
    database: Database,
    /// Rows of the journal that are damaged, and are still there.
    damaged: Vec<(u64, CodecError)>,
}

/// What becomes of a file whose journal is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// It is not opened: nobody sells from a part.
    Refuse,
    /// It is only looked at; the rest can still be read.
    Note,
}

/// An outcome and what is known of it without decoding it.
#[derive(Debug)]
pub(super) struct OutcomeRow {
    pub(super) key: OutcomeKey,
    pub(super) channel_id: ChannelId,
    pub(super) number: u64,
    pub(super) expires: Timestamp,
    /// Encoded; empty when only the index is read.
    pub(super) value: Bytes,
}

impl StoreFile {
    /// Opens or creates the file at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, StoreFault> {
        let opened = builder().create(path);
        let opened = opened.map_err(|error| cannot_open(path, error))?;
        let file = Self::prepare(opened, Damage::Refuse)?;
        sync_folder(path)?;
        Ok(file)
    }

    /// Opens the file at `path` without ever writing to it.
    pub(super) fn open_to_read(path: &Path) -> Result<Self, StoreFault> {
        let storage = Snapshot::open(path).map_err(|error| cannot_open(path, error))?;
        let opened = builder().create_with_backend(storage);
        let opened = opened.map_err(|error| cannot_open(path, error))?;
        Self::prepare(opened, Damage::Note)
    }

    /// Opens or creates a store on any storage.
    #[cfg(test)]
    pub(super) fn on(storage: impl redb::StorageBackend) -> Result<Self, StoreFault> {
        let opened = builder().create_with_backend(storage);
        Self::prepare(opened.map_err(fault)?, Damage::Refuse)
    }

    /// Gets the tables ready, and puts into them what a crash has left in the
    /// journal.
    fn prepare(database: Database, damage: Damage) -> Result<Self, StoreFault> {
        let mut file = Self {
            database,
            damaged: Vec::new(),
        };
        file.write(|writing| writing.prepare())?;
        let mut rows = Vec::new();
        let journal = file.read()?.open_table(JOURNAL).map_err(fault)?;
        for row in journal.iter().map_err(fault)? {
            let (number, row) = row.map_err(fault)?;
            match (read_row(row.value()).map(drop), damage) {
                (Ok(()), _) => rows.push((number.value(), row.value().to_vec())),
                (Err(error), Damage::Note) => file.damaged.push((number.value(), error)),
                (Err(error), Damage::Refuse) => return Err(error.into()),
            }
        }
        if !rows.is_empty() {
            file.write(|writing| {
                writing.fold(rows.iter().map(|(_, row)| row.as_slice()))?;
                rows.iter()
                    .try_for_each(|(number, _)| writing.strike(*number))
            })?;
        }
        Ok(file)
    }

    /// Rows of the journal that can not be read: commits of which nothing else
    /// is left.
    pub(super) fn damaged(&self) -> &[(u64, CodecError)] {
        &self.damaged
    }

    /// Writes all that `fill` says, or nothing; when it returns it is on the
    /// disk.
    pub(super) fn write(
        &self,
        fill: impl FnOnce(&Writing<'_>) -> Result<(), StoreFault>,
    ) -> Result<(), StoreFault> {
        let transaction = self.database.begin_write().map_err(fault)?;
        fill(&Writing(&transaction))?;
        transaction.commit().map_err(fault)
    }

    /// Calls `visit` with the key and the bytes of each record, in the order of ids.
    pub(super) fn records(
        &self,
        mut visit: impl FnMut(ChannelId, Version, &[u8]) -> Result<(), StoreFault>,
    ) -> Result<(), StoreFault> {
        let table = self.read()?.open_table(CHANNELS).map_err(fault)?;
        for row in table.iter().map_err(fault)? {
            let (id, value) = row.map_err(fault)?;
            let (version, record) = value.value();
            visit(ChannelId::new(*id.value()), Version(version), record)?;
        }
        Ok(())
    }

    /// All records, checked.
    pub(super) fn decoded_records(&self) -> Result<Vec<Versioned>, StoreFault> {
        let mut records = Vec::new();
        self.records(|id, version, bytes| {
            let record = Arc::new(codec::decode_record(id, bytes)?);
            records.push(Versioned { version, record });
            Ok(())
        })?;
        Ok(records)
    }

    /// Calls `visit` with each outcome's row.
    pub(super) fn outcomes(
        &self,
        mut visit: impl FnMut(OutcomeRow) -> Result<(), StoreFault>,
        values: Values,
    ) -> Result<(), StoreFault> {
        let table = self.read()?.open_table(OUTCOMES).map_err(fault)?;
        for row in table.iter().map_err(fault)? {
            let (key, row) = row.map_err(fault)?;
            let (channel_id, number, expires, value) = row.value();
            visit(OutcomeRow {
                key: OutcomeKey(B256::new(*key.value())),
                channel_id: ChannelId::new(*channel_id),
                number,
                expires: Timestamp::from_millis(expires),
                value: match values {
                    Values::Read => Bytes::copy_from_slice(value),
                    Values::Leave => Bytes::new(),
                },
            })?;
        }
        Ok(())
    }

    /// The outcome under a key.
    pub(super) fn outcome(&self, key: OutcomeKey) -> Result<Option<StoredOutcome>, StoreFault> {
        let table = self.read()?.open_table(OUTCOMES).map_err(fault)?;
        let Some(row) = table.get(&key.0.0).map_err(fault)? else {
            return Ok(None);
        };
        let (_, _, _, value) = row.value();
        Ok(Some(codec::decode_outcome(key, value)?))
    }

    /// All claims.
    pub(super) fn claims(&self) -> Result<Vec<ClaimRow>, StoreFault> {
        let table = self.read()?.open_table(CLAIMS).map_err(fault)?;
        let mut claims = Vec::new();
        for row in table.iter().map_err(fault)? {
            let (key, row) = row.map_err(fault)?;
            let (value, expires) = row.value();
            claims.push(ClaimRow {
                key: codec::decode_claim_key(key.value())?,
                value: B256::new(*value),
                expires: Timestamp::from_millis(expires),
            });
        }
        Ok(claims)
    }

    /// Key and version of each document.
    pub(super) fn document_versions(&self) -> Result<Vec<(DocumentKey, Version)>, StoreFault> {
        let mut found = Vec::new();
        for kind in DocumentKind::ALL {
            let keep = |id, version, _: &[u8]| {
                found.push((DocumentKey { kind, id }, version));
                Ok(Visit::More)
            };
            self.documents_after(kind, None, keep)?;
        }
        Ok(found)
    }

    /// The document under a key.
    pub(super) fn document(&self, key: DocumentKey) -> Result<Option<Document>, StoreFault> {
        let table = self.read()?.open_table(DOCUMENTS).map_err(fault)?;
        let row = table.get((key.kind.number(), &key.id.0)).map_err(fault)?;
        Ok(row.map(|row| {
            let (version, value) = row.value();
            document(version, value)
        }))
    }

    /// One page of documents.
    pub(super) fn documents(
        &self,
        page: DocumentPage,
    ) -> Result<Vec<(B256, Document)>, StoreFault> {
        let mut found = Vec::new();
        if page.limit == 0 {
            return Ok(found);
        }
        self.documents_after(page.kind, page.after, |id, version, value| {
            found.push((id, document(version.0, value)));
            Ok(match found.len() < page.limit {
                true => Visit::More,
                false => Visit::Enough,
            })
        })?;
        Ok(found)
    }

    /// Calls `visit` with id, version and bytes of each document of a kind
    /// after an id, until it has seen enough.
    pub(super) fn documents_after(
        &self,
        kind: DocumentKind,
        after: Option<B256>,
        mut visit: impl FnMut(B256, Version, &[u8]) -> Result<Visit, StoreFault>,
    ) -> Result<(), StoreFault> {
        let (number, last) = (kind.number(), [0xFF; 32]);
        let first = match &after {
            Some(after) => Bound::Excluded((number, &after.0)),
            None => Bound::Included((number, &[0; 32])),
        };
        if after.is_some_and(|after| after.0 == last) {
            return Ok(());
        }
        let range = (first, Bound::Included((number, &last)));
        let table = self.read()?.open_table(DOCUMENTS).map_err(fault)?;
        for row in table.range::<DocumentId<'_>>(range).map_err(fault)? {
            let (key, row) = row.map_err(fault)?;
            let ((_, id), (version, value)) = (key.value(), row.value());
            if visit(B256::new(*id), Version(version), value)? == Visit::Enough {
                break;
            }
        }
        Ok(())
    }

    /// The number of the newest ledger entry; zero when there is none.
    pub(super) fn newest_entry(&self) -> Result<u64, StoreFault> {
        let table = self.read()?.open_table(LEDGER).map_err(fault)?;
        let Some((_, run)) = table.last().map_err(fault)? else {
            return Ok(0);
        };
        let entries = read_run(run.value())?;
        Ok(entries.last().map_or(0, |(number, _)| *number))
    }

    /// Calls `visit` with number and bytes of each entry after a number, until
    /// it has seen enough. A run that can not be taken apart is shown as one
    /// entry, which can not be read.
    pub(super) fn entries(
        &self,
        after: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Result<Visit, StoreFault>,
    ) -> Result<(), StoreFault> {
        let table = self.read()?.open_table(LEDGER).map_err(fault)?;
        let before = table.range(..=after).map_err(fault)?.next_back();
        let start = before.transpose().map_err(fault)?;
        let start = start.map_or(after, |(first, _)| first.value());
        for row in table.range(start..).map_err(fault)? {
            let (first, run) = row.map_err(fault)?;
            let entries = read_run(run.value());
            let entries = entries.unwrap_or_else(|_| vec![(first.value(), run.value())]);
            for (number, entry) in entries {
                if number > after && visit(number, entry)? == Visit::Enough {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// One page of the ledger.
    pub(super) fn ledger(&self, page: LedgerPage) -> Result<Vec<Numbered>, StoreFault> {
        let mut lines = Vec::new();
        if page.limit == 0 {
            return Ok(lines);
        }
        self.entries(page.after, |number, bytes| {
            let entry = codec::decode_entry(bytes)?;
            if page.channel.is_none_or(|id| id == entry.channel_id) {
                lines.push(Numbered { number, entry });
            }
            Ok(match lines.len() < page.limit {
                true => Visit::More,
                false => Visit::Enough,
            })
        })?;
        Ok(lines)
    }

    fn read(&self) -> Result<ReadTransaction, StoreFault> {
        self.database.begin_read().map_err(fault)
    }
}

/// Whether the values of rows are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    Read,
    Leave,
}

/// Whether a visitor wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    More,
    Enough,
}

fn document(version: u64, value: &[u8]) -> Document {
    Document {
        version: Version(version),
        value: Bytes::copy_from_slice(value),
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// A new file is durable only once its name is.
fn sync_folder(path: &Path) -> Result<(), StoreFault> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| {
        let message = format!("the folder of {} can not be synced", path.display());
        StoreFault::lasting(message, Some(error.into()))
    })
}

fn cannot_open(path: &Path, error: redb::DatabaseError) -> StoreFault {
    let path = path.display();
    let message = match &error {
        redb::DatabaseError::DatabaseAlreadyOpen | redb::DatabaseError::LockProtocolMismatch => {
            format!("the channel store {path} is open in another process")
        }
        _ => format!("the channel store {path} can not be opened"),
    };
    StoreFault::lasting(message, Some(error.into()))
}

/// Whatever goes wrong with the file needs a person: a full disk, a bad disk,
/// a damaged file.
pub(super) fn fault(error: impl Into<redb::Error>) -> StoreFault {
    let message = "the file of the channel store can not be read or written";
    StoreFault::lasting(message, Some(error.into().into()))
}
