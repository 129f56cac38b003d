//! A store in memory, for tests and demonstrations.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy_primitives::B256;
use mpp_core::Timestamp;
use mpp_tempo::channel::ChannelId;
use tokio::sync::watch;

use super::{ChannelStore, Claim, ClaimKey, Commit, StoreFault, Version, Versioned, Write};
use crate::session::record::{ChannelRecord, LedgerEntry};

/// Keeps everything in memory: a restart forgets accepted vouchers.
///
/// Channels and ledger entries are kept for ever, so memory grows with every
/// charge. Claims end with the challenge they belong to.
///
/// Cheap to clone; clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    channels: HashMap<ChannelId, Entry>,
    ledger: Vec<LedgerEntry>,
    claims: HashMap<ClaimKey, (B256, Timestamp)>,
}

#[derive(Debug)]
struct Entry {
    record: ChannelRecord,
    version: watch::Sender<Version>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The ledger entries of one channel, oldest first.
    #[must_use]
    pub fn ledger(&self, id: ChannelId) -> Vec<LedgerEntry> {
        let content = self.lock();
        let of_channel = content.ledger.iter().filter(|entry| entry.channel_id == id);
        of_channel.cloned().collect()
    }

    // A panic while the lock is held can not leave a half-done write: every
    // change below is a single insert.
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
        Commit::Done(version)
    }
}

impl ChannelStore for MemoryStore {
    async fn load(&self, id: ChannelId) -> Result<Option<Versioned>, StoreFault> {
        let content = self.lock();
        Ok(content.channels.get(&id).map(|entry| Versioned {
            version: *entry.version.borrow(),
            record: entry.record.clone(),
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
        content.claims.retain(|_, (_, expires)| *expires > now);
        if let Some((existing, _)) = content.claims.get(&key) {
            return Ok(Claim::Existing(*existing));
        }
        content.claims.insert(key, (value, expires));
        Ok(Claim::New)
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

    async fn scan(
        &self,
        select: fn(&ChannelRecord) -> bool,
    ) -> Result<Vec<ChannelRecord>, StoreFault> {
        let content = self.lock();
        let records = content.channels.values().map(|entry| &entry.record);
        Ok(records.filter(|record| select(record)).cloned().collect())
    }
}

#[cfg(test)]
mod tests;
