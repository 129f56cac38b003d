//! Control of a running chain: sending, time, tokens, counters.

use super::{Devnet, MintError};
use crate::chain::refusal::Refusal;
use crate::chain::state::Token;
use crate::lock;
use crate::precompile::policy;
use alloy_primitives::{Address, B256, U256};
use core::time::Duration;
use mpp_core::Amount;

impl Devnet {
    /// Takes a signed transaction without RPC and returns its hash.
    ///
    /// # Errors
    /// Why the node refuses it.
    pub fn submit(&self, raw: &[u8]) -> Result<B256, Refusal> {
        lock(&self.shared.node).submit(raw)
    }

    /// Mines one block with everything that is ready.
    pub fn mine(&self) {
        lock(&self.shared.node).mine_block(None);
    }

    /// Moves chain time forward.
    pub fn advance_time(&self, by: Duration) {
        lock(&self.shared.node).advance(by);
    }

    /// Sets chain time, also backwards (unix seconds).
    pub fn set_time(&self, secs: u64) {
        lock(&self.shared.node).set_time(secs);
    }

    /// Creates tokens out of nothing.
    ///
    /// # Errors
    /// When the token itself would refuse.
    pub fn mint(&self, token: Address, to: Address, amount: Amount) -> Result<(), MintError> {
        let amount = U256::from(amount.base_units());
        lock(&self.shared.node)
            .mint(token, to, amount)
            .map_err(|_| MintError)
    }

    /// Pauses a token: nobody can move it until [`unpause`](Self::unpause).
    pub fn pause(&self, token: Address) {
        self.set_paused(token, true);
    }

    /// Ends a pause.
    pub fn unpause(&self, token: Address) {
        self.set_paused(token, false);
    }

    fn set_paused(&self, token: Address, paused: bool) {
        let mut node = lock(&self.shared.node);
        if let Some(row) = node.state.tokens.get(&token).cloned() {
            node.state.tokens.set(token, Token { paused, ..row });
        }
    }

    /// Puts an account on the transfer blacklist of all tokens.
    pub fn freeze(&self, account: Address) {
        self.set_frozen(account, true);
    }

    /// Takes an account off the blacklist.
    pub fn unfreeze(&self, account: Address) {
        self.set_frozen(account, false);
    }

    fn set_frozen(&self, account: Address, frozen: bool) {
        let mut node = lock(&self.shared.node);
        node.tweak(|env| policy::set_frozen(env, Address::ZERO, account, frozen));
    }

    /// JSON-RPC calls answered over HTTP; each call of a batch counts.
    #[must_use]
    pub fn rpc_calls(&self) -> u64 {
        self.shared.counters.rpc()
    }

    /// JSON-RPC calls of one method.
    #[must_use]
    pub fn rpc_calls_by_method(&self, method: &str) -> u64 {
        self.shared.counters.rpc_by_method(method)
    }

    /// Calls made through [`ChainClient`](mpp_tempo::chain::ChainClient), without sockets.
    #[must_use]
    pub fn client_calls(&self) -> u64 {
        self.shared.counters.client()
    }

    /// Transactions mined since the start or the last reset.
    #[must_use]
    pub fn transactions_mined(&self) -> u64 {
        self.read(|node| node.mined_count)
    }

    /// Sets every counter to zero.
    pub fn reset_counters(&self) {
        self.shared.counters.reset();
        lock(&self.shared.node).mined_count = 0;
    }
}
