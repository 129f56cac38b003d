//! A server's way to the store that both share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use alloy_primitives::B256;
use mpp_core::Timestamp;
use mpp_devnet::Devnet;
use mpp_server::MemoryStore;
use mpp_server::clock::Clock as _;
use mpp_server::store::{
    ChannelStore, Claim, ClaimKey, Commit, Document, DocumentKey, DocumentPage, DocumentWrite,
    Durability, LedgerPage, Numbered, OutcomeKey, Scan, StoreFault, StoredOutcome, Version,
    Versioned, Write, Written, codec,
};
use mpp_tempo::ChannelId;

use super::audit::Audit;
use super::clock::Steered;
use super::life::Life;
use super::lock;
use crate::trace;

/// What goes wrong with a write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WriteFault {
    /// Nothing is written.
    Fails,
    /// It is written, and the answer gets lost.
    AnswerLost,
    /// Somebody else seems to have been faster.
    Conflicts,
}

/// The store as one process sees it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) truth: MemoryStore,
    pub(crate) audit: Arc<Mutex<Audit>>,
    pub(crate) node: Devnet,
    pub(crate) clock: Steered,
    pub(crate) life: Life,
    pub(crate) faults: Arc<Mutex<VecDeque<WriteFault>>>,
}

impl Store {
    pub(crate) fn next_write(&self, fault: WriteFault) {
        let mut faults = lock(&self.faults);
        if faults.len() < 4 {
            faults.push_back(fault);
        }
    }

    /// The audit, which knows the time.
    fn audit(&self) -> MutexGuard<'_, Audit> {
        let servers = u64::try_from(self.clock.now().as_secs()).unwrap_or_default();
        let now = self.node.now().max(servers);
        let mut audit = lock(&self.audit);
        audit.is_late(now);
        audit
    }

    fn fault(&self) -> Option<WriteFault> {
        lock(&self.faults).pop_front()
    }
}

/// Adds what becomes durable to the checksum of the run.
fn note(write: &Write) {
    let record = codec::encode_record(&write.next);
    trace::note(&record.expect("a record can be written"));
    if let Some(entry) = &write.entry {
        trace::note(&codec::encode_entry(entry).expect("an entry can be written"));
    }
}

fn lost() -> StoreFault {
    StoreFault::transient("the connection to the store is lost", None)
}

impl ChannelStore for Store {
    async fn load(&self, id: ChannelId) -> Result<Option<Versioned>, StoreFault> {
        self.life.live(self.truth.load(id)).await
    }

    async fn commit(&self, write: Write) -> Result<Commit, StoreFault> {
        let committing = async {
            let fault = self.fault();
            match fault {
                Some(WriteFault::Fails) => return Err(lost()),
                Some(WriteFault::Conflicts) => return Ok(Commit::Conflict),
                Some(WriteFault::AnswerLost) | None => {}
            }
            let before = self.truth.load(write.next.id).await?;
            let done = self.truth.commit(write.clone()).await?;
            if let Commit::Done(_) = done {
                note(&write);
                let before = before.map(|before| before.record);
                self.audit().committed(before.as_deref(), &write);
            }
            match fault {
                None => Ok(done),
                Some(_) => Err(lost()),
            }
        };
        self.life.live(committing).await
    }

    async fn claim(
        &self,
        key: ClaimKey,
        value: B256,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Claim, StoreFault> {
        let claiming = async {
            let fault = self.fault();
            if let Some(WriteFault::Fails) = fault {
                return Err(lost());
            }
            trace::note(value.as_slice());
            let claim = self.truth.claim(key, value, expires, now).await;
            match fault {
                Some(WriteFault::AnswerLost) => Err(lost()),
                _ => claim,
            }
        };
        self.life.live(claiming).await
    }

    async fn outcome(
        &self,
        key: OutcomeKey,
        now: Timestamp,
    ) -> Result<Option<StoredOutcome>, StoreFault> {
        self.life.live(self.truth.outcome(key, now)).await
    }

    async fn oldest_outcome(&self, id: ChannelId) -> Result<Option<StoredOutcome>, StoreFault> {
        self.life.live(self.truth.oldest_outcome(id)).await
    }

    async fn changed(&self, id: ChannelId, since: Version) -> Result<(), StoreFault> {
        self.truth.changed(id, since).await
    }

    async fn scan(&self, scan: Scan) -> Result<Vec<Versioned>, StoreFault> {
        self.life.live(self.truth.scan(scan)).await
    }

    async fn ledger(&self, page: LedgerPage) -> Result<Vec<Numbered>, StoreFault> {
        self.life.live(self.truth.ledger(page)).await
    }

    async fn document(&self, key: DocumentKey) -> Result<Option<Document>, StoreFault> {
        self.life.live(self.truth.document(key)).await
    }

    async fn write_documents(&self, writes: Vec<DocumentWrite>) -> Result<Written, StoreFault> {
        let writing = async {
            let fault = self.fault();
            match fault {
                Some(WriteFault::Fails) => return Err(lost()),
                Some(WriteFault::Conflicts) => return Ok(Written::Conflict),
                Some(WriteFault::AnswerLost) | None => {}
            }
            let mut before = Vec::new();
            for write in &writes {
                before.push(self.truth.document(write.key).await?);
            }
            let done = self.truth.write_documents(writes.clone()).await?;
            if done == Written::Done {
                for write in &writes {
                    trace::note(write.key.id.as_slice());
                    trace::note(write.value.as_deref().unwrap_or_default());
                }
                self.audit().written(&before, &writes);
            }
            match fault {
                None => Ok(done),
                Some(_) => Err(lost()),
            }
        };
        self.life.live(writing).await
    }

    async fn documents(&self, page: DocumentPage) -> Result<Vec<(B256, Document)>, StoreFault> {
        self.life.live(self.truth.documents(page)).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreFault> {
        self.life.live(self.truth.sweep(now, limit)).await
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }
}
