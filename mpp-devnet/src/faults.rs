//! Things that go wrong on real networks, on demand.

use crate::chain::candidate::Target;
use crate::chain::node::Node;
use crate::lock;
use crate::precompile::revert::Revert;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// How often a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// The next time only.
    Once,
    /// This many times.
    Exactly(u32),
    /// Until [`Faults::clear`].
    Always,
}

/// How the node answers while it is out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outage {
    /// It works.
    #[default]
    None,
    /// HTTP 503 at once.
    Refusing,
    /// No answer until the outage ends.
    Hanging,
}

/// What becomes of the transactions of removed blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reorged {
    /// They return to the pool and are mined again as far as they are still valid.
    Remined,
    /// They are gone.
    Lost,
}

/// What happens to a transaction the node has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Normal,
    Dropped,
    Delayed(u64),
    Replaced,
}

#[derive(Debug, Clone, Copy, Default)]
struct Charge(Option<Times>);

impl Charge {
    fn fire(&mut self) -> bool {
        let (left, struck) = match self.0 {
            None | Some(Times::Exactly(0)) => (None, false),
            Some(Times::Once) => (None, true),
            Some(Times::Exactly(n)) => (Some(Times::Exactly(n.saturating_sub(1))), true),
            Some(Times::Always) => (Some(Times::Always), true),
        };
        self.0 = left;
        struck
    }
}

/// The faults that are armed.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    drop: Charge,
    delay: Charge,
    delay_millis: u64,
    replace: Charge,
    lose: Charge,
    reverts: HashMap<[u8; 4], Charge>,
    pub(crate) outage: Outage,
    /// Blocks by which reads lag.
    pub(crate) lag: u64,
}

impl Plan {
    pub(crate) fn fate(&mut self) -> Fate {
        if self.drop.fire() {
            Fate::Dropped
        } else if self.replace.fire() {
            Fate::Replaced
        } else if self.delay.fire() {
            Fate::Delayed(self.delay_millis)
        } else {
            Fate::Normal
        }
    }

    pub(crate) fn forced_revert(&mut self, calls: &[Target]) -> Option<Revert> {
        let struck = calls.iter().any(|call| {
            let selector = call.input.first_chunk::<4>();
            selector
                .and_then(|selector| self.reverts.get_mut(selector))
                .is_some_and(Charge::fire)
        });
        struck.then(|| Revert::message("reverted by fault injection"))
    }

    pub(crate) fn loses_response(&mut self) -> bool {
        self.lose.fire()
    }
}

/// Arms faults on a running node.
#[derive(Debug, Clone)]
pub struct Faults {
    node: Arc<Mutex<Node>>,
}

impl Faults {
    pub(crate) const fn new(node: Arc<Mutex<Node>>) -> Self {
        Self { node }
    }

    fn arm(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut lock(&self.node).faults);
    }

    /// Transactions are accepted, their hash is returned, and they are never mined.
    pub fn drop_transactions(&self, times: Times) {
        self.arm(|plan| plan.drop = Charge(Some(times)));
    }

    /// Transactions are mined only after `by` of chain time. Nothing wakes the chain then but a reader, another
    /// transaction or a control call.
    pub fn delay_transactions(&self, by: Duration, times: Times) {
        self.arm(|plan| {
            plan.delay = Charge(Some(times));
            plan.delay_millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        });
    }

    /// Transactions are accepted, but another one uses their nonce: they can never be mined, also not when sent again.
    pub fn replace_transactions(&self, times: Times) {
        self.arm(|plan| plan.replace = Charge(Some(times)));
    }

    /// Transactions with a call of this selector are mined and fail.
    pub fn revert_calls(&self, selector: [u8; 4], times: Times) {
        self.arm(|plan| {
            plan.reverts.insert(selector, Charge(Some(times)));
        });
    }

    /// Transactions are mined but the sender never hears of it: the answer to the send is lost.
    pub fn lose_responses(&self, times: Times) {
        self.arm(|plan| plan.lose = Charge(Some(times)));
    }

    /// Starts or ends an outage.
    pub fn set_outage(&self, outage: Outage) {
        self.arm(|plan| plan.outage = outage);
    }

    /// Reads see the chain as it was `blocks` blocks ago; zero ends the lag. Transactions are taken at the real head.
    pub fn lag_reads(&self, blocks: u64) {
        self.arm(|plan| plan.lag = blocks);
    }

    /// Replaces the newest `depth` blocks with empty ones. Tokens minted by the test since then are undone too.
    pub fn reorg(&self, depth: u64, fate: Reorged) {
        lock(&self.node).reorg(depth, fate);
    }

    /// Disarms every fault. What has happened stays.
    pub fn clear(&self) {
        self.arm(|plan| *plan = Plan::default());
    }

    pub(crate) fn outage(&self) -> Outage {
        lock(&self.node).faults.outage
    }
}
