//! A store in memory that takes its time, or fails for a moment.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_primitives::B256;
use mpp_core::Timestamp;
use mpp_tempo::ChannelId;

use crate::store::{
    ChannelStore, Claim, ClaimKey, Commit, Document, DocumentKey, DocumentPage, DocumentWrite,
    Durability, LedgerPage, MemoryStore, Numbered, OutcomeKey, Scan, StoreFault, StoredOutcome,
    Version, Versioned, Write, Written,
};

/// Commits come through after a pause, or not at all. Clones are the same
/// store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsteady {
    pub(crate) inner: MemoryStore,
    pause_ms: Arc<AtomicU64>,
    fails: Arc<AtomicBool>,
}

impl Unsteady {
    /// This store, which is steady until it is told otherwise.
    pub(crate) fn over(inner: MemoryStore) -> Self {
        Self {
            inner,
            ..Self::default()
        }
    }

    /// The next commit of a record fails.
    pub(crate) fn fail_next_commit(&self) {
        self.fails.store(true, Ordering::SeqCst);
    }

    /// From now on each commit takes so long, and so does each write of documents.
    pub(crate) fn take(&self, pause: Duration) {
        let pause = u64::try_from(pause.as_millis()).unwrap();
        self.pause_ms.store(pause, Ordering::SeqCst);
    }

    async fn pause(&self) {
        match self.pause_ms.load(Ordering::SeqCst) {
            0 => {}
            pause => tokio::time::sleep(Duration::from_millis(pause)).await,
        }
    }
}

impl ChannelStore for Unsteady {
    async fn load(&self, id: ChannelId) -> Result<Option<Versioned>, StoreFault> {
        self.inner.load(id).await
    }

    async fn commit(&self, write: Write) -> Result<Commit, StoreFault> {
        self.pause().await;
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
        self.pause().await;
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
