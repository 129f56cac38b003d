//! Two drivers on one store, interleaved in every way: the result is a serial one.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex},
    task::{Context, Poll, Waker},
};

use alloy_primitives::B256;
use mpp_core::{Amount, Timestamp};
use mpp_tempo::{ChannelId, SessionProtocol, VerifiedVoucher};
use proptest::prelude::*;

use super::*;
use crate::{
    MemoryStore,
    clock::{Clock as _, ManualClock},
    session::{
        command::{Capture, Charge, NewHold},
        machine::apply,
        record::{HoldId, LedgerEntry},
        restart::after_restart,
    },
    store::{
        Claim, ClaimKey, Document, DocumentKey, DocumentPage, DocumentWrite, Durability,
        LedgerPage, Numbered, OutcomeKey, Scan, Versioned, Written,
    },
    testing::{NOW_SECS, amount, challenge_id, now, open_record, terms, verified},
};

const V2: SessionProtocol = SessionProtocol::V2;
const TOP: u128 = 12;
const CASES: u32 = 10_000;

static VOUCHERS: LazyLock<Vec<VerifiedVoucher>> =
    LazyLock::new(|| (0..=TOP).map(|units| verified(&terms(V2), units)).collect());

/// What a command asks for, as proptest makes it.
#[derive(Clone, Copy, Debug)]
enum Ask {
    /// A voucher, and a hold under one of three keys or none.
    Buy {
        units: u128,
        cost: u128,
        key: u8,
    },
    Hold {
        cost: u128,
        key: u8,
    },
    /// These name one of the holds so far.
    Capture {
        hold: u64,
        cost: u128,
    },
    Release(u64),
    Charge(u128),
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Move {
    Start(Ask),
    /// One of the commands under way goes one step further.
    Go(usize),
    /// Its process dies, wherever it is.
    Die(usize),
    /// The command comes a second time.
    Duplicate(usize),
    Wait(i64),
    /// All processes die and the store drops what they held.
    Restart,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let key = 0..4_u8;
    let ask = prop_oneof![
        3 => (0..=TOP, 1..4_u128, key.clone())
            .prop_map(|(units, cost, key)| Ask::Buy { units, cost, key }),
        2 => (1..4_u128, key).prop_map(|(cost, key)| Ask::Hold { cost, key }),
        4 => (1..5_u64, 0..4_u128).prop_map(|(hold, cost)| Ask::Capture { hold, cost }),
        1 => (1..5_u64).prop_map(Ask::Release),
        1 => (1..3_u128).prop_map(Ask::Charge),
    ];
    let next = prop_oneof![
        4 => ask.prop_map(Move::Start),
        8 => (0..4_usize).prop_map(Move::Go),
        1 => (0..4_usize).prop_map(Move::Die),
        1 => (0..4_usize).prop_map(Move::Duplicate),
        1 => (1..40_i64).prop_map(Move::Wait),
        1 => Just(Move::Restart),
    ];
    prop::collection::vec(next, 1..30)
}

/// One commit as it happened: at what time which command was applied.
type Committed = (Timestamp, Command);

/// A store whose every call waits for one more poll, and that notes the order
/// of its commits.
#[derive(Debug)]
struct Stepped {
    inner: MemoryStore,
    /// The command that this handle works for.
    command: Command,
    log: Arc<Mutex<Vec<Committed>>>,
}

/// Pending once.
async fn step() {
    let mut waited = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut waited, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

impl ChannelStore for Stepped {
    async fn load(&self, id: ChannelId) -> Result<Option<Versioned>, StoreFault> {
        step().await;
        self.inner.load(id).await
    }

    async fn commit(&self, write: Write) -> Result<Commit, StoreFault> {
        step().await;
        // The time at which the command was applied.
        let at = write.next.changed_at;
        let done = self.inner.commit(write).await?;
        if matches!(done, Commit::Done(_)) {
            self.log.lock().unwrap().push((at, self.command.clone()));
        }
        // The acknowledgement travels too: a process may die before it comes.
        step().await;
        Ok(done)
    }

    async fn outcome(
        &self,
        key: OutcomeKey,
        now: Timestamp,
    ) -> Result<Option<StoredOutcome>, StoreFault> {
        step().await;
        self.inner.outcome(key, now).await
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
        Durability::Memory
    }
}

type Running = Pin<Box<dyn Future<Output = ()>>>;

struct World {
    store: MemoryStore,
    clock: ManualClock,
    first: ChannelRecord,
    running: Vec<(Ask, Running)>,
    log: Arc<Mutex<Vec<Committed>>>,
}

impl World {
    fn new() -> Self {
        let (store, first) = (MemoryStore::new(), open_record(V2, TOP, 4, 0));
        let world = Self {
            store,
            clock: ManualClock::new(now()),
            first: first.clone(),
            running: Vec::new(),
            log: Arc::default(),
        };
        world.write(None, first);
        world
    }

    fn write(&self, expected: Option<Version>, next: ChannelRecord) {
        let write = Write {
            expected,
            next: Arc::new(next),
            entry: None,
            outcome: None,
        };
        assert!(matches!(
            ready(self.store.commit(write)),
            Ok(Commit::Done(_))
        ));
    }

    fn load(&self) -> Versioned {
        ready(self.store.load(self.first.id)).unwrap().unwrap()
    }

    fn until(&self) -> Timestamp {
        Timestamp::from_secs(self.clock.now().as_secs().saturating_add(30))
    }

    fn new_hold(&self, cost: u128, key: u8) -> NewHold {
        NewHold {
            amount: amount(cost),
            challenge_id: challenge_id(),
            idempotency: asked(key),
            until: self.until(),
        }
    }

    fn command(&self, ask: Ask) -> (Command, Option<Idempotency>) {
        match ask {
            Ask::Buy { units, cost, key } => {
                let accept = Command::Accept {
                    voucher: VOUCHERS[usize::try_from(units).unwrap()].clone(),
                    min_delta: Amount::ZERO,
                    hold: Some(self.new_hold(cost, key)),
                };
                (accept, asked(key))
            }
            Ask::Hold { cost, key } => (Command::Hold(self.new_hold(cost, key)), asked(key)),
            Ask::Capture { hold, cost } => {
                let capture = Capture {
                    hold: HoldId(hold),
                    cost: amount(cost),
                    units: 1,
                    response: None,
                    keep_until: Timestamp::from_secs(NOW_SECS.saturating_add(100_000)),
                };
                (Command::Capture(capture), None)
            }
            Ask::Release(hold) => (Command::Release(HoldId(hold)), None),
            Ask::Charge(cost) => {
                let charge = Charge {
                    cost: amount(cost),
                    units: 1,
                    challenge_id: challenge_id(),
                    stream: None,
                };
                (Command::Charge(charge), None)
            }
        }
    }

    fn start(&mut self, ask: Ask) {
        let (command, asked) = self.command(ask);
        let store = Stepped {
            inner: self.store.clone(),
            command: command.clone(),
            log: Arc::clone(&self.log),
        };
        let driver = Driver::new(Arc::new(store), SharedClock::new(self.clock.clone()));
        let id = self.first.id;
        let run: Running = Box::pin(async move {
            let refused = match asked {
                Some(asked) => driver.run_once(id, command, asked).await.err(),
                None => driver.run(id, command).await.err(),
            };
            assert!(!matches!(refused, Some(Failure::Fault(_))));
        });
        self.running.push((ask, run));
    }

    fn happen(&mut self, next: Move) {
        let at = |index: usize| index.checked_rem(self.running.len());
        match next {
            // Two processes, each with two requests at most.
            Move::Start(ask) if self.running.len() < 4 => self.start(ask),
            Move::Start(_) => {}
            Move::Go(index) => {
                if let Some(index) = at(index)
                    && poll(&mut self.running[index].1)
                {
                    drop(self.running.swap_remove(index));
                }
            }
            Move::Die(index) => {
                if let Some(index) = at(index) {
                    drop(self.running.swap_remove(index));
                }
            }
            Move::Duplicate(index) => {
                if let Some(index) = at(index) {
                    self.start(self.running[index].0);
                }
            }
            Move::Wait(seconds) => self.clock.advance_secs(u32::try_from(seconds).unwrap()),
            Move::Restart => {
                self.running.clear();
                let stored = self.load();
                if let Some(next) = after_restart(&stored.record, self.clock.now()) {
                    // It is a commit of its own in the serial order.
                    for hold in &stored.record.holds {
                        let release = Command::Release(hold.id);
                        self.log.lock().unwrap().push((self.clock.now(), release));
                    }
                    self.write(Some(stored.version), next);
                }
            }
        }
    }

    fn finish(&mut self) {
        for (_, mut run) in std::mem::take(&mut self.running) {
            while !poll(&mut run) {}
        }
    }

    fn check(&self) {
        let found = self.load().record;
        let mut serial = Arc::new(self.first.clone());
        let mut kept: HashMap<OutcomeKey, u32> = HashMap::new();
        for (at, command) in self.log.lock().unwrap().iter() {
            let step = apply(&serial, command.clone(), *at).unwrap();
            if let Some(outcome) = step.kept {
                let count = kept.entry(outcome.key).or_default();
                *count = count.saturating_add(1);
            }
            serial = Arc::from(step.next);
        }
        assert_eq!(found, serial);
        // One key is charged once, however often and wherever it was sent.
        assert!(kept.values().all(|count| *count == 1), "{kept:?}");
        let promised = found.spent.checked_add(found.held(self.clock.now()));
        assert!(promised.unwrap() <= found.accepted());
        let costs = self.ledger().into_iter().map(|entry| entry.cost);
        let sum = costs.fold(Amount::ZERO, |sum, cost| sum.checked_add(cost).unwrap());
        assert_eq!(sum, found.spent);
    }

    fn ledger(&self) -> Vec<LedgerEntry> {
        ready(crate::testing::ledger(&self.store, self.first.id))
    }
}

fn asked(key: u8) -> Option<Idempotency> {
    (key > 0).then(|| Idempotency {
        key: OutcomeKey(B256::repeat_byte(key)),
        request: B256::ZERO,
    })
}

/// Goes one step; returns whether that was the last.
fn poll(run: &mut Running) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    run.as_mut().poll(&mut context).is_ready()
}

/// The result of a future that does not wait.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // Issue: any interleaving of two drivers equals a serial order, with crashes,
    // conflicts, delayed and duplicated commands; sums of the ledger are the record.
    #[test]
    fn every_interleaving_is_a_serial_order(moves in moves()) {
        let mut world = World::new();
        for next in moves {
            world.happen(next);
        }
        world.finish();
        world.check();
    }
}
