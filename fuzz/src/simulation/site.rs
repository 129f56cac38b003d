//! What all processes share, and how one begins and ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use mpp_core::{Realm, SecretKey};
use mpp_devnet::{Devnet, DevnetConfig, Outage, Reorged, TimeSource, Times};
use mpp_server::clock::Clock as _;
use mpp_server::{FollowPolicy, MemoryStore, PaymentServer, SettlePolicy};

use super::audit::Audit;
use super::chain::Chain;
use super::clock::Steered;
use super::life::{Life, step};
use super::store::{Store, WriteFault};
use super::wallet::key;
use super::{NEVER, START, lock};

/// So often something is polled alone.
const PATIENCE: u8 = 100;

/// Seconds between blocks, for whoever waits for them.
const BLOCK_TIME: u32 = 5;

/// Nothing takes longer.
const MAX_BLOCKS: usize = 1_000;

/// The account that pays fees for others.
const SPONSOR: usize = 3;

/// The chain, the store and the clock.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) node: Devnet,
    pub(crate) clock: Steered,
    pub(crate) truth: MemoryStore,
    pub(crate) audit: Arc<Mutex<Audit>>,
}

/// One server process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) server: PaymentServer,
    pub(crate) store: Store,
    pub(crate) life: Life,
}

impl Site {
    pub(crate) fn new() -> Self {
        let node = Devnet::new(DevnetConfig {
            time: TimeSource::Fixed(START),
            // A dropped transaction is waited for in simulated time only.
            sync_timeout: Duration::from_millis(20),
            ..DevnetConfig::default()
        });
        Self {
            node,
            clock: Steered::new(),
            truth: MemoryStore::new(),
            audit: Arc::default(),
        }
    }

    /// Starts a server over the store that is there.
    pub(crate) fn start(&self, follow: FollowPolicy, settlement: SettlePolicy) -> Process {
        let life = Life::new();
        let store = Store {
            truth: self.truth.clone(),
            audit: Arc::clone(&self.audit),
            life: life.clone(),
            faults: Arc::default(),
        };
        let chain = Chain {
            node: self.node.clone(),
            life: life.clone(),
            audit: Arc::clone(&self.audit),
        };
        let secret: [u8; 32] = std::array::from_fn(|place| place as u8 ^ 0x33);
        let server = PaymentServer::builder()
            .realm(Realm::new("shop.example").unwrap())
            .secret_key(SecretKey::from_bytes(&secret).unwrap())
            .testnet()
            .chain(chain)
            .account(key(&self.node, 0))
            .fee_payer(key(&self.node, SPONSOR))
            .store(store.clone())
            .clock(self.clock.clone())
            .watch_every(NEVER)
            .follow(follow)
            .settlement(settlement)
            .build()
            .unwrap();
        Process {
            server,
            store,
            life,
        }
    }

    /// Reads what is new on the chain.
    pub(crate) fn look(&self) {
        lock(&self.audit).look(&self.node);
    }

    /// Time passes, everywhere.
    pub(crate) fn pass(&self, seconds: u32) {
        self.clock.advance(seconds.into());
        self.node.advance_time(Duration::from_secs(seconds.into()));
        self.node.mine();
    }

    /// So much time, as two bytes choose.
    pub(crate) fn advance(&self, one: u8, two: u8) {
        let seconds = match one % 4 {
            0 => u32::from(two % 32),
            1 => u32::from(two) * 4,
            2 => 300 + u32::from(two),
            _ => 900 + u32::from(two) * 4,
        };
        self.pass(seconds);
    }

    pub(crate) fn break_transaction(&self, kind: u8, two: u8, selectors: &[[u8; 4]]) {
        let faults = self.node.faults();
        match kind % 5 {
            0 => faults.drop_transactions(Times::Once),
            1 => faults.delay_transactions(Duration::from_secs((two % 40).into()), Times::Once),
            2 => faults.replace_transactions(Times::Once),
            3 => faults.lose_responses(Times::Once),
            _ => {
                let selector = selectors[usize::from(two) % selectors.len()];
                faults.revert_calls(selector, Times::Once);
            }
        }
    }

    /// The node is out of order, or behind, or well again.
    pub(crate) fn hide_chain(&self, kind: u8, two: u8) {
        let faults = self.node.faults();
        match kind % 4 {
            0 => faults.set_outage(Outage::Refusing),
            1 => faults.lag_reads((two % 4).into()),
            _ => {
                faults.set_outage(Outage::None);
                faults.lag_reads(0);
            }
        }
    }

    pub(crate) fn reorg(&self, depth: u8, fate: u8) {
        self.look();
        let fate = if fate & 1 == 0 {
            Reorged::Remined
        } else {
            Reorged::Lost
        };
        lock(&self.audit).reorged();
        self.node.faults().reorg((depth % 5 + 1).into(), fate);
        self.look();
    }

    /// Nothing fails any more, and all clocks show the later time.
    pub(crate) fn mend(&self) {
        self.node.faults().clear();
        let behind = self.node.now() as i64 - self.clock.now().as_secs();
        self.clock.advance(behind.max(0));
        self.node
            .advance_time(Duration::from_secs((-behind).max(0) as u64));
    }
}

impl Process {
    pub(crate) fn break_write(&self, kind: u8) {
        self.store.next_write(match kind % 3 {
            0 => WriteFault::Fails,
            1 => WriteFault::AnswerLost,
            _ => WriteFault::Conflicts,
        });
    }
}

/// Something that a server is doing for somebody.
pub(crate) struct Running<T> {
    pub(crate) process: usize,
    work: std::pin::Pin<Box<dyn Future<Output = Option<T>>>>,
}

impl<T> Running<T> {
    /// Work of a process; `None` comes of it when that dies.
    pub(crate) fn new(process: usize, life: Life, work: impl Future<Output = T> + 'static) -> Self {
        let work = Box::pin(async move {
            tokio::select! {
                biased;
                () = life.over() => None,
                done = work => Some(done),
            }
        });
        Self { process, work }
    }

    /// Polls so often, with everything else in between; `Err` if it goes on.
    pub(crate) async fn poll(mut self, polls: u8) -> Result<Option<T>, Self> {
        for _ in 0..polls {
            let work = &mut self.work;
            let poll = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context)));
            if let Poll::Ready(done) = poll.await {
                return Ok(done);
            }
            step().await;
        }
        Err(self)
    }

    /// Works to the end. What waits for others that are half way, such as for a
    /// lock, lets them go on; those that end thereby are returned, too. What
    /// waits for blocks gets them.
    pub(crate) async fn finish(
        self,
        others: &mut VecDeque<Self>,
        site: &Site,
    ) -> Vec<(usize, Option<T>)> {
        let process = self.process;
        let mut running = match self.poll(PATIENCE).await {
            Ok(done) => return vec![(process, done)],
            Err(running) => running,
        };
        let mut ended = Vec::new();
        let mut working = std::future::poll_fn(|context| {
            if let Poll::Ready(done) = running.work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            let mut place = 0;
            while let Some(other) = others.get_mut(place) {
                match other.work.as_mut().poll(context) {
                    Poll::Ready(done) => ended.push((other.process, done)),
                    Poll::Pending => {
                        place += 1;
                        continue;
                    }
                }
                drop(others.remove(place));
            }
            Poll::Pending
        });
        let pause = Duration::from_secs(BLOCK_TIME.into());
        for _ in 0..MAX_BLOCKS {
            match tokio::time::timeout(pause, &mut working).await {
                Ok(done) => {
                    ended.push((process, done));
                    return ended;
                }
                Err(_) => site.pass(BLOCK_TIME),
            }
        }
        panic!("it never ends");
    }
}

/// How long a server may work now: to the end, or a few polls.
pub(crate) fn patience(how: u8) -> Option<u8> {
    (how & 0x80 != 0).then_some((how >> 2) & 0x1f)
}
