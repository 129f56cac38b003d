//! The tables of the file, and what goes into them.

use std::collections::BTreeMap;

use bytes::Bytes;
use mpp_core::Timestamp;
use mpp_tempo::channel::ChannelId;
use redb::{ReadableTable as _, Table, TableDefinition, WriteTransaction};

use super::file::fault;
use crate::store::{
    ClaimKey, DocumentKey, StoreFault, Version,
    codec::{
        self,
        journal::{Item, read_row},
        run::Run,
    },
};

/// What kind of file this is, and of which layout.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("mpp-channel-store");
/// Number to the changes of channels that are not in the tables yet.
pub(super) const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
/// Channel id to version and record.
pub(super) const CHANNELS: TableDefinition<'_, &[u8; 32], (u64, &[u8])> =
    TableDefinition::new("channels");
/// Number of the first of several ledger entries to all of them.
pub(super) const LEDGER: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("ledger-runs");
/// Number to ledger entry, in files of layout 1.
const SINGLE_ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("ledger");
/// Outcome key to what is known of the outcome, and the outcome.
pub(super) const OUTCOMES: TableDefinition<'_, &[u8; 32], OutcomeValue<'_>> =
    TableDefinition::new("outcomes");
/// Claim key to value and end in milliseconds.
pub(super) const CLAIMS: TableDefinition<'_, &[u8], (&[u8; 32], i64)> =
    TableDefinition::new("claims");
/// Kind and id to version and value.
pub(super) const DOCUMENTS: TableDefinition<'_, DocumentId<'_>, (u64, &[u8])> =
    TableDefinition::new("documents");

pub(super) type DocumentId<'a> = (u8, &'a [u8; 32]);

type ClaimTable<'a> = Table<'a, &'static [u8], (&'static [u8; 32], i64)>;

/// Channel, number, end in milliseconds, and the encoded outcome.
type OutcomeValue<'a> = (&'a [u8; 32], u64, i64, &'a [u8]);

const LAYOUT: &str = "layout";
/// 2 has a journal, and ledger entries are kept together.
const LAYOUT_VERSION: u64 = 2;

/// A document as it is written; without a value it is removed.
#[derive(Debug)]
pub(super) struct DocumentRow {
    pub(super) key: DocumentKey,
    pub(super) version: Version,
    pub(super) value: Option<Bytes>,
}

/// A claim as it is kept.
#[derive(Debug)]
pub(super) struct ClaimRow {
    pub(super) key: ClaimKey,
    pub(super) value: alloy_primitives::B256,
    pub(super) expires: Timestamp,
}

/// A write of the file under way: all of it counts, or nothing.
pub(super) struct Writing<'a>(pub(super) &'a WriteTransaction);

impl Writing<'_> {
    /// Makes the tables of an empty file, and refuses foreign files.
    pub(super) fn prepare(&self) -> Result<(), StoreFault> {
        let is_empty = self.0.list_tables().map_err(fault)?.next().is_none();
        let mut meta = self.0.open_table(META).map_err(fault)?;
        let layout = meta
            .get(LAYOUT)
            .map_err(fault)?
            .map(|layout| layout.value());
        match layout {
            Some(LAYOUT_VERSION) => {}
            None if !is_empty => {
                return Err(StoreFault::lasting("the file is not a channel store", None));
            }
            None => {
                meta.insert(LAYOUT, LAYOUT_VERSION).map_err(fault)?;
            }
            Some(1) => {
                meta.insert(LAYOUT, LAYOUT_VERSION).map_err(fault)?;
                self.join_entries()?;
            }
            Some(other) => {
                let message = format!("the channel store has the unknown layout {other}");
                return Err(StoreFault::lasting(message, None));
            }
        }
        self.0.open_table(JOURNAL).map_err(fault)?;
        self.0.open_table(CHANNELS).map_err(fault)?;
        self.0.open_table(LEDGER).map_err(fault)?;
        self.0.open_table(OUTCOMES).map_err(fault)?;
        self.0.open_table(CLAIMS).map_err(fault)?;
        // Files of before there were documents get the table here.
        self.0.open_table(DOCUMENTS).map_err(fault)?;
        Ok(())
    }

    /// Keeps ledger entries together that were kept one by one.
    fn join_entries(&self) -> Result<(), StoreFault> {
        let single = self.0.open_table(SINGLE_ENTRIES).map_err(fault)?;
        let mut ledger = Ledger::open(self.0)?;
        for entry in single.iter().map_err(fault)? {
            let (number, entry) = entry.map_err(fault)?;
            ledger.push(number.value(), entry.value())?;
        }
        ledger.finish()?;
        drop(single);
        self.0.delete_table(SINGLE_ENTRIES).map_err(fault)?;
        Ok(())
    }

    /// Adds a row to the journal.
    pub(super) fn append(&self, number: u64, row: &[u8]) -> Result<(), StoreFault> {
        let mut journal = self.0.open_table(JOURNAL).map_err(fault)?;
        journal.insert(number, row).map_err(fault)?;
        Ok(())
    }

    /// Takes a row out of the journal.
    pub(super) fn strike(&self, number: u64) -> Result<(), StoreFault> {
        let mut journal = self.0.open_table(JOURNAL).map_err(fault)?;
        journal.remove(number).map_err(fault)?;
        Ok(())
    }

    /// Empties the journal.
    pub(super) fn strike_all(&self) -> Result<(), StoreFault> {
        self.0.delete_table(JOURNAL).map_err(fault)?;
        self.0.open_table(JOURNAL).map_err(fault)?;
        Ok(())
    }

    /// Puts what rows of the journal say into the tables: of each channel only
    /// the newest record, and everything in the order of its key, so that each
    /// page is touched once.
    pub(super) fn fold<'r>(
        &self,
        rows: impl IntoIterator<Item = &'r [u8]>,
    ) -> Result<(), StoreFault> {
        let mut records = BTreeMap::new();
        let mut outcomes = BTreeMap::new();
        let mut ledger = Ledger::open(self.0)?;
        for row in rows {
            for Item {
                ended,
                entry,
                change,
            } in read_row(row)?
            {
                outcomes.extend(ended.iter().map(|key| (*key, None)));
                let Some(change) = change else {
                    continue;
                };
                if let Some(bytes) = change.entry {
                    ledger.push(entry, bytes.0)?;
                }
                if let Some(outcome) = change.outcome {
                    outcomes.insert(outcome.key, Some((change.id, outcome)));
                }
                records.insert(change.id, (change.version, change.record));
            }
        }
        ledger.finish()?;
        let mut channels = self.0.open_table(CHANNELS).map_err(fault)?;
        for (id, (version, record)) in &records {
            channels.insert(id, (*version, record.0)).map_err(fault)?;
        }
        let mut table = self.0.open_table(OUTCOMES).map_err(fault)?;
        for (key, outcome) in &outcomes {
            match outcome {
                Some((id, outcome)) => {
                    let row = (id, outcome.number, outcome.expires, outcome.value.0);
                    table.insert(key, row).map_err(fault)?;
                }
                None => {
                    table.remove(key).map_err(fault)?;
                }
            }
        }
        Ok(())
    }

    /// Puts a record into its table, past the journal.
    pub(super) fn record(
        &self,
        id: ChannelId,
        version: Version,
        record: &[u8],
    ) -> Result<(), StoreFault> {
        let mut channels = self.0.open_table(CHANNELS).map_err(fault)?;
        channels.insert(&id.0, (version.0, record)).map_err(fault)?;
        Ok(())
    }

    /// Makes a claim.
    pub(super) fn claim(&self, claim: &ClaimRow) -> Result<(), StoreFault> {
        let mut claims = self.0.open_table(CLAIMS).map_err(fault)?;
        let key = codec::encode_claim_key(&claim.key);
        let row = (&claim.value.0, claim.expires.as_millis());
        claims.insert(key.as_ref(), row).map_err(fault)?;
        Ok(())
    }

    /// Removes claims that have ended.
    pub(super) fn end_claims(&self, ended: &[ClaimKey]) -> Result<(), StoreFault> {
        remove(&mut self.0.open_table(CLAIMS).map_err(fault)?, ended)
    }

    /// Writes and removes documents.
    pub(super) fn documents(&self, rows: &[DocumentRow]) -> Result<(), StoreFault> {
        let mut documents = self.0.open_table(DOCUMENTS).map_err(fault)?;
        for row in rows {
            let key = (row.key.kind.number(), &row.key.id.0);
            match &row.value {
                Some(value) => {
                    let row = (row.version.0, value.as_ref());
                    documents.insert(key, row).map_err(fault)?;
                }
                None => {
                    documents.remove(key).map_err(fault)?;
                }
            }
        }
        Ok(())
    }
}

/// Entries on their way into the ledger.
struct Ledger<'a> {
    table: Table<'a, u64, &'static [u8]>,
    run: Run,
}

impl<'a> Ledger<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, StoreFault> {
        let table = transaction.open_table(LEDGER).map_err(fault)?;
        let run = Run::default();
        Ok(Self { table, run })
    }

    fn push(&mut self, number: u64, entry: &[u8]) -> Result<(), StoreFault> {
        let full = self.run.push(number, entry);
        self.insert(full)
    }

    fn finish(mut self) -> Result<(), StoreFault> {
        let rest = self.run.take();
        self.insert(rest)
    }

    fn insert(&mut self, run: Option<(u64, Vec<u8>)>) -> Result<(), StoreFault> {
        if let Some((first, run)) = run {
            self.table.insert(first, run.as_slice()).map_err(fault)?;
        }
        Ok(())
    }
}

fn remove(claims: &mut ClaimTable<'_>, keys: &[ClaimKey]) -> Result<(), StoreFault> {
    for key in keys {
        let key = codec::encode_claim_key(key);
        claims.remove(key.as_ref()).map_err(fault)?;
    }
    Ok(())
}
