//! The file: tables, and what goes in and out of them.

use std::{ops::Bound, path::Path, sync::Arc};

use alloy_primitives::B256;
use bytes::Bytes;
use mpp_core::Timestamp;
use mpp_tempo::channel::ChannelId;
use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, Table,
    TableDefinition, WriteTransaction,
};

use super::snapshot::Snapshot;
use crate::store::{
    ClaimKey, Document, DocumentKey, DocumentKind, DocumentPage, LedgerPage, Numbered, OutcomeKey,
    StoreFault, StoredOutcome, Version, Versioned, codec,
};

/// What kind of file this is, and of which layout.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("mpp-channel-store");
/// Channel id to version and record.
const CHANNELS: TableDefinition<'_, &[u8; 32], (u64, &[u8])> = TableDefinition::new("channels");
/// Number to ledger entry.
const LEDGER: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("ledger");
/// Outcome key to what is known of the outcome, and the outcome.
const OUTCOMES: TableDefinition<'_, &[u8; 32], OutcomeValue<'_>> = TableDefinition::new("outcomes");
/// Claim key to value and end in milliseconds.
const CLAIMS: TableDefinition<'_, &[u8], (&[u8; 32], i64)> = TableDefinition::new("claims");

/// Kind and id to version and value.
const DOCUMENTS: TableDefinition<'_, DocumentId<'_>, (u64, &[u8])> =
    TableDefinition::new("documents");

type DocumentId<'a> = (u8, &'a [u8; 32]);

type ClaimTable<'a> = Table<'a, &'static [u8], (&'static [u8; 32], i64)>;

/// Channel, number, end in milliseconds, and the encoded outcome.
type OutcomeValue<'a> = (&'a [u8; 32], u64, i64, &'a [u8]);

const LAYOUT: &str = "layout";
const LAYOUT_VERSION: u64 = 1;
/// The engine keeps recently used pages, up to so many bytes. All records are
/// in memory anyway.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// The file of an embedded store, locked against other processes.
#[derive(Debug)]
pub(super) struct StoreFile(Database);

/// One change to the file.
#[derive(Debug)]
pub(super) enum Change {
    /// A record, with what is committed together with it.
    Record {
        id: ChannelId,
        version: Version,
        record: Bytes,
        entry: Option<(u64, Bytes)>,
        outcome: Option<OutcomeRow>,
        /// Outcomes that the new one pushes out.
        forget: Vec<OutcomeKey>,
    },
    /// A claim, in place of those that have ended.
    Claim {
        key: ClaimKey,
        value: B256,
        expires: Timestamp,
        forget: Vec<ClaimKey>,
    },
    /// Documents that are written together.
    Documents(Vec<DocumentRow>),
    /// What has ended.
    Ended {
        claims: Vec<ClaimKey>,
        outcomes: Vec<OutcomeKey>,
    },
}

/// A document as it is written; without a value it is removed.
#[derive(Debug)]
pub(super) struct DocumentRow {
    pub(super) key: DocumentKey,
    pub(super) version: Version,
    pub(super) value: Option<Bytes>,
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

/// A claim as it is kept.
#[derive(Debug)]
pub(super) struct ClaimRow {
    pub(super) key: ClaimKey,
    pub(super) value: B256,
    pub(super) expires: Timestamp,
}

impl StoreFile {
    /// Opens or creates the file at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, StoreFault> {
        let opened = builder().create(path);
        let file = Self::prepare(opened.map_err(|error| cannot_open(path, error))?)?;
        sync_folder(path)?;
        Ok(file)
    }

    /// Opens the file at `path` without ever writing to it.
    pub(super) fn open_to_read(path: &Path) -> Result<Self, StoreFault> {
        let storage = Snapshot::open(path).map_err(|error| cannot_open(path, error))?;
        let opened = builder().create_with_backend(storage);
        Self::prepare(opened.map_err(|error| cannot_open(path, error))?)
    }

    /// Opens or creates a store on any storage.
    #[cfg(test)]
    pub(super) fn on(storage: impl redb::StorageBackend) -> Result<Self, StoreFault> {
        Self::prepare(builder().create_with_backend(storage).map_err(fault)?)
    }

    /// Makes the tables of an empty file, and refuses foreign files.
    fn prepare(database: Database) -> Result<Self, StoreFault> {
        let transaction = database.begin_write().map_err(fault)?;
        let is_empty = transaction.list_tables().map_err(fault)?.next().is_none();
        {
            let mut meta = transaction.open_table(META).map_err(fault)?;
            let layout = meta
                .get(LAYOUT)
                .map_err(fault)?
                .map(|layout| layout.value());
            match layout {
                Some(LAYOUT_VERSION) => {}
                Some(other) => {
                    let message = format!("the channel store has the unknown layout {other}");
                    return Err(StoreFault::lasting(message, None));
                }
                None if is_empty => {
                    meta.insert(LAYOUT, LAYOUT_VERSION).map_err(fault)?;
                }
                None => return Err(StoreFault::lasting("the file is not a channel store", None)),
            }
            transaction.open_table(CHANNELS).map_err(fault)?;
            transaction.open_table(LEDGER).map_err(fault)?;
            transaction.open_table(OUTCOMES).map_err(fault)?;
            transaction.open_table(CLAIMS).map_err(fault)?;
            // Files of before there were documents get the table here.
            transaction.open_table(DOCUMENTS).map_err(fault)?;
        }
        transaction.commit().map_err(fault)?;
        Ok(Self(database))
    }

    /// Writes all changes that are put into the tables, or none; when it
    /// returns they are on the disk.
    pub(super) fn write(
        &self,
        fill: impl FnOnce(&mut Tables<'_>) -> Result<(), StoreFault>,
    ) -> Result<(), StoreFault> {
        let transaction = self.0.begin_write().map_err(fault)?;
        fill(&mut Tables::open(&transaction)?)?;
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
        let last = table.last().map_err(fault)?;
        Ok(last.map_or(0, |(number, _)| number.value()))
    }

    /// Calls `visit` with number and bytes of each entry after a number, until
    /// it has seen enough.
    pub(super) fn entries(
        &self,
        after: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Result<Visit, StoreFault>,
    ) -> Result<(), StoreFault> {
        let Some(first) = after.checked_add(1) else {
            return Ok(());
        };
        let table = self.read()?.open_table(LEDGER).map_err(fault)?;
        for row in table.range(first..).map_err(fault)? {
            let (number, entry) = row.map_err(fault)?;
            if visit(number.value(), entry.value())? == Visit::Enough {
                break;
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
        self.0.begin_read().map_err(fault)
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

/// The tables of a write under way.
#[derive(Debug)]
pub(super) struct Tables<'a> {
    channels: Table<'a, &'static [u8; 32], (u64, &'static [u8])>,
    ledger: Table<'a, u64, &'static [u8]>,
    outcomes: Table<'a, &'static [u8; 32], OutcomeValue<'static>>,
    claims: ClaimTable<'a>,
    documents: Table<'a, DocumentId<'static>, (u64, &'static [u8])>,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, StoreFault> {
        Ok(Self {
            channels: transaction.open_table(CHANNELS).map_err(fault)?,
            ledger: transaction.open_table(LEDGER).map_err(fault)?,
            outcomes: transaction.open_table(OUTCOMES).map_err(fault)?,
            claims: transaction.open_table(CLAIMS).map_err(fault)?,
            documents: transaction.open_table(DOCUMENTS).map_err(fault)?,
        })
    }

    /// Puts one change in; it counts when the write is done.
    pub(super) fn put(&mut self, change: &Change) -> Result<(), StoreFault> {
        match change {
            Change::Record {
                id,
                version,
                record,
                entry,
                outcome,
                forget,
            } => {
                let row = (version.0, record.as_ref());
                self.channels.insert(&id.0, row).map_err(fault)?;
                if let Some((number, entry)) = entry {
                    self.ledger.insert(number, entry.as_ref()).map_err(fault)?;
                }
                if let Some(outcome) = outcome {
                    let end = outcome.expires.as_millis();
                    let channel = &outcome.channel_id.0;
                    let row = (channel, outcome.number, end, outcome.value.as_ref());
                    self.outcomes.insert(&outcome.key.0.0, row).map_err(fault)?;
                }
                for key in forget {
                    self.outcomes.remove(&key.0.0).map_err(fault)?;
                }
            }
            Change::Claim {
                key,
                value,
                expires,
                forget,
            } => {
                remove_claims(&mut self.claims, forget)?;
                let key = codec::encode_claim_key(key);
                let row = (&value.0, expires.as_millis());
                self.claims.insert(key.as_ref(), row).map_err(fault)?;
            }
            Change::Ended {
                claims: ended,
                outcomes: forget,
            } => {
                remove_claims(&mut self.claims, ended)?;
                for key in forget {
                    self.outcomes.remove(&key.0.0).map_err(fault)?;
                }
            }
            Change::Documents(rows) => {
                for row in rows {
                    let key = (row.key.kind.number(), &row.key.id.0);
                    match &row.value {
                        Some(value) => {
                            let row = (row.version.0, value.as_ref());
                            self.documents.insert(key, row).map_err(fault)?;
                        }
                        None => {
                            self.documents.remove(key).map_err(fault)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn remove_claims(claims: &mut ClaimTable<'_>, keys: &[ClaimKey]) -> Result<(), StoreFault> {
    for key in keys {
        let key = codec::encode_claim_key(key);
        claims.remove(key.as_ref()).map_err(fault)?;
    }
    Ok(())
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
fn fault(error: impl Into<redb::Error>) -> StoreFault {
    let message = "the file of the channel store can not be read or written";
    StoreFault::lasting(message, Some(error.into().into()))
}
