//! Compare and set.

use mpp_core::Amount;
use tokio::{sync::Barrier, task::JoinSet};

use super::{Backend, done, found, healthy, sample};
use crate::store::{ChannelStore, Commit, Version};

/// A commit of any but the current version conflicts.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn stale_versions_conflict(backend: &impl Backend) {
    let store = backend.create().await;
    let record = sample::record(1);
    let id = record.id;
    assert_eq!(healthy(store.load(id).await), None);
    let absent = store.commit(sample::charge(Version(1), &record)).await;
    assert_eq!(healthy(absent), Commit::Conflict, "there is no version 1");
    assert_eq!(
        done(&store, sample::first(record.clone())).await,
        Version(1)
    );
    let charge = sample::charge(Version(1), &record);
    assert_eq!(done(&store, charge.clone()).await, Version(2));
    for stale in [None, Some(0), Some(1), Some(3)] {
        let mut write = sample::charge(Version(0), &charge.next);
        write.expected = stale.map(Version);
        let commit = healthy(store.commit(write).await);
        assert_eq!(commit, Commit::Conflict, "expected {stale:?}, is 2");
    }
    let found = found(&store, id).await;
    assert_eq!((found.version, found.record), (Version(2), charge.next));
}

/// Of concurrent changes to one channel none is lost.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn no_update_is_lost(backend: &impl Backend) {
    const BUYERS: usize = 8;
    const EACH: u64 = 25;
    let store = std::sync::Arc::new(backend.create().await);
    let other = std::sync::Arc::new(backend.another(&store).await);
    let record = sample::record(1);
    let id = record.id;
    done(&*store, sample::first(record)).await;
    // The first time, all of them load before anybody commits.
    let together = std::sync::Arc::new(Barrier::new(BUYERS));
    let mut buyers = JoinSet::new();
    for buyer in 0..BUYERS {
        let store = if buyer.is_multiple_of(2) {
            &store
        } else {
            &other
        };
        let store = std::sync::Arc::clone(store);
        let mut together = Some(std::sync::Arc::clone(&together));
        buyers.spawn(async move {
            for _ in 0..EACH {
                loop {
                    let now = found(&*store, id).await;
                    let charge = sample::charge(now.version, &now.record);
                    // Others come between load and commit.
                    if let Some(barrier) = together.take() {
                        barrier.wait().await;
                    }
                    tokio::task::yield_now().await;
                    if let Commit::Done(_) = healthy(store.commit(charge).await) {
                        break;
                    }
                }
            }
        });
    }
    buyers.join_all().await;
    let total = EACH.saturating_mul(BUYERS as u64);
    let end = found(&*other, id).await;
    assert_eq!(end.record.spent, Amount::new(total.into()));
    assert_eq!(end.version, Version(total.saturating_add(1)));
    let ledger = healthy(store.ledger(sample::whole_ledger(Some(id))).await);
    let spent = ledger.iter().map(|line| line.entry.spent.base_units());
    let expected = 1..=u128::from(total);
    assert!(spent.eq(expected), "the ledger is not one line of charges");
}
