//! The node: pool, blocks and clock around the state.

use crate::chain::block::{Block, Mined, Seed};
use crate::chain::candidate::Candidate;
use crate::chain::execute::{Executed, environment, execute, use_nonce};
use crate::chain::receipt::DevReceipt;
use crate::chain::refusal::Refusal;
use crate::chain::state::State;
use crate::chain::validity::{Readiness, admit, check};
use crate::clock::Clock;
use crate::config::Mining;
use crate::faults::{Fate, Plan};
use alloy_eips::Typed2718;
use alloy_primitives::{Address, B256};
use std::collections::HashMap;
use tokio::sync::watch;

/// The constants of a chain.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) chain_id: u64,
    pub(crate) stream_channel: Address,
    pub(crate) base_fee: u64,
    pub(crate) max_expiry_secs: u64,
    /// Most calls of a transaction that the pool takes.
    pub(crate) max_calls: usize,
}

/// A transaction in the pool.
#[derive(Debug, Clone)]
pub(crate) struct Pooled {
    pub(crate) candidate: Candidate,
    /// Not mined before this time (milliseconds); set by the delay fault.
    pub(crate) not_before_millis: u64,
    /// Another transaction will use its nonce: nothing of this one is ever mined.
    pub(crate) replaced: bool,
}

/// The whole chain. Everything outside reaches it through one mutex.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) rules: Rules,
    pub(crate) clock: Clock,
    pub(crate) mining: Mining,
    pub(crate) state: State,
    /// Never empty: the genesis block has number zero.
    pub(crate) blocks: Vec<Block>,
    /// Transaction hash to block number and position.
    pub(crate) places: HashMap<B256, (u64, usize)>,
    pub(crate) pool: Vec<Pooled>,
    pub(crate) faults: Plan,
    /// Timestamp the next block must have.
    pub(crate) next_timestamp: Option<u64>,
    /// Timestamps do not run backwards, unless somebody sets the clock back.
    pub(crate) floor: u64,
    pub(crate) fork: u64,
    pub(crate) mined_count: u64,
    pub(crate) heads: watch::Sender<u64>,
}

impl Node {
    /// Number of the newest block.
    pub(crate) fn height(&self) -> u64 {
        self.blocks.last().map(Block::number).unwrap_or_default()
    }

    /// Number of the newest block that readers see; behind the height while reads lag.
    pub(crate) fn visible_height(&self) -> u64 {
        self.height().saturating_sub(self.faults.lag)
    }

    /// Timestamp a block would get now, unix seconds.
    pub(crate) fn pending_timestamp(&self) -> u64 {
        let now = self
            .clock
            .now_millis()
            .checked_div(1000)
            .unwrap_or_default();
        self.next_timestamp.unwrap_or(now.max(self.floor))
    }

    pub(crate) fn block(&self, number: u64) -> Option<&Block> {
        usize::try_from(number)
            .ok()
            .and_then(|index| self.blocks.get(index))
    }

    /// A mined transaction.
    pub(crate) fn mined(&self, hash: B256) -> Option<&Mined> {
        let (number, index) = self.places.get(&hash)?;
        self.block(*number)?.mined.get(*index)
    }

    /// Takes a signed transaction, and mines it when mining is automatic.
    pub(crate) fn submit(&mut self, raw: &[u8]) -> Result<B256, Refusal> {
        let candidate = Candidate::decode(raw, self.rules.chain_id)?;
        let hash = candidate.hash;
        if self.pool.iter().any(|pooled| pooled.candidate.hash == hash) {
            return Err(Refusal::AlreadyKnown);
        }
        admit(
            &self.rules,
            &self.state,
            &candidate,
            self.pending_timestamp(),
        )?;
        let now = self.clock.now_millis();
        let (not_before_millis, replaced) = match self.faults.fate() {
            Fate::Dropped => return Ok(hash),
            Fate::Delayed(millis) => (now.saturating_add(millis), false),
            Fate::Replaced => (0, true),
            Fate::Normal => (0, false),
        };
        self.pool.push(Pooled {
            candidate,
            not_before_millis,
            replaced,
        });
        self.poke();
        Ok(hash)
    }

    /// Mines what became ready, one block per transaction, when mining is automatic.
    pub(crate) fn poke(&mut self) {
        while self.mining == Mining::Automatic && self.is_anything_ready() {
            self.mine_block(Some(1));
        }
    }

    fn is_anything_ready(&mut self) -> bool {
        let timestamp = self.pending_timestamp();
        self.forget_invalid(timestamp);
        self.first_ready(timestamp).is_some()
    }

    /// Transactions that can never be mined leave the pool.
    fn forget_invalid(&mut self, timestamp: u64) {
        let (rules, state) = (&self.rules, &self.state);
        self.pool
            .retain(|pooled| check(rules, state, &pooled.candidate, timestamp).is_ok());
    }

    fn first_ready(&self, timestamp: u64) -> Option<(usize, Address)> {
        let now = self.clock.now_millis();
        self.pool.iter().enumerate().find_map(|(index, pooled)| {
            let due = pooled.not_before_millis <= now;
            match check(&self.rules, &self.state, &pooled.candidate, timestamp) {
                Ok(Readiness::Ready(token)) if due => Some((index, token)),
                _ => None,
            }
        })
    }

    /// Mines a block with the transactions that are ready, at most `limit`.
    pub(crate) fn mine_block(&mut self, limit: Option<usize>) {
        let timestamp = self.pending_timestamp();
        let before = self.state.mark();
        let mut mined: Vec<Mined> = Vec::new();
        let mut taken = 0usize;
        while limit.is_none_or(|limit| taken < limit) {
            self.forget_invalid(timestamp);
            let Some((index, token)) = self.first_ready(timestamp) else {
                break;
            };
            taken = taken.saturating_add(1);
            let pooled = self.pool.remove(index);
            mined.extend(self.run(pooled, token, timestamp, &mined));
        }
        self.append(mined, before, timestamp);
    }

    fn run(
        &mut self,
        pooled: Pooled,
        token: Address,
        timestamp: u64,
        earlier: &[Mined],
    ) -> Option<Mined> {
        let candidate = pooled.candidate;
        if pooled.replaced {
            let mut env = environment(
                &self.rules,
                &mut self.state,
                timestamp,
                candidate.identifier,
            );
            use_nonce(&mut env, &candidate);
            return None;
        }
        let forced = self.faults.forced_revert(&candidate.calls);
        let done = execute(
            &self.rules,
            &mut self.state,
            &candidate,
            token,
            timestamp,
            forced,
        );
        let receipt = self.receipt(&candidate, done, timestamp, earlier);
        Some(Mined { candidate, receipt })
    }

    fn receipt(
        &self,
        candidate: &Candidate,
        done: Executed,
        timestamp: u64,
        earlier: &[Mined],
    ) -> DevReceipt {
        let gas_before = earlier
            .last()
            .map(|tx| tx.receipt.cumulative_gas_used)
            .unwrap_or_default();
        let logs_before: usize = earlier.iter().map(|tx| tx.receipt.logs.len()).sum();
        DevReceipt {
            hash: candidate.hash,
            block_number: self.height().saturating_add(1),
            block_hash: B256::ZERO,
            timestamp,
            index: u64::try_from(earlier.len()).unwrap_or(u64::MAX),
            success: done.success,
            from: candidate.sender,
            to: candidate.calls.first().map(|target| target.to),
            fee_payer: candidate.fee_payer,
            fee_token: done.fee_token,
            fee: done.fee,
            gas_used: done.gas_used,
            cumulative_gas_used: gas_before.saturating_add(done.gas_used),
            gas_price: done.gas_price,
            tx_type: candidate.envelope.ty(),
            logs: done.logs,
            first_log: u64::try_from(logs_before).unwrap_or(u64::MAX),
            revert: done.revert,
        }
    }

    /// Appends a block and tells whoever waits for heads.
    pub(crate) fn append(
        &mut self,
        mined: Vec<Mined>,
        before: crate::chain::state::Mark,
        timestamp: u64,
    ) {
        let number = self.height().saturating_add(1);
        for (index, tx) in mined.iter().enumerate() {
            self.places.insert(tx.candidate.hash, (number, index));
        }
        let count = u64::try_from(mined.len()).unwrap_or(u64::MAX);
        self.mined_count = self.mined_count.saturating_add(count);
        let seed = self.seed(timestamp);
        self.blocks.push(Block::seal(&seed, mined, before));
        self.next_timestamp = None;
        self.floor = timestamp;
        self.heads.send_replace(number);
    }

    /// What the next block's header starts from.
    pub(crate) fn seed(&self, timestamp: u64) -> Seed {
        let parent = self.blocks.last().map(|block| block.hash);
        let millis = self.clock.now_millis().checked_rem(1000);
        Seed {
            parent: parent.unwrap_or_default(),
            number: self.height().saturating_add(1),
            timestamp,
            millis: millis.unwrap_or_default(),
            base_fee: self.rules.base_fee,
            fork: self.fork,
        }
    }
}
