//! Put if absent, with an end.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use mpp_core::ChallengeId;
use tokio::task::JoinSet;

use super::{Backend, healthy, sample};
use crate::store::{ChannelStore, Claim, ClaimKey};

#[expect(clippy::unwrap_used, reason = "the text is well-formed")]
fn challenge(number: u32) -> ChallengeId {
    ChallengeId::new(format!("challenge {number}")).unwrap()
}

fn key(number: u32) -> ClaimKey {
    ClaimKey::Cosign(challenge(number))
}

/// The first claim of a key stands; others learn its value.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn claims_are_made_once(backend: &impl Backend) {
    let store = backend.create().await;
    let other = backend.another(&store).await;
    let (first, second) = (B256::repeat_byte(1), B256::repeat_byte(2));
    let (now, end) = (sample::at(0), sample::at(60));
    assert_eq!(
        healthy(store.claim(key(1), first, end, now).await),
        Claim::New
    );
    for value in [first, second] {
        let again = healthy(other.claim(key(1), value, end, now).await);
        assert_eq!(again, Claim::Existing(first));
    }
    let fresh = healthy(other.claim(key(2), second, end, now).await);
    assert_eq!(fresh, Claim::New, "another key is another claim");
    // For the challenge of the first, in the form that was written before others.
    let claim_for = |signer, value| {
        let key = ClaimKey::CosignFor(challenge(1), Address::repeat_byte(signer));
        store.claim(key, value, end, now)
    };
    for signer in 1..=2 {
        assert_eq!(healthy(claim_for(signer, first).await), Claim::New);
        let again = healthy(claim_for(signer, second).await);
        assert_eq!(again, Claim::Existing(first));
    }
}

/// A claim counts until its end, and not from then on.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn claims_end(backend: &impl Backend) {
    let store = backend.create().await;
    let claim = |value, from, until| {
        let value = B256::repeat_byte(value);
        store.claim(key(1), value, sample::at(until), sample::at(from))
    };
    assert_eq!(healthy(claim(1, 0, 60).await), Claim::New);
    let first = Claim::Existing(B256::repeat_byte(1));
    assert_eq!(healthy(claim(2, 59, 120).await), first);
    assert_eq!(healthy(claim(3, 60, 120).await), Claim::New);
    let third = Claim::Existing(B256::repeat_byte(3));
    assert_eq!(healthy(claim(4, 119, 180).await), third);
}

/// Of a hundred concurrent claims exactly one wins (SECURITY-CASES A1).
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn claims_race(backend: &impl Backend) {
    let store = Arc::new(backend.create().await);
    let other = Arc::new(backend.another(&store).await);
    for round in 0..3 {
        let mut claims = JoinSet::new();
        for byte in 0..100_u8 {
            let store = Arc::clone(if byte.is_multiple_of(2) {
                &store
            } else {
                &other
            });
            claims.spawn(async move {
                let value = B256::repeat_byte(byte);
                let claim = store.claim(key(round), value, sample::at(60), sample::at(0));
                (value, healthy(claim.await))
            });
        }
        let claims = claims.join_all().await;
        let winners = claims.iter().filter(|(_, claim)| *claim == Claim::New);
        let winners: Vec<_> = winners.map(|(value, _)| *value).collect();
        let [winner] = winners.as_slice() else {
            panic!("{} of a hundred claims won", winners.len());
        };
        let mut losers = claims.iter().filter(|(value, _)| value != winner);
        let agree = losers.all(|(_, claim)| *claim == Claim::Existing(*winner));
        assert!(agree, "a loser did not learn the winner's value");
    }
}

/// A clock that was ahead for once ends no claim but the one that is made by it:
/// others still count by the clocks that are right.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn a_clock_that_was_ahead_ends_no_other_claim(backend: &impl Backend) {
    let store = backend.create().await;
    let claim = |number, from, until| {
        let value = B256::repeat_byte(1);
        store.claim(key(number), value, sample::at(until), sample::at(from))
    };
    assert_eq!(healthy(claim(1, 0, 60).await), Claim::New);
    assert_eq!(healthy(claim(2, 100, 160).await), Claim::New);
    let first = Claim::Existing(B256::repeat_byte(1));
    assert_eq!(healthy(claim(1, 30, 60).await), first);
}
