//! The suite passes what is right and finds what is wrong.

use std::{collections::HashSet, future::Future, sync::Mutex};

use alloy_primitives::B256;
use mpp_core::Timestamp;
use mpp_tempo::ChannelId;

use super::{
    history::{Call, Saw, check},
    *,
};
use crate::store::{
    Claim, ClaimKey, Document, DocumentKey, DocumentPage, DocumentWrite, Durability, LedgerPage,
    MemoryStore, Numbered, OutcomeKey, Scan, StoredOutcome, Written,
};

struct Memory;

impl Backend for Memory {
    type Store = MemoryStore;

    async fn create(&self) -> MemoryStore {
        MemoryStore::new()
    }

    async fn another(&self, store: &MemoryStore) -> MemoryStore {
        store.clone()
    }

    async fn reopen(&self, _store: MemoryStore) -> Option<MemoryStore> {
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_memory_keeps_every_promise() {
    run_all(&Memory).await;
}

/// One promise that a store breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    ForgetsVersions,
    ShowsOldRecords,
    LosesEntries,
    LosesOutcomes,
    WritesOnConflict,
    ClaimsTwice,
    ClaimsForEver,
    KeepsOutcomesForEver,
    IgnoresLimits,
    SkipsInPages,
    SleepsThroughChanges,
    ForgetsOnReopen,
    ForgetsDocumentVersions,
    WritesHalfOfDocuments,
    SkipsDocuments,
    SweepsTooMuch,
}

#[derive(Debug)]
struct Flawed {
    inner: MemoryStore,
    flaw: Flaw,
    claimed: Mutex<HashSet<B256>>,
}

impl Flawed {
    fn on(inner: MemoryStore, flaw: Flaw) -> Self {
        let claimed = Mutex::default();
        Self {
            inner,
            flaw,
            claimed,
        }
    }
}

impl ChannelStore for Flawed {
    async fn load(&self, id: ChannelId) -> Result<Option<Versioned>, StoreFault> {
        let mut found = self.inner.load(id).await?;
        if let (Flaw::ShowsOldRecords, Some(found)) = (self.flaw, &mut found)
            && found.version.0.is_multiple_of(3)
        {
            found.version = Version(found.version.0.saturating_sub(1));
        }
        Ok(found)
    }

    async fn commit(&self, mut write: Write) -> Result<Commit, StoreFault> {
        let conflict = write.clone();
        match self.flaw {
            Flaw::ForgetsVersions if write.expected.is_some() => {
                let found = self.inner.load(write.next.id).await?;
                write.expected = found.map(|found| found.version);
            }
            Flaw::LosesEntries if write.next.units.is_multiple_of(5) => write.entry = None,
            Flaw::LosesOutcomes => write.outcome = None,
            _ => {}
        }
        let commit = self.inner.commit(write).await?;
        if commit == Commit::Conflict && self.flaw == Flaw::WritesOnConflict {
            let mut late = sample::first(sample::record(
                1_000_u64.saturating_add(conflict.next.units),
            ));
            late.entry = conflict.entry;
            self.inner.commit(late).await?;
        }
        Ok(commit)
    }

    async fn claim(
        &self,
        key: ClaimKey,
        value: B256,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Claim, StoreFault> {
        let expires = match self.flaw {
            Flaw::ClaimsForEver => Timestamp::MAX,
            _ => expires,
        };
        let claim = self.inner.claim(key, value, expires, now).await?;
        let is_new = self.claimed.lock().unwrap().insert(value);
        Ok(match self.flaw {
            Flaw::ClaimsTwice if is_new => Claim::New,
            _ => claim,
        })
    }

    async fn outcome(
        &self,
        key: OutcomeKey,
        now: Timestamp,
    ) -> Result<Option<StoredOutcome>, StoreFault> {
        let now = match self.flaw {
            Flaw::KeepsOutcomesForEver => Timestamp::MIN,
            _ => now,
        };
        self.inner.outcome(key, now).await
    }

    async fn oldest_outcome(&self, id: ChannelId) -> Result<Option<StoredOutcome>, StoreFault> {
        self.inner.oldest_outcome(id).await
    }

    async fn changed(&self, id: ChannelId, since: Version) -> Result<(), StoreFault> {
        // Waits for the next change only, whatever came before.
        let since = match (self.flaw, self.inner.load(id).await?) {
            (Flaw::SleepsThroughChanges, Some(found)) => found.version,
            _ => since,
        };
        self.inner.changed(id, since).await
    }

    async fn scan(&self, mut scan: Scan) -> Result<Vec<Versioned>, StoreFault> {
        if self.flaw == Flaw::IgnoresLimits {
            scan.limit = usize::MAX;
        }
        self.inner.scan(scan).await
    }

    async fn ledger(&self, mut page: LedgerPage) -> Result<Vec<Numbered>, StoreFault> {
        if self.flaw == Flaw::SkipsInPages && page.after > 0 {
            page.after = page.after.saturating_add(1);
        }
        self.inner.ledger(page).await
    }

    async fn document(&self, key: DocumentKey) -> Result<Option<Document>, StoreFault> {
        self.inner.document(key).await
    }

    async fn write_documents(&self, mut writes: Vec<DocumentWrite>) -> Result<Written, StoreFault> {
        match self.flaw {
            Flaw::ForgetsDocumentVersions => {
                for write in &mut writes {
                    let found = self.inner.document(write.key).await?;
                    write.expected = found.map(|found| found.version);
                }
                self.inner.write_documents(writes).await
            }
            Flaw::WritesHalfOfDocuments => {
                let mut end = Written::Done;
                for write in writes {
                    if self.inner.write_documents(vec![write]).await? == Written::Conflict {
                        end = Written::Conflict;
                    }
                }
                Ok(end)
            }
            _ => self.inner.write_documents(writes).await,
        }
    }

    async fn documents(&self, page: DocumentPage) -> Result<Vec<(B256, Document)>, StoreFault> {
        let mut found = self.inner.documents(page).await?;
        if self.flaw == Flaw::SkipsDocuments && page.after.is_some() {
            found.pop();
        }
        Ok(found)
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreFault> {
        match self.flaw {
            Flaw::SweepsTooMuch => self.inner.sweep(Timestamp::MAX, limit).await,
            Flaw::IgnoresLimits => self.inner.sweep(now, usize::MAX).await,
            _ => self.inner.sweep(now, limit).await,
        }
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }
}

impl Backend for Flaw {
    type Store = Flawed;

    async fn create(&self) -> Flawed {
        Flawed::on(MemoryStore::new(), *self)
    }

    async fn another(&self, store: &Flawed) -> Flawed {
        Flawed::on(store.inner.clone(), *self)
    }

    async fn reopen(&self, store: Flawed) -> Option<Flawed> {
        match self {
            Self::ForgetsOnReopen => Some(self.create().await),
            _ => Some(store),
        }
    }

    fn model_cases(&self) -> u32 {
        16
    }
}

async fn is_found(check: impl Future<Output = ()> + Send + 'static) -> bool {
    let mut checks = tokio::task::JoinSet::new();
    checks.spawn(check);
    checks.join_next().await.is_some_and(|end| end.is_err())
}

async fn assert_found(flaw: Flaw, check: impl Future<Output = ()> + Send + 'static) {
    assert!(is_found(check).await, "nobody found that a store {flaw:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_flaw_is_found_by_its_check() {
    use Flaw as F;
    assert_found(
        F::ForgetsVersions,
        stale_versions_conflict(&F::ForgetsVersions),
    )
    .await;
    assert_found(F::ForgetsVersions, no_update_is_lost(&F::ForgetsVersions)).await;
    assert_found(
        F::ShowsOldRecords,
        histories_are_serial(&F::ShowsOldRecords),
    )
    .await;
    assert_found(
        F::WritesOnConflict,
        a_conflict_writes_nothing(&F::WritesOnConflict),
    )
    .await;
    assert_found(F::LosesEntries, a_commit_is_seen_whole(&F::LosesEntries)).await;
    assert_found(F::LosesOutcomes, a_commit_is_seen_whole(&F::LosesOutcomes)).await;
    assert_found(F::ClaimsTwice, claims_are_made_once(&F::ClaimsTwice)).await;
    assert_found(F::ClaimsTwice, claims_race(&F::ClaimsTwice)).await;
    assert_found(
        F::SweepsTooMuch,
        what_counts_is_not_swept(&F::SweepsTooMuch),
    )
    .await;
    assert_found(
        F::IgnoresLimits,
        what_counts_is_not_swept(&F::IgnoresLimits),
    )
    .await;
    assert_found(F::ClaimsForEver, claims_end(&F::ClaimsForEver)).await;
    let flaw = F::KeepsOutcomesForEver;
    assert_found(
        flaw,
        outcomes_are_found_until_they_expire(&F::KeepsOutcomesForEver),
    )
    .await;
    assert_found(
        F::LosesOutcomes,
        the_newest_outcomes_are_kept(&F::LosesOutcomes),
    )
    .await;
    assert_found(F::IgnoresLimits, scans_are_read_in_pages(&F::IgnoresLimits)).await;
    assert_found(F::SkipsInPages, ledgers_are_read_in_pages(&F::SkipsInPages)).await;
    let flaw = F::ForgetsOnReopen;
    assert_found(flaw, everything_acknowledged_survives(&F::ForgetsOnReopen)).await;
    assert_found(flaw, documents_survive(&F::ForgetsOnReopen)).await;
    let flaw = F::ForgetsDocumentVersions;
    assert_found(
        flaw,
        documents_are_written_together(&F::ForgetsDocumentVersions),
    )
    .await;
    assert_found(flaw, document_writes_race(&F::ForgetsDocumentVersions)).await;
    let flaw = F::WritesHalfOfDocuments;
    assert_found(
        flaw,
        documents_are_written_together(&F::WritesHalfOfDocuments),
    )
    .await;
    let flaw = F::SkipsDocuments;
    assert_found(flaw, documents_are_read_in_pages(&F::SkipsDocuments)).await;
    assert_found(
        flaw,
        documents_are_removed_while_they_are_read(&F::SkipsDocuments),
    )
    .await;
    let flaw = F::ForgetsDocumentVersions;
    assert_found(
        flaw,
        documents_are_removed_while_they_are_read(&F::ForgetsDocumentVersions),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_wake_up_is_found() {
    let flaw = Flaw::SleepsThroughChanges;
    assert_found(
        flaw,
        a_change_before_the_wait_counts(&Flaw::SleepsThroughChanges),
    )
    .await;
    assert_found(flaw, no_wake_up_is_lost(&Flaw::SleepsThroughChanges)).await;
}

#[tokio::test]
async fn the_model_finds_flaws_too() {
    use Flaw as F;
    assert_found(
        F::ForgetsVersions,
        behaves_like_the_model(&F::ForgetsVersions),
    )
    .await;
    assert_found(F::LosesEntries, behaves_like_the_model(&F::LosesEntries)).await;
    assert_found(F::LosesOutcomes, behaves_like_the_model(&F::LosesOutcomes)).await;
    assert_found(F::ClaimsTwice, behaves_like_the_model(&F::ClaimsTwice)).await;
    assert_found(F::ClaimsForEver, behaves_like_the_model(&F::ClaimsForEver)).await;
    let flaw = F::KeepsOutcomesForEver;
    assert_found(flaw, behaves_like_the_model(&F::KeepsOutcomesForEver)).await;
    assert_found(
        F::ForgetsOnReopen,
        behaves_like_the_model(&F::ForgetsOnReopen),
    )
    .await;
}

fn history(calls: &[(u64, u64, Saw)]) -> Result<(), String> {
    let calls = calls
        .iter()
        .map(|&(start, end, saw)| Call { start, end, saw });
    check(&calls.collect::<Vec<_>>())
}

#[test]
fn serial_histories_pass() {
    use Saw::{Committed, Conflicted, Loaded};
    history(&[
        (0, 1, Loaded(1, 0)),
        (2, 3, Committed(2, 1)),
        (4, 5, Loaded(2, 1)),
    ])
    .unwrap();
    // While a commit is under way, a load may show either state.
    history(&[
        (0, 9, Committed(2, 1)),
        (1, 2, Loaded(1, 0)),
        (3, 4, Loaded(2, 1)),
    ])
    .unwrap();
    history(&[(0, 9, Committed(2, 1)), (1, 5, Conflicted(1))]).unwrap();
}

#[test]
fn histories_without_a_serial_order_fail() {
    use Saw::{Committed, Conflicted, Loaded};
    let twice = [(0, 1, Committed(2, 1)), (2, 3, Committed(2, 2))];
    let gap = [(0, 1, Committed(3, 1))];
    let invented = [(0, 1, Committed(2, 1)), (2, 3, Loaded(2, 7))];
    let stale = [(0, 1, Committed(2, 1)), (2, 3, Loaded(1, 0))];
    // A state was shown and then not any more.
    let back = [
        (0, 9, Committed(2, 1)),
        (1, 2, Loaded(2, 1)),
        (3, 4, Loaded(1, 0)),
    ];
    let refused = [(0, 1, Conflicted(1)), (2, 3, Committed(2, 1))];
    let reversed = [(0, 1, Committed(3, 2)), (2, 3, Committed(2, 1))];
    for calls in [
        &twice[..],
        &gap,
        &invented,
        &stale,
        &back,
        &refused,
        &reversed,
    ] {
        assert!(history(calls).is_err(), "{calls:?}");
    }
}
