//! Outcomes of idempotent requests.

use super::{Backend, done, healthy, sample};
use crate::store::{ChannelStore, OUTCOMES_PER_CHANNEL, Version};

/// An outcome is found by its key, until it expires.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn outcomes_are_found_until_they_expire(backend: &impl Backend) {
    let store = backend.create().await;
    let other = backend.another(&store).await;
    let record = sample::record(1);
    done(&store, sample::first(record.clone())).await;
    let mut charge = sample::charge(Version(1), &record);
    let outcome = sample::outcome(&record, 1, sample::at(60));
    charge.outcome = Some(outcome.clone());
    done(&store, charge).await;
    let key = outcome.key;
    let found = healthy(other.outcome(key, sample::at(59)).await);
    assert_eq!(
        found,
        Some(outcome),
        "an outcome is found as it was written"
    );
    let late = healthy(other.outcome(key, sample::at(60)).await);
    assert_eq!(late, None, "an outcome outlived its end");
    let unknown = sample::outcome_key(&record, 2);
    assert_eq!(healthy(store.outcome(unknown, sample::at(0)).await), None);
    let nowhere = other.oldest_outcome(sample::record(2).id).await;
    assert_eq!(healthy(nowhere), None, "an outcome of no channel");
}

/// The newest outcomes of each channel are kept, and no more.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn the_newest_outcomes_are_kept(backend: &impl Backend) {
    let store = backend.create().await;
    let quiet = sample::record(2);
    let mut first = sample::first(quiet.clone());
    first.outcome = Some(sample::outcome(&quiet, 1, sample::at(60)));
    done(&store, first).await;
    let mut record = sample::record(1);
    done(&store, sample::first(record.clone())).await;
    let total = OUTCOMES_PER_CHANNEL.saturating_add(5);
    for number in 1..=total {
        let mut charge = sample::charge(Version(number), &record);
        charge.outcome = Some(sample::outcome(&record, number, sample::at(60)));
        record = charge.next.clone();
        done(&store, charge).await;
    }
    for number in 1..=total {
        let key = sample::outcome_key(&record, number);
        let found = healthy(store.outcome(key, sample::at(0)).await);
        let kept = number > 5;
        assert_eq!(found.is_some(), kept, "outcome {number} of {total}");
    }
    for (of, number) in [(&record, 6), (&quiet, 1)] {
        let oldest = healthy(store.oldest_outcome(of.id).await);
        let found = oldest.map(|oldest| (oldest.key, oldest.number));
        let expected = (sample::outcome_key(of, number), number);
        assert_eq!(found, Some(expected), "the oldest outcome is another");
    }
    let key = sample::outcome_key(&quiet, 1);
    let other = healthy(store.outcome(key, sample::at(0)).await);
    assert!(
        other.is_some(),
        "a channel pushed out the outcome of another"
    );
}
