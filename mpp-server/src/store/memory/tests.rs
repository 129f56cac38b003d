//! The promises of the store port, kept in memory.

use std::{sync::Arc, time::Duration};

use mpp_tempo::SessionProtocol;
use tokio::task::JoinSet;

use super::*;
use crate::session::record::Phase;
use crate::testing::{NOW_SECS, amount, challenge_id, channel_id, ledger, now, open_record, view};

const V2: SessionProtocol = SessionProtocol::V2;

fn write(expected: Option<u64>, spent: u128) -> Write {
    let next = open_record(V2, 100, 50, spent);
    let entry = crate::session::machine::apply(
        &next,
        crate::session::command::Command::Observe(view(101)),
        now(),
    );
    Write {
        expected: expected.map(Version),
        next: Arc::new(next),
        entry: entry.unwrap().entry,
        outcome: None,
    }
}

#[tokio::test]
async fn a_stale_version_conflicts_and_writes_nothing() {
    let store = MemoryStore::new();
    let id = channel_id(V2);
    assert_eq!(store.load(id).await.unwrap(), None);
    let done = |version| Commit::Done(Version(version));
    assert_eq!(store.commit(write(None, 1)).await.unwrap(), done(1));
    assert_eq!(store.commit(write(Some(1), 2)).await.unwrap(), done(2));
    for stale in [None, Some(1), Some(3)] {
        assert_eq!(
            store.commit(write(stale, 9)).await.unwrap(),
            Commit::Conflict
        );
    }
    let found = store.load(id).await.unwrap().unwrap();
    assert_eq!((found.version, found.record.spent), (Version(2), amount(2)));
    // Record and ledger entry: both or neither.
    assert_eq!(ledger(&store, id).await.len(), 2);
}

#[tokio::test]
async fn a_backup_stays_as_it_was() {
    let store = MemoryStore::new();
    let id = channel_id(V2);
    store.commit(write(None, 1)).await.unwrap();
    let backup = store.backup();
    store.commit(write(Some(1), 2)).await.unwrap();
    let spent = |found: Option<Versioned>| found.unwrap().record.spent;
    assert_eq!(spent(backup.load(id).await.unwrap()), amount(1));
    // What is written to one is not seen in the other, and nobody waits for both.
    let done = backup.commit(write(Some(1), 3)).await.unwrap();
    assert_eq!(done, Commit::Done(Version(2)));
    assert_eq!(spent(store.load(id).await.unwrap()), amount(2));
    assert_eq!(ledger(&backup, id).await.len(), 2);
}

#[tokio::test]
async fn a_record_that_is_not_there_conflicts_with_an_expected_version() {
    let store = MemoryStore::new();
    assert_eq!(
        store.commit(write(Some(1), 1)).await.unwrap(),
        Commit::Conflict
    );
    assert!(ledger(&store, channel_id(V2)).await.is_empty());
}

// SECURITY-CASES A1: put-if-absent; 100 concurrent copies give exactly one winner.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_a_hundred_concurrent_claims_wins() {
    let store = MemoryStore::new();
    let claims = (0..100_u8).map(|byte| {
        let store = store.clone();
        async move {
            let key = ClaimKey::Cosign(challenge_id());
            let expires = Timestamp::from_secs(NOW_SECS + 60);
            let value = B256::repeat_byte(byte);
            (
                value,
                store.claim(key, value, expires, now()).await.unwrap(),
            )
        }
    });
    let claims = claims.collect::<JoinSet<_>>().join_all().await;
    let winners: Vec<_> = claims
        .iter()
        .filter(|(_, claim)| *claim == Claim::New)
        .collect();
    let [(winner, _)] = winners.as_slice() else {
        panic!("{} winners", winners.len());
    };
    let others = claims.iter().filter(|(_, claim)| *claim != Claim::New);
    for (_, claim) in others {
        assert_eq!(*claim, Claim::Existing(*winner));
    }
}

#[tokio::test]
async fn a_claim_ends_when_it_expires_and_is_forgotten() {
    let store = MemoryStore::new();
    let at = |secs: i64| Timestamp::from_secs(NOW_SECS + secs);
    let key = || ClaimKey::Cosign(challenge_id());
    let claim =
        |byte, from, until| store.claim(key(), B256::repeat_byte(byte), at(until), at(from));
    assert_eq!(claim(1, 0, 60).await.unwrap(), Claim::New);
    let first = Claim::Existing(B256::repeat_byte(1));
    assert_eq!(claim(2, 59, 120).await.unwrap(), first);
    assert_eq!(claim(2, 60, 120).await.unwrap(), Claim::New);
    assert_eq!(store.lock().claims.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_before_the_wait_counts() {
    let store = MemoryStore::new();
    let id = channel_id(V2);
    store.commit(write(None, 1)).await.unwrap();
    store.commit(write(Some(1), 2)).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(1), store.changed(id, Version(1)));
    waited.await.unwrap().unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(1), store.changed(id, Version(2)));
    assert!(waited.await.is_err());
}

// DESIGN 3: notify/wait for a channel, without lost wake-ups.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost() {
    const COMMITS: u64 = 500;
    let store = Arc::new(MemoryStore::new());
    let id = channel_id(V2);
    store.commit(write(None, 0)).await.unwrap();
    let followers = (0..4).map(|_| {
        let store = Arc::clone(&store);
        async move {
            let mut seen = Version(1);
            while seen < Version(COMMITS) {
                store.changed(id, seen).await.unwrap();
                let version = store.load(id).await.unwrap().unwrap().version;
                assert!(version > seen);
                seen = version;
            }
        }
    });
    let followers: JoinSet<()> = followers.collect();
    let mut change = write(None, 0);
    for version in 1..COMMITS {
        change.expected = Some(Version(version));
        let done = store.commit(change.clone()).await.unwrap();
        assert_eq!(done, Commit::Done(Version(version + 1)));
        if version % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let all = tokio::time::timeout(Duration::from_secs(20), followers.join_all());
    assert_eq!(all.await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_scan_reads_page_by_page_and_may_leave_out_what_holds_no_money() {
    let store = MemoryStore::new();
    store.commit(write(None, 3)).await.unwrap();
    let mut closed = write(None, 3);
    let next = Arc::make_mut(&mut closed.next);
    next.id = ChannelId::repeat_byte(0);
    next.phase = Phase::Closed { transaction: None };
    store.commit(closed).await.unwrap();
    let scan = |which, after, limit| {
        store.scan(Scan {
            which,
            after,
            limit,
        })
    };
    assert_eq!(scan(Which::All, None, 9).await.unwrap().len(), 2);
    let [first] = &scan(Which::All, None, 1).await.unwrap()[..] else {
        panic!("a page of one");
    };
    let after = Some(first.record.id);
    assert_eq!(scan(Which::All, after, 9).await.unwrap().len(), 1);
    let live = scan(Which::Live, None, 9).await.unwrap();
    assert_eq!(live[0].record.id, channel_id(V2));
    assert_eq!(live.len(), 1);
}
