//! Which documents there are, and what of them waits for the disk.
//!
//! Values on the disk stay there: memory holds their versions only.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::tables::DocumentRow;
use crate::store::{Document, DocumentKey, DocumentWrite, Version};

/// The documents of a store, as far as they are in memory.
#[derive(Debug, Default)]
pub(super) struct Documents {
    slots: BTreeMap<DocumentKey, Slot>,
    /// How many writes wait for the disk.
    waiting: usize,
}

#[derive(Debug)]
struct Slot {
    version: Version,
    value: Value,
}

#[derive(Debug)]
enum Value {
    OnDisk,
    Waiting(Bytes),
    Removing,
}

/// Where a document is found.
#[derive(Debug)]
pub(super) enum Place {
    Nowhere,
    InFile,
    /// Here, and it counts once what waits is on the disk.
    InMemory(Option<Document>),
}

impl Documents {
    /// What a file holds.
    pub(super) fn new(found: impl IntoIterator<Item = (DocumentKey, Version)>) -> Self {
        let slot = |(key, version)| {
            let value = Value::OnDisk;
            (key, Slot { version, value })
        };
        Self {
            slots: found.into_iter().map(slot).collect(),
            waiting: 0,
        }
    }

    /// Whether something waits for the disk.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    pub(super) fn find(&self, key: DocumentKey) -> Place {
        let Some(slot) = self.slots.get(&key) else {
            return Place::Nowhere;
        };
        match &slot.value {
            Value::OnDisk => Place::InFile,
            Value::Removing => Place::InMemory(None),
            Value::Waiting(value) => Place::InMemory(Some(Document {
                version: slot.version,
                value: value.clone(),
            })),
        }
    }

    /// Takes all writes, if their versions are the expected ones.
    pub(super) fn write(&mut self, writes: Vec<DocumentWrite>) -> Option<Vec<DocumentRow>> {
        let fits = |write: &DocumentWrite| self.version(write.key) == write.expected;
        if !writes.iter().all(fits) {
            return None;
        }
        self.waiting = self.waiting.saturating_add(1);
        let rows = writes.into_iter().map(|write| {
            let version = write.version();
            let value = match &write.value {
                Some(value) => Value::Waiting(value.clone()),
                None => Value::Removing,
            };
            self.slots.insert(write.key, Slot { version, value });
            DocumentRow {
                key: write.key,
                version,
                value: write.value,
            }
        });
        Some(rows.collect())
    }

    /// Notes that a write is on the disk.
    pub(super) fn settle(&mut self, rows: &[DocumentRow]) {
        self.waiting = self.waiting.saturating_sub(1);
        for row in rows {
            let newest = self.slots.get_mut(&row.key);
            let Some(slot) = newest.filter(|slot| slot.version == row.version) else {
                continue;
            };
            match row.value {
                Some(_) => slot.value = Value::OnDisk,
                None => {
                    self.slots.remove(&row.key);
                }
            }
        }
    }

    fn version(&self, key: DocumentKey) -> Option<Version> {
        let slot = self.slots.get(&key)?;
        match slot.value {
            Value::Removing => None,
            Value::OnDisk | Value::Waiting(_) => Some(slot.version),
        }
    }
}
