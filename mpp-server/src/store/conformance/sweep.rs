//! Making room.

use std::sync::Arc;

use alloy_primitives::B256;
use mpp_core::ChallengeId;

use super::{Backend, done, healthy, sample};
use crate::store::{ChannelStore, Claim, ClaimKey, Version};

#[expect(clippy::unwrap_used, reason = "the text is well-formed")]
fn key(number: u8) -> ClaimKey {
    ClaimKey::Proof(ChallengeId::new(format!("proof {number}")).unwrap())
}

/// Sweeping takes what has ended, as much of it as it may, and nothing else.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn what_counts_is_not_swept(backend: &impl Backend) {
    let store = backend.create().await;
    let other = backend.another(&store).await;
    let record = sample::record(1);
    done(&store, sample::first(record.clone())).await;
    let mut charge = sample::charge(Version(1), &record);
    let outcome = sample::outcome(&record, 1, sample::at(60));
    charge.outcome = Some(outcome.clone());
    done(&store, charge).await;
    let value = B256::repeat_byte(1);
    for (number, end) in [(1, 30), (2, 30), (3, 30), (4, 60)] {
        let claim = store.claim(key(number), value, sample::at(end), sample::at(0));
        assert_eq!(healthy(claim.await), Claim::New);
    }
    let none = healthy(store.sweep(sample::at(29), 100).await);
    assert_eq!(none, 0, "nothing has ended yet");
    let some = healthy(store.sweep(sample::at(30), 2).await);
    assert!(some <= 2, "{some} were removed, not 2");
    let rest = healthy(other.sweep(sample::at(59), 100).await);
    assert!(rest <= 3, "{rest} were removed, and 3 had ended");
    // By the clock of another server they still count.
    let claim = other.claim(key(4), B256::ZERO, sample::at(90), sample::at(0));
    assert_eq!(healthy(claim.await), Claim::Existing(value));
    let found = healthy(store.outcome(outcome.key, sample::at(59)).await);
    assert_eq!(found, Some(outcome), "an outcome that counts was swept");
    // What was swept may come again, and the channel goes on.
    let again = store.claim(key(1), value, sample::at(90), sample::at(59));
    assert_eq!(healthy(again.await), Claim::New);
    healthy(store.sweep(sample::at(60), 100).await);
    let (mut next, key) = (record, sample::outcome_key(&sample::record(1), 2));
    let spent = Arc::make_mut(&mut next);
    spent.spent = mpp_core::Amount::new(1);
    spent.units = 1;
    let mut charge = sample::charge(Version(2), &next);
    charge.outcome = Some(sample::outcome(&next, 2, sample::at(90)));
    done(&other, charge).await;
    let found = healthy(store.outcome(key, sample::at(60)).await);
    assert!(found.is_some(), "an outcome after the sweep is not found");
}
