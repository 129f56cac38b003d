//! The handle: state without RPC, and control.

mod control;

use crate::account::{DevAccount, dev_accounts};
use crate::chain::filter::LogQuery;
use crate::chain::node::Node;
use crate::chain::receipt::{DevLog, DevReceipt};
use crate::config::DevnetConfig;
use crate::counters::Counters;
use crate::faults::Faults;
use crate::lock;
use alloy_primitives::{Address, B256, U256};
use core::time::Duration;
use mpp_core::Amount;
use mpp_tempo::SessionProtocol;
use std::sync::{Arc, Mutex};

/// How often a waiting reader looks whether a delayed transaction became due.
const WAIT_TICK: Duration = Duration::from_millis(10);

/// A running chain. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Devnet {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) node: Arc<Mutex<Node>>,
    pub(crate) counters: Counters,
    config: DevnetConfig,
    accounts: Vec<DevAccount>,
    faults: Faults,
}

/// A channel as the escrow holds it. A v2 channel that ended has no state and reads as `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DevChannel {
    /// Locked in total (base units).
    pub deposit: Amount,
    /// Paid out to the payee so far (base units).
    pub settled: Amount,
    /// When the payer asked to close, unix seconds.
    pub close_requested_at: Option<u64>,
    /// Whether it ended; only v1 remembers that.
    pub finalized: bool,
}

/// Tokens were not minted: the token is unknown or paused, the recipient invalid or frozen, or the supply cap reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token refused to mint")]
pub struct MintError;

impl Devnet {
    /// Starts a chain. Nothing runs in the background and nothing is written to disk.
    #[must_use]
    pub fn new(config: DevnetConfig) -> Self {
        let accounts = dev_accounts();
        let node = Arc::new(Mutex::new(Node::genesis(&config, &accounts)));
        let faults = Faults::new(Arc::clone(&node));
        let counters = Counters::default();
        Self {
            shared: Arc::new(Shared {
                node,
                counters,
                config,
                accounts,
                faults,
            }),
        }
    }

    /// The settings it was started with.
    #[must_use]
    pub fn config(&self) -> &DevnetConfig {
        &self.shared.config
    }

    /// The ten funded accounts, in mnemonic order.
    #[must_use]
    pub fn accounts(&self) -> &[DevAccount] {
        &self.shared.accounts
    }

    /// Arms faults.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Balance of `owner` (base units).
    #[must_use]
    pub fn balance(&self, token: Address, owner: Address) -> Amount {
        narrow(self.read(|node| node.state.balance(token, owner)))
    }

    /// What `spender` may still take from `owner` (base units; the maximum means unlimited).
    #[must_use]
    pub fn allowance(&self, token: Address, owner: Address, spender: Address) -> U256 {
        self.read(|node| node.state.allowance(token, owner, spender))
    }

    /// Tokens in existence (base units).
    #[must_use]
    pub fn total_supply(&self, token: Address) -> Amount {
        let row = |node: &Node| node.state.tokens.get(&token).map(|row| row.total_supply);
        narrow(self.read(row).unwrap_or_default())
    }

    /// Sum of all balances of a token (base units). Always equals the supply.
    #[must_use]
    pub fn sum_of_balances(&self, token: Address) -> Amount {
        let sum = |node: &Node| {
            let of_token = node
                .state
                .balances
                .iter()
                .filter(|((of, _), _)| *of == token);
            of_token.fold(U256::ZERO, |sum, (_, balance)| sum.saturating_add(*balance))
        };
        narrow(self.read(sum))
    }

    /// A channel's state.
    #[must_use]
    pub fn channel(&self, protocol: SessionProtocol, id: B256) -> Option<DevChannel> {
        self.read(|node| channel_of(&node.state, protocol, id))
    }

    /// Number of the newest block.
    #[must_use]
    pub fn block_number(&self) -> u64 {
        self.read(Node::height)
    }

    /// Chain time: the timestamp a block would get now, unix seconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.read(Node::pending_timestamp)
    }

    /// Next nonce of an account under a key; key zero is the protocol nonce.
    #[must_use]
    pub fn nonce(&self, account: Address, key: U256) -> u64 {
        self.read(|node| node.state.nonce(account, key))
    }

    /// A mined transaction.
    #[must_use]
    pub fn receipt(&self, hash: B256) -> Option<DevReceipt> {
        let mut node = lock(&self.shared.node);
        node.poke();
        node.mined(hash).map(|tx| tx.receipt.clone())
    }

    /// Events that match, oldest first.
    #[must_use]
    pub fn logs(&self, query: &LogQuery) -> Vec<DevLog> {
        self.read(|node| collect_logs(node, query, node.height()))
    }

    /// Transactions that wait to be mined.
    #[must_use]
    pub fn pending_transactions(&self) -> Vec<B256> {
        self.read(|node| {
            node.pool
                .iter()
                .map(|pooled| pooled.candidate.hash)
                .collect()
        })
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&Node) -> T) -> T {
        look(&lock(&self.shared.node))
    }

    /// Waits until a transaction is mined; `None` when `limit` passes first.
    pub(crate) async fn wait_mined(&self, hash: B256, limit: Duration) -> Option<DevReceipt> {
        let mut heads = lock(&self.shared.node).heads.subscribe();
        let mined = async {
            loop {
                if let Some(receipt) = self.receipt(hash) {
                    return receipt;
                }
                // Either a new block or a tick: delays end by time alone. The result does not matter.
                drop(tokio::time::timeout(WAIT_TICK, heads.changed()).await);
            }
        };
        tokio::time::timeout(limit, mined).await.ok()
    }
}

/// Balances and deposits never exceed the supply cap, which is the largest amount.
fn narrow(value: U256) -> Amount {
    Amount::new(value.saturating_to())
}

pub(crate) fn channel_of(
    state: &crate::chain::state::State,
    protocol: SessionProtocol,
    id: B256,
) -> Option<DevChannel> {
    let (deposit, settled, requested, finalized) = match protocol {
        SessionProtocol::V1 => {
            let row = state.streams.get(&id)?;
            (
                row.deposit,
                row.settled,
                row.close_requested_at,
                row.finalized,
            )
        }
        SessionProtocol::V2 => {
            let row = state.reserves.get(&id)?;
            (
                row.deposit,
                row.settled,
                u64::from(row.close_requested_at),
                false,
            )
        }
    };
    Some(DevChannel {
        deposit: Amount::new(deposit),
        settled: Amount::new(settled),
        close_requested_at: (requested != 0).then_some(requested),
        finalized,
    })
}

/// Matching logs of blocks up to `head`.
pub(crate) fn collect_logs(node: &Node, query: &LogQuery, head: u64) -> Vec<DevLog> {
    let in_range = |number: u64, hash: B256| match query.block_hash {
        Some(wanted) => hash == wanted,
        None => {
            query.from_block.is_none_or(|from| number >= from)
                && query.to_block.is_none_or(|to| number <= to)
        }
    };
    let blocks = node
        .blocks
        .iter()
        .filter(|block| block.number() <= head && in_range(block.number(), block.hash));
    let receipts = blocks.flat_map(|block| &block.mined).map(|tx| &tx.receipt);
    receipts
        .flat_map(DevReceipt::placed_logs)
        .filter(|placed| query.matches(&placed.log))
        .collect()
}
