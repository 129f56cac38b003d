//! What the outside may do to the chain: genesis, time, reorganizations, tokens.

use crate::account::DevAccount;
use crate::chain::block::{Block, Seed};
use crate::chain::execute::environment;
use crate::chain::node::{Node, Pooled, Rules};
use crate::chain::state::{State, Token};
use crate::clock::Clock;
use crate::config::DevnetConfig;
use crate::faults::{Plan, Reorged};
use crate::precompile::revert::Outcome;
use crate::precompile::{Env, tip20};
use alloy_primitives::{Address, B256, U256};
use core::time::Duration;
use std::collections::HashMap;
use tokio::sync::watch;

impl Node {
    /// A chain whose genesis block funds the development accounts.
    pub(crate) fn genesis(config: &DevnetConfig, accounts: &[DevAccount]) -> Self {
        let admin = accounts
            .first()
            .map(|account| account.address)
            .unwrap_or_default();
        let mut state = State::default();
        for token in &config.tokens {
            let row = Token {
                name: token.name.clone(),
                symbol: token.symbol.clone(),
                paused: false,
                total_supply: U256::ZERO,
                admin,
            };
            state.tokens.set(token.address, row);
        }
        let rules = Rules {
            chain_id: config.chain_id,
            stream_channel: config.stream_channel,
            base_fee: config.base_fee,
            max_expiry_secs: config.max_expiry.as_secs(),
            max_calls: config.max_calls,
        };
        let clock = Clock::new(config.time);
        let timestamp = clock.now_millis().checked_div(1000).unwrap_or_default();
        let seed = Seed {
            parent: B256::ZERO,
            number: 0,
            timestamp,
            millis: 0,
            base_fee: config.base_fee,
            fork: 0,
        };
        let block = Block::seal(&seed, Vec::new(), state.mark());
        let mut node = Self {
            rules,
            clock,
            mining: config.mining,
            state,
            blocks: vec![block],
            places: HashMap::new(),
            pool: Vec::new(),
            faults: Plan::default(),
            next_timestamp: None,
            floor: timestamp,
            fork: 0,
            mined_count: 0,
            heads: watch::Sender::new(0),
        };
        for token in &config.tokens {
            for account in accounts {
                // A configuration that exceeds the supply cap leaves the rest of the accounts unfunded.
                if node
                    .mint(token.address, account.address, config.funds)
                    .is_err()
                {
                    break;
                }
            }
        }
        node
    }

    /// Runs a change outside any transaction; its logs are not part of a block.
    pub(crate) fn tweak<T>(&mut self, change: impl FnOnce(&mut Env<'_>) -> T) -> T {
        let now = self.pending_timestamp();
        let mut env = environment(&self.rules, &mut self.state, now, B256::ZERO);
        change(&mut env)
    }

    pub(crate) fn mint(&mut self, token: Address, to: Address, amount: U256) -> Outcome<()> {
        self.tweak(|env| tip20::mint(env, token, to, amount))
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        self.poke();
    }

    /// Sets the clock, also backwards; block timestamps follow it.
    pub(crate) fn set_time(&mut self, secs: u64) {
        self.clock.set(secs);
        self.floor = self.floor.min(secs);
        self.poke();
    }

    /// Sets the clock so that the next block has exactly this timestamp.
    pub(crate) fn set_next_timestamp(&mut self, secs: u64) {
        self.clock.set(secs);
        self.next_timestamp = Some(secs);
        self.poke();
    }

    /// Replaces the newest blocks with empty ones of the same timestamps.
    pub(crate) fn reorg(&mut self, depth: u64, fate: Reorged) {
        let depth = depth.min(self.height());
        let keep = self
            .blocks
            .len()
            .saturating_sub(usize::try_from(depth).unwrap_or(usize::MAX));
        let removed = self.blocks.split_off(keep);
        let Some(oldest) = removed.first() else {
            return;
        };
        self.state.rollback(oldest.before);
        self.fork = self.fork.saturating_add(1);
        for tx in removed.iter().flat_map(|block| &block.mined) {
            self.places.remove(&tx.candidate.hash);
        }
        for block in &removed {
            let mark = self.state.mark();
            self.append(Vec::new(), mark, block.timestamp());
        }
        if fate == Reorged::Remined {
            let mined = removed.into_iter().flat_map(|block| block.mined);
            self.pool.extend(mined.map(|tx| Pooled {
                candidate: tx.candidate,
                not_before_millis: 0,
                replaced: false,
            }));
            self.poke();
        }
    }
}
