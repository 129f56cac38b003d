//! Waiting for changes.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::{Backend, done, found, healthy, sample};
use crate::store::{ChannelStore, Commit, Version};

/// Far longer than any wake-up takes: only a lost one lets it pass.
const LOST: Duration = Duration::from_secs(60);

/// A change that came before the wait ends it at once.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn a_change_before_the_wait_counts(backend: &impl Backend) {
    let store = backend.create().await;
    let other = backend.another(&store).await;
    let record = sample::record(1);
    let id = record.id;
    let absent = timeout(LOST, store.changed(id, Version(0))).await;
    assert!(absent.is_ok(), "waited for a channel that is not there");
    done(&store, sample::first(record.clone())).await;
    done(&store, sample::charge(Version(1), &record)).await;
    for handle in [&store, &other] {
        for since in [0, 1] {
            match timeout(LOST, handle.changed(id, Version(since))).await {
                Ok(changed) => healthy(changed),
                Err(_) => panic!("a change before the wait was lost"),
            }
        }
    }
}

/// Followers that wait, load and wait again see the last version, also when
/// the changes come through another handle.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn no_wake_up_is_lost(backend: &impl Backend) {
    const COMMITS: u64 = 100;
    let store = Arc::new(backend.create().await);
    let other = Arc::new(backend.another(&store).await);
    let mut record = sample::record(1);
    let id = record.id;
    done(&*store, sample::first(record.clone())).await;
    let mut followers = JoinSet::new();
    for (pauses, handle) in [&store, &other, &store, &other].into_iter().enumerate() {
        let store = Arc::clone(handle);
        followers.spawn(async move {
            let mut seen = Version(1);
            while seen <= Version(COMMITS) {
                healthy(store.changed(id, seen).await);
                let version = found(&*store, id).await.version;
                assert!(version > seen, "woken without a change");
                seen = version;
                // Changes come before the next wait.
                for _ in 0..pauses {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    for number in 1..=COMMITS {
        let charge = sample::charge(Version(number), &record);
        record = charge.next.clone();
        assert!(matches!(
            healthy(store.commit(charge).await),
            Commit::Done(_)
        ));
        // Now and then the followers catch up and wait again.
        for _ in 0..number % 3 {
            tokio::task::yield_now().await;
        }
    }
    let all = timeout(LOST, followers.join_all()).await;
    assert!(all.is_ok(), "a follower waits although the channel changed");
}
