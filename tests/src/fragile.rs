//! A store that fails when it is told to.

use std::sync::{Arc, Mutex};

use alloy_primitives::B256;
use mpp_core::Timestamp;
use mpp_server::store::{
    ChannelStore, Claim, ClaimKey, Commit, Document, DocumentKey, DocumentPage, DocumentWrite,
    Durability, LedgerPage, MemoryStore, Numbered, OutcomeKey, Scan, StoreFault, StoredOutcome,
    Version, Versioned, Write, Written,
};
use mpp_tempo::ChannelId;

/// How a write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    /// Nothing is written.
    Before,
    /// It is written, and its acknowledgment is lost.
    After,
}

/// A store in memory whose next charge can be made to fail. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Fragile {
    inner: MemoryStore,
    next: Arc<Mutex<Option<Failing>>>,
}

impl Fragile {
    pub(crate) fn over(inner: &MemoryStore) -> Self {
        Self {
            inner: inner.clone(),
            next: Arc::default(),
        }
    }

    /// Lets the next write fail that takes money, and only that.
    pub(crate) fn fail_next(&self, failing: Failing) {
        *self.next.lock().unwrap() = Some(failing);
    }

    /// Whether the write that was to fail has come.
    pub(crate) fn has_failed(&self) -> bool {
        self.next.lock().unwrap().is_none()
    }

    async fn write<T: Send>(
        &self,
        write: impl Future<Output = Result<T, StoreFault>> + Send,
    ) -> Result<T, StoreFault> {
        let failing = self.next.lock().unwrap().take();
        if failing != Some(Failing::Before) {
            let written = write.await?;
            if failing.is_none() {
                return Ok(written);
            }
        }
        Err(StoreFault::transient("the store is down", None))
    }
}

impl ChannelStore for Fragile {
    async fn load(&self, id: ChannelId) -> Result<Option<Versioned>, StoreFault> {
        self.inner.load(id).await
    }

    async fn commit(&self, write: Write) -> Result<Commit, StoreFault> {
        if write.entry.is_none() {
            return self.inner.commit(write).await;
        }
        self.write(self.inner.commit(write)).await
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

    async fn oldest_outcome(&self, id: ChannelId) -> Result<Option<StoredOutcome>, StoreFault> {
        self.inner.oldest_outcome(id).await
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
        self.write(self.inner.write_documents(writes)).await
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
