//! Races over one store, and stores that fail.

use std::sync::atomic::{AtomicU32, Ordering};

use alloy_primitives::B256;
use mpp_core::{Amount, Timestamp};
use mpp_tempo::SessionProtocol;
use tokio::task::JoinSet;

use super::*;
use crate::{
    clock::ManualClock,
    error::Fault,
    session::command::Charge,
    store::{
        Claim, ClaimKey, Document, DocumentKey, DocumentPage, DocumentWrite, Durability,
        LedgerPage, MemoryStore, Numbered, OutcomeKey, Scan, StoredOutcome, Versioned, Written,
        conformance::sample,
    },
    testing::{
        amount, at, challenge_id, channel_id, ledger, now, open_record, open_tx, opening, verified,
    },
};

const V2: SessionProtocol = SessionProtocol::V2;

fn driver<S: ChannelStore>(store: S) -> Driver<S> {
    Driver::new(Arc::new(store), SharedClock::new(ManualClock::new(now())))
}

async fn stored(store: &MemoryStore, record: ChannelRecord) -> ChannelId {
    let (id, expected) = (record.id, None);
    let write = Write {
        expected,
        next: Arc::new(record),
        entry: None,
        outcome: None,
    };
    assert!(matches!(
        store.commit(write).await.unwrap(),
        Commit::Done(_)
    ));
    id
}

fn charge(cost: u128) -> Command {
    Command::Charge(Charge {
        cost: amount(cost),
        units: 1,
        challenge_id: challenge_id(),
        stream: None,
    })
}

// SECURITY-CASES A2: two requests race for one balance; the result is a serial one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_drivers_on_one_store_never_overspend() {
    let store = MemoryStore::new();
    let id = stored(&store, open_record(V2, 1_000, 100, 0)).await;
    let buyers = (0..8).map(|_| {
        let driver = driver(store.clone());
        async move {
            let mut bought = 0_u128;
            loop {
                match driver.run(id, charge(3)).await {
                    Ok(_) => bought += 1,
                    Err(Failure::Rejected(Rejection::InsufficientBalance(_))) => return bought,
                    Err(other) => panic!("{other}"),
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let bought = buyers.collect::<JoinSet<_>>().join_all().await;
    let bought: u128 = bought.into_iter().sum();
    assert_eq!(bought, 33);
    let ledger = ledger(&store, id).await;
    let costs = ledger.iter().map(|entry| entry.cost.base_units());
    assert_eq!(costs.sum::<u128>(), 99);
    // One line: each entry saw what the one before it left.
    let spent: Vec<_> = ledger
        .iter()
        .map(|entry| entry.spent.base_units())
        .collect();
    assert_eq!(spent, (1..=33).map(|n| n * 3).collect::<Vec<_>>());
}

// PROTOCOL 5.6: accept and charge are one atomic command, also when vouchers race.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_highest_of_racing_vouchers_stays() {
    let store = MemoryStore::new();
    let record = open_record(V2, 1_000, 0, 0);
    let terms = record.terms;
    let id = stored(&store, record).await;
    let payments = (1..=40_u128).map(|units| {
        let driver = driver(store.clone());
        let voucher = verified(&terms, units);
        async move {
            let command = Command::Accept {
                voucher,
                min_delta: Amount::ZERO,
                hold: None,
            };
            driver.run(id, command).await.is_ok()
        }
    });
    let accepted = payments.collect::<JoinSet<_>>().join_all().await;
    assert!(accepted.contains(&true));
    let (record, _) = driver(store).load(id).await.unwrap();
    assert_eq!(record.accepted(), amount(40));
}

/// Answers the first commits with a conflict, as a store does under contention.
#[derive(Debug)]
struct Contended {
    inner: MemoryStore,
    conflicts: AtomicU32,
}

impl ChannelStore for Contended {
    async fn load(&self, id: ChannelId) -> Result<Option<Versioned>, StoreFault> {
        self.inner.load(id).await
    }

    async fn commit(&self, write: Write) -> Result<Commit, StoreFault> {
        match self.conflicts.load(Ordering::SeqCst) {
            u32::MAX => Err(StoreFault::transient("down", None)),
            0 => self.inner.commit(write).await,
            left => {
                let left = left.saturating_sub(1);
                self.conflicts.store(left, Ordering::SeqCst);
                Ok(Commit::Conflict)
            }
        }
    }

    async fn claim(
        &self,
        key: ClaimKey,
        value: B256,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Claim, StoreFault> {
        self.inner.claim(key, value, expires, now).await
    }

    async fn oldest_outcome(&self, id: ChannelId) -> Result<Option<StoredOutcome>, StoreFault> {
        self.inner.oldest_outcome(id).await
    }

    async fn changed(&self, id: ChannelId, since: Version) -> Result<(), StoreFault> {
        self.inner.changed(id, since).await
    }

    async fn outcome(
        &self,
        key: OutcomeKey,
        now: Timestamp,
    ) -> Result<Option<StoredOutcome>, StoreFault> {
        self.inner.outcome(key, now).await
    }

    async fn scan(&self, scan: Scan) -> Result<Vec<Versioned>, StoreFault> {
        self.inner.scan(scan).await
    }

    async fn ledger(&self, page: LedgerPage) -> Result<Vec<Numbered>, StoreFault> {
        self.inner.ledger(page).await
    }

    async fn document(&self, key: DocumentKey) -> Result<Option<Document>, StoreFault> {
        self.inner.document(key).await
    }

    async fn write_documents(&self, writes: Vec<DocumentWrite>) -> Result<Written, StoreFault> {
        self.inner.write_documents(writes).await
    }

    async fn documents(&self, page: DocumentPage) -> Result<Vec<(B256, Document)>, StoreFault> {
        self.inner.documents(page).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreFault> {
        self.inner.sweep(now, limit).await
    }

    fn durability(&self) -> Durability {
        self.inner.durability()
    }
}

async fn contended(conflicts: u32) -> (Driver<Contended>, ChannelId) {
    let inner = MemoryStore::new();
    let id = stored(&inner, open_record(V2, 100, 50, 0)).await;
    let conflicts = AtomicU32::new(conflicts);
    (driver(Contended { inner, conflicts }), id)
}

#[tokio::test]
async fn a_conflict_is_tried_again_and_counts_once() {
    let (driver, id) = contended(3).await;
    let applied = driver.run(id, charge(10)).await.unwrap();
    assert_eq!(applied.get().record.spent, amount(10));
    assert_eq!(driver.load(id).await.unwrap().0.spent, amount(10));
    assert_eq!(ledger(&driver.store().inner, id).await.len(), 1);
}

// DESIGN 2.6: when the store fails we stop selling.
#[tokio::test]
async fn a_failing_store_sells_nothing() {
    let (driver, id) = contended(u32::MAX).await;
    let failure = driver.run(id, charge(10)).await.unwrap_err();
    let Failure::Fault(fault @ Fault::Store(_)) = failure else {
        panic!("{failure}");
    };
    assert!(fault.is_transient());
    assert_eq!(driver.load(id).await.unwrap().0.spent, Amount::ZERO);
}

#[tokio::test]
async fn a_step_without_change_is_not_written() {
    let (driver, id) = contended(u32::MAX).await;
    let applied = driver.run(id, Command::Keep).await.unwrap();
    assert!(!applied.get().outcome.changed);
    assert_eq!(applied.get().version, Version(1));
}

#[tokio::test]
async fn an_unknown_channel_is_not_found() {
    let driver = driver(MemoryStore::new());
    let id = channel_id(V2);
    assert!(matches!(
        driver.run(id, Command::Keep).await,
        Err(Failure::Rejected(Rejection::ChannelNotFound { channel_id })) if channel_id == id
    ));
}

#[tokio::test]
async fn only_a_failed_open_makes_room_for_another() {
    let driver = driver(MemoryStore::new());
    let first = opening(V2, 5);
    let created = driver.create(first.clone()).await.unwrap();
    assert_eq!(*created.get(), Created::Now);
    let created = driver.create(opening(V2, 7)).await.unwrap();
    assert_eq!(*created.get(), Created::Before(Arc::new(first.clone())));
    let transaction = open_tx().hash;
    let failed = Command::OpenFailed { transaction };
    driver.run(first.id, failed).await.unwrap();
    let created = driver.create(opening(V2, 7)).await.unwrap();
    assert_eq!(*created.get(), Created::Now);
    assert_eq!(driver.load(first.id).await.unwrap().0.accepted(), amount(7));
}

// SECURITY-CASES A16: an earlier version kept fewer outcomes, or a server of that version runs
// beside this one: what it has dropped may have been charged.
#[tokio::test]
async fn what_an_earlier_version_has_dropped_is_not_said_to_be_free() {
    let store = MemoryStore::new();
    let record = sample::record(1);
    let id = stored(&store, record.as_ref().clone()).await;
    let driver = driver(store.clone());
    let mut expected = Version(1);
    for number in 69..=100 {
        let mut next = record.as_ref().clone();
        next.newest_outcome = number;
        let write = Write {
            expected: Some(expected),
            outcome: Some(sample::outcome(&next, number, at(3_600))),
            next: Arc::new(next),
            entry: None,
        };
        let Commit::Done(version) = store.commit(write).await.unwrap() else {
            panic!("a conflict");
        };
        expected = version;
    }
    // All were charged under a voucher for 1,000.
    let may_have_forgotten = |units| driver.may_have_forgotten(id, amount(units));
    assert!(may_have_forgotten(1_000).await.unwrap());
    assert!(!may_have_forgotten(1_001).await.unwrap());
}
