//! A store that fails for a moment.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use alloy_primitives::B256;
use mpp_core::Timestamp;
use mpp_tempo::ChannelId;

use crate::{
    Durability, MemoryStore,
    store::{
        ChannelStore, Claim, ClaimKey, Commit, Document, DocumentKey, DocumentPage, DocumentWrite,
        LedgerPage, Numbered, OutcomeKey, Scan, StoreFault, StoredOutcome, Version, Versioned,
        Write, Written,
    },
};

/// The store behind it, but for a commit that fails. Clones share all of it.
#[derive(Clone, Debug)]
pub(crate) struct Faltering {
    inner: MemoryStore,
    fails: Arc<AtomicBool>,
}

impl Faltering {
    pub(crate) fn new(inner: MemoryStore) -> Self {
        let fails = Arc::new(AtomicBool::new(false));
        Self { inner, fails }
    }

    /// The next commit of a record fails.
    pub(crate) fn fail_next_commit(&self) {
        self.fails.store(true, Ordering::SeqCst);
    }
}

impl ChannelStore for Faltering {
    async fn load(&self, id: ChannelId) -> Result<Option<Versioned>, StoreFault> {
        self.inner.load(id).await
    }

    async fn commit(&self, write: Write) -> Result<Commit, StoreFault> {
        if self.fails.swap(false, Ordering::SeqCst) {
            return Err(StoreFault::transient("down", None));
        }
        self.inner.commit(write).await
    }

    async fn claim(
        &self,
        key: ClaimKey,
        value: B256,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Claim, StoreFault> {
        self.inner.claim(key, value, expires, now).await
    }

    async fn changed(&self, id: ChannelId, since: Version) -> Result<(), StoreFault> {
        self.inner.changed(id, since).await
    }

    async fn outcome(
        &self,
        key: OutcomeKey,
        now: Timestamp,
    ) -> Result<Option<StoredOutcome>, StoreFault> {
        self.inner.outcome(key, now).await
    }

    async fn oldest_outcome(&self, id: ChannelId) -> Result<Option<StoredOutcome>, StoreFault> {
        self.inner.oldest_outcome(id).await
    }

    async fn scan(&self, scan: Scan) -> Result<Vec<Versioned>, StoreFault> {
        self.inner.scan(scan).await
    }

    async fn ledger(&self, page: LedgerPage) -> Result<Vec<Numbered>, StoreFault> {
        self.inner.ledger(page).await
    }

    async fn document(&self, key: DocumentKey) -> Result<Option<Document>, StoreFault> {
        self.inner.document(key).await
    }

    async fn write_documents(&self, writes: Vec<DocumentWrite>) -> Result<Written, StoreFault> {
        self.inner.write_documents(writes).await
    }

    async fn documents(&self, page: DocumentPage) -> Result<Vec<(B256, Document)>, StoreFault> {
        self.inner.documents(page).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreFault> {
        self.inner.sweep(now, limit).await
    }

    fn durability(&self) -> Durability {
        self.inner.durability()
    }
}
