//! What all processes share, and how one begins and ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::U256;
use mpp_core::{Realm, SecretKey};
use mpp_devnet::{Devnet, DevnetConfig, Outage, Reorged, TimeSource, Times};
use mpp_server::clock::Clock as _;
use mpp_server::{FollowPolicy, MemoryStore, PaymentServer, SettlePolicy, SponsorBudget};
use mpp_tempo::Signer as _;
use mpp_tempo::network::PATH_USD;

use super::audit::{Accounts, Audit};
use super::chain::Chain;
use super::clock::Steered;
use super::life::Life;
use super::store::{Store, WriteFault};
use super::wallet::key;
use super::{NEVER, START, lock};

/// The account that pays fees for others.
const SPONSOR: usize = 3;

/// What the sponsor gives in all, in attodollars: some transactions' fees.
const BUDGET: SponsorBudget = SponsorBudget {
    window: NEVER,
    per_payer: U256::from_limbs([8_000_000_000_000_000, 0, 0, 0]),
    per_range: U256::MAX,
    total: U256::from_limbs([12_000_000_000_000_000, 0, 0, 0]),
};

/// The same in base units, with what rounding up may add to each fee.
const MOST_FEES: u128 = 12_000 + 200;

/// The chain, the store and the clock.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) node: Devnet,
    pub(crate) clock: Steered,
    pub(crate) truth: MemoryStore,
    pub(crate) audit: Arc<Mutex<Audit>>,
    /// What the sponsor had in the beginning, in base units.
    purse: u128,
    /// Backups that were put back; each gives the sponsor's budget back, too.
    restored: u128,
    lagging: AtomicBool,
}

/// What was stored at one time, and what had been promised by then.
#[derive(Debug)]
pub(crate) struct Backup {
    store: MemoryStore,
    accounts: Accounts,
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
        mpp_server::reproducible::seed(0);
        let node = Devnet::new(DevnetConfig {
            time: TimeSource::Fixed(START),
            // A dropped transaction is waited for in simulated time only.
            sync_timeout: Duration::from_millis(20),
            ..DevnetConfig::default()
        });
        let mut site = Self {
            node,
            clock: Steered::new(),
            truth: MemoryStore::new(),
            audit: Arc::default(),
            purse: 0,
            restored: 0,
            lagging: AtomicBool::new(false),
        };
        site.purse = site.left();
        site
    }

    /// What the sponsor has, in base units.
    fn left(&self) -> u128 {
        let sponsor = key(&self.node, SPONSOR).address();
        self.node.balance(PATH_USD, sponsor).base_units()
    }

    /// SECURITY-CASES A15: the sponsor gives no more than its budget.
    pub(crate) fn check_sponsor(&self) {
        let fees = self.purse.saturating_sub(self.left());
        assert!(
            fees <= MOST_FEES * (1 + self.restored),
            "the sponsor has paid {fees}"
        );
    }

    /// Puts a backup in the place of the store. No process that uses the store
    /// may live on.
    pub(crate) fn restore(&mut self, backup: &Backup) {
        self.truth = backup.store.backup();
        self.restored += 1;
        lock(&self.audit).restored(&backup.accounts);
    }

    pub(crate) fn backup(&self) -> Backup {
        Backup {
            store: self.truth.backup(),
            accounts: lock(&self.audit).accounts(),
        }
    }

    /// Starts a server over the store that is there.
    pub(crate) fn start(&self, follow: FollowPolicy, settlement: SettlePolicy) -> Process {
        let life = Life::new();
        let store = Store {
            truth: self.truth.clone(),
            audit: Arc::clone(&self.audit),
            node: self.node.clone(),
            clock: self.clock.clone(),
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
            .sponsor_budget(BUDGET)
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
            1 => {
                faults.lag_reads((two % 4).into());
                self.lagging.store(two % 4 != 0, Ordering::SeqCst);
                lock(&self.audit).lagged();
            }
            _ => {
                self.lagging.store(false, Ordering::SeqCst);
                faults.set_outage(Outage::None);
                faults.lag_reads(0);
            }
        }
    }

    /// Whether the node does not show its newest blocks.
    pub(crate) fn lags(&self) -> bool {
        self.lagging.load(Ordering::SeqCst)
    }

    pub(crate) fn reorg(&self, depth: u8, fate: u8) {
        self.look();
        let fate = if fate & 1 == 0 {
            Reorged::Remined
        } else {
            Reorged::Lost
        };
        let depth = u64::from(depth % 5 + 1);
        lock(&self.audit).reorged(depth);
        self.node.faults().reorg(depth, fate);
        self.look();
    }

    /// Nothing fails any more, and all clocks show the later time.
    pub(crate) fn mend(&self) {
        self.node.faults().clear();
        self.lagging.store(false, Ordering::SeqCst);
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
