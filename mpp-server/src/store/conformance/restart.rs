//! What is acknowledged survives.

use std::sync::Arc;

use alloy_primitives::{Address, B256};

use super::{Backend, done, found, healthy, sample};
use crate::{
    session::record::ChannelRecord,
    store::{ChannelStore, Claim, ClaimKey, Commit, Version},
};

/// Channels, ledger, outcomes and claims are there after a crash, and the
/// store goes on from them.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn everything_acknowledged_survives(backend: &impl Backend) {
    let mut store = backend.create().await;
    let mut records: Vec<Arc<ChannelRecord>> = (1..=3).map(sample::record).collect();
    for record in &records {
        done(&store, sample::first(record.clone())).await;
    }
    let claims = [
        ClaimKey::Cosign(sample::challenge_id()),
        ClaimKey::CosignFor(sample::challenge_id(), Address::repeat_byte(1)),
        ClaimKey::Proof(sample::challenge_id()),
    ];
    let claimed = B256::repeat_byte(1);
    let (now, end) = (sample::at(0), sample::at(60));
    for key in &claims {
        let made = healthy(store.claim(key.clone(), claimed, end, now).await);
        assert_eq!(made, Claim::New);
    }
    for round in 1..=3 {
        for record in &mut records {
            let mut charge = sample::charge(Version(round), record);
            charge.outcome = Some(sample::outcome(record, round, end));
            *record = charge.next.clone();
            done(&store, charge).await;
        }
        let ledger = healthy(store.ledger(sample::whole_ledger(None)).await);
        store = match backend.reopen(store).await {
            Some(store) => store,
            None => return,
        };
        let again = healthy(store.ledger(sample::whole_ledger(None)).await);
        assert_eq!(again, ledger, "the ledger survives with its numbers");
        for record in &records {
            let found = found(&store, record.id).await;
            assert_eq!(found.record, *record);
            assert_eq!(found.version, Version(round.saturating_add(1)));
            for number in 1..=round {
                let key = sample::outcome_key(record, number);
                let outcome = healthy(store.outcome(key, now).await);
                assert!(outcome.is_some(), "outcome {number} is lost");
            }
        }
        for key in &claims {
            let again = store.claim(key.clone(), B256::ZERO, end, now).await;
            assert_eq!(healthy(again), Claim::Existing(claimed));
        }
    }
    if let Some(record) = records.first() {
        let stale = sample::charge(Version(3), record);
        assert_eq!(healthy(store.commit(stale).await), Commit::Conflict);
    }
}
