//! Record, ledger entry and outcome: all or nothing.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Backend, done, found, healthy, sample};
use crate::store::{ChannelStore, Commit, Version};

/// A commit that conflicts leaves neither entry nor outcome behind.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn a_conflict_writes_nothing(backend: &impl Backend) {
    let store = backend.create().await;
    let record = sample::record(1);
    let mut charge = sample::charge(Version(7), &record);
    charge.outcome = Some(sample::outcome(&record, 1, sample::at(60)));
    assert_eq!(
        healthy(store.commit(charge.clone()).await),
        Commit::Conflict
    );
    done(&store, sample::first(record.clone())).await;
    assert_eq!(healthy(store.commit(charge).await), Commit::Conflict);
    let ledger = healthy(store.ledger(sample::whole_ledger(None)).await);
    assert!(ledger.is_empty(), "a conflict wrote to the ledger");
    let key = sample::outcome_key(&record, 1);
    let outcome = healthy(store.outcome(key, sample::at(0)).await);
    assert_eq!(outcome, None, "a conflict wrote an outcome");
}

/// Whoever sees a version also sees its ledger entry and its outcome.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn a_commit_is_seen_whole(backend: &impl Backend) {
    const COMMITS: u64 = 60;
    let store = Arc::new(backend.create().await);
    let other = Arc::new(backend.another(&store).await);
    let record = sample::record(1);
    let id = record.id;
    done(&*store, sample::first(record.clone())).await;
    let mut readers = JoinSet::new();
    for reader in [&store, &other] {
        let (store, record) = (Arc::clone(reader), record.clone());
        readers.spawn(async move {
            let mut seen = 1;
            while seen <= COMMITS {
                seen = found(&*store, id).await.version.0;
                let number = seen.saturating_sub(1);
                let ledger = healthy(store.ledger(sample::whole_ledger(Some(id))).await);
                let lines = u64::try_from(ledger.len()).unwrap_or(u64::MAX);
                assert!(lines >= number, "version {seen} has {lines} ledger entries");
                if number > 0 {
                    let key = sample::outcome_key(&record, number);
                    // Later commits may have pushed it out meanwhile.
                    if healthy(store.outcome(key, sample::at(0)).await).is_none() {
                        let now = found(&*store, id).await.version.0;
                        let pushed_out = now > seen.saturating_add(31);
                        assert!(pushed_out, "version {seen} has no outcome");
                    }
                }
                tokio::task::yield_now().await;
            }
        });
    }
    let mut record = record;
    for number in 1..=COMMITS {
        let mut charge = sample::charge(Version(number), &record);
        charge.outcome = Some(sample::outcome(&record, number, sample::at(60)));
        record = charge.next.clone();
        done(&*store, charge).await;
        tokio::task::yield_now().await;
    }
    readers.join_all().await;
    let ledger = healthy(other.ledger(sample::whole_ledger(Some(id))).await);
    assert_eq!(u64::try_from(ledger.len()), Ok(COMMITS));
}
