//! A store in memory, for tests and demonstrations.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy_primitives::B256;
use mpp_core::Timestamp;
use mpp_tempo::channel::ChannelId;
use tokio::sync::watch;

use super::{
    ChannelStore, Claim, ClaimKey, Commit, Document, DocumentKey, DocumentPage, DocumentWrite,
    Durability, LedgerPage, Numbered, OUTCOMES_PER_CHANNEL, OutcomeKey, Scan, StoreFault,
    StoredOutcome, Version, Versioned, Which, Write, Written, document,
};
use crate::session::record::{ChannelRecord, LedgerEntry};

/// Keeps everything in memory: a restart forgets accepted vouchers.
///
/// Channels and ledger entries are kept for ever, so memory grows with every
/// charge. Claims end with the challenge they belong to, outcomes with time or
/// when newer ones of their channel take their place.
///
/// Cheap to clone; clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Content>>);

#[derive(Clone, Debug, Default)]
struct Content {
    channels: BTreeMap<ChannelId, Entry>,
    ledger: Vec<LedgerEntry>,
    outcomes: HashMap<OutcomeKey, StoredOutcome>,
    /// Keys of the outcomes by channel and number.
    numbered: BTreeMap<(ChannelId, u64), OutcomeKey>,
    claims: HashMap<ClaimKey, (B256, Timestamp)>,
    documents: BTreeMap<DocumentKey, Document>,
}

impl Content {
    /// Keeps an outcome in the place of the oldest of its channel.
    fn keep(&mut self, outcome: StoredOutcome) {
        let (id, number) = (outcome.channel_id, outcome.number);
        let key = outcome.key;
        if let Some(before) = self.outcomes.insert(key, outcome) {
            self.numbered.remove(&(before.channel_id, before.number));
        }
        self.numbered.insert((id, number), key);
        let oldest = number.saturating_sub(OUTCOMES_PER_CHANNEL);
        let stale = self.numbered.range((id, 0)..=(id, oldest));
        let stale: Vec<_> = stale.map(|(place, key)| (*place, *key)).collect();
        for (place, key) in stale {
            self.numbered.remove(&place);
            self.outcomes.remove(&key);
        }
    }
}

#[derive(Debug)]
struct Entry {
    record: Arc<ChannelRecord>,
    version: watch::Sender<Version>,
}

impl Clone for Entry {
    /// Whoever waits for the one does not wait for the other.
    fn clone(&self) -> Self {
        Self {
            record: Arc::clone(&self.record),
            version: watch::Sender::new(*self.version.borrow()),
        }
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many claims and outcomes take room.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        let content = self.lock();
        content.claims.len().saturating_add(content.outcomes.len())
    }

    /// A store of its own with the present content, as a backup has it.
    #[must_use]
    pub fn backup(&self) -> Self {
        Self(Arc::new(Mutex::new(self.lock().clone())))
    }

    // A panic while the lock is held can not leave a half-done write: nothing
    // below can panic between the first change and the last.
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit_now(&self, write: Write) -> Commit {
        let mut content = self.lock();
        let id = write.next.id;
        let version = match (content.channels.get_mut(&id), write.expected) {
            (None, None) => {
                let version = Version(1);
                content.channels.insert(
                    id,
                    Entry {
                        record: write.next,
                        version: watch::Sender::new(version),
                    },
                );
                version
            }
            (Some(entry), Some(expected)) if *entry.version.borrow() == expected => {
                let version = Version(expected.0.saturating_add(1));
                entry.record = write.next;
                entry.version.send_replace(version);
                version
            }
            _ => return Commit::Conflict,
        };
        content.ledger.extend(write.entry);
        if let Some(outcome) = write.outcome {
            content.keep(outcome);
        }
        Commit::Done(version)
    }
}

impl ChannelStore for MemoryStore {
    async fn load(&self, id: ChannelId) -> Result<Option<Versioned>, StoreFault> {
        let content = self.lock();
        Ok(content.channels.get(&id).map(|entry| Versioned {
            version: *entry.version.borrow(),
            record: Arc::clone(&entry.record),
        }))
    }

    async fn commit(&self, write: Write) -> Result<Commit, StoreFault> {
        Ok(self.commit_now(write))
    }

    async fn claim(
        &self,
        key: ClaimKey,
        value: B256,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Claim, StoreFault> {
        let mut content = self.lock();
        // What else has ended by this clock is for the sweep, which allows for
        // clocks that differ.
        if let Some((existing, _)) = content.claims.get(&key).filter(|(_, end)| *end > now) {
            return Ok(Claim::Existing(*existing));
        }
        content.claims.insert(key, (value, expires));
        Ok(Claim::New)
    }

    async fn oldest_outcome(&self, id: ChannelId) -> Result<Option<StoredOutcome>, StoreFault> {
        let content = self.lock();
        let mut numbered = content.numbered.range((id, 0)..=(id, u64::MAX));
        let oldest = numbered
            .next()
            .and_then(|(_, key)| content.outcomes.get(key));
        Ok(oldest.cloned())
    }

    async fn changed(&self, id: ChannelId, since: Version) -> Result<(), StoreFault> {
        let mut version = {
            let content = self.lock();
            match content.channels.get(&id) {
                Some(entry) => entry.version.subscribe(),
                None => return Ok(()),
            }
        };
        version
            .wait_for(|version| *version > since)
            .await
            .map(drop)
            .map_err(|_| StoreFault::lasting("the channel store is gone", None))
    }

    async fn outcome(
        &self,
        key: OutcomeKey,
        now: Timestamp,
    ) -> Result<Option<StoredOutcome>, StoreFault> {
        let content = self.lock();
        let found = content.outcomes.get(&key);
        Ok(found.filter(|outcome| outcome.expires > now).cloned())
    }

    async fn scan(&self, scan: Scan) -> Result<Vec<Versioned>, StoreFault> {
        let content = self.lock();
        let from = scan.after.map_or(Bound::Unbounded, Bound::Excluded);
        let channels = content.channels.range((from, Bound::Unbounded));
        let chosen =
            channels.filter(|(_, entry)| scan.which == Which::All || entry.record.is_live());
        let versioned = chosen.map(|(_, entry)| Versioned {
            version: *entry.version.borrow(),
            record: Arc::clone(&entry.record),
        });
        Ok(versioned.take(scan.limit).collect())
    }

    async fn ledger(&self, page: LedgerPage) -> Result<Vec<Numbered>, StoreFault> {
        let content = self.lock();
        let numbered = (1..).zip(&content.ledger);
        let chosen = numbered.filter(|(number, entry)| {
            *number > page.after && page.channel.is_none_or(|id| id == entry.channel_id)
        });
        let entries = chosen.map(|(number, entry)| Numbered {
            number,
            entry: entry.clone(),
        });
        Ok(entries.take(page.limit).collect())
    }

    async fn document(&self, key: DocumentKey) -> Result<Option<Document>, StoreFault> {
        Ok(self.lock().documents.get(&key).cloned())
    }

    async fn write_documents(&self, writes: Vec<DocumentWrite>) -> Result<Written, StoreFault> {
        let writes = document::in_order(writes)?;
        let mut content = self.lock();
        let documents = &mut content.documents;
        let fits = |write: &DocumentWrite| {
            let there = documents.get(&write.key).map(|found| found.version);
            there == write.expected
        };
        if !writes.iter().all(fits) {
            return Ok(Written::Conflict);
        }
        for write in writes {
            let version = write.version();
            match write.value {
                Some(value) => documents.insert(write.key, Document { version, value }),
                None => documents.remove(&write.key),
            };
        }
        Ok(Written::Done)
    }

    async fn documents(&self, page: DocumentPage) -> Result<Vec<(B256, Document)>, StoreFault> {
        let content = self.lock();
        let key = |id| DocumentKey {
            kind: page.kind,
            id,
        };
        let from = match page.after {
            Some(after) => Bound::Excluded(key(after)),
            None => Bound::Included(key(B256::ZERO)),
        };
        let to = Bound::Included(key(B256::repeat_byte(0xFF)));
        // Behind the last id there is nothing, and such a range would panic.
        if page.after == Some(B256::repeat_byte(0xFF)) {
            return Ok(Vec::new());
        }
        let chosen = content.documents.range((from, to)).take(page.limit);
        Ok(chosen.map(|(key, found)| (key.id, found.clone())).collect())
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreFault> {
        let mut content = self.lock();
        let mut left = limit;
        let mut stays = |end: Timestamp| {
            let stays = end > now || left == 0;
            if !stays {
                left = left.saturating_sub(1);
            }
            stays
        };
        content.claims.retain(|_, (_, end)| stays(*end));
        let Content {
            outcomes, numbered, ..
        } = &mut *content;
        outcomes.retain(|_, outcome| {
            let stays = stays(outcome.expires);
            if !stays {
                numbered.remove(&(outcome.channel_id, outcome.number));
            }
            stays
        });
        Ok(limit.saturating_sub(left))
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }
}

#[cfg(test)]
mod tests;
