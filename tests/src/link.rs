//! The server's own way to the node, which can break while the client's holds.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use alloy_primitives::{Address, B256, Bytes};
use mpp_core::Amount;
use mpp_devnet::Devnet;
use mpp_tempo::{
    ChannelId, ChannelView, SessionProtocol,
    chain::{
        BlockInfo, ChainClient, ChainError, ChainLog, ChannelRef, FeeQuote, LogFilter, Simulated,
        Simulation, TxReceipt,
    },
};

/// A chain client that counts its calls and fails them while it is cut.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    node: Devnet,
    cut: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Link {
    pub(crate) fn to(node: Devnet) -> Self {
        Self {
            node,
            cut: Arc::default(),
            calls: Arc::default(),
        }
    }

    pub(crate) fn node(&self) -> &Devnet {
        &self.node
    }

    /// Breaks the connection: nothing reaches the node any more.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }

    /// Calls so far, the failed ones included.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn enter(&self) -> Result<&Devnet, ChainError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.cut.load(Ordering::SeqCst) {
            return Err(ChainError::unreachable("the link is cut"));
        }
        Ok(&self.node)
    }
}

impl ChainClient for Link {
    fn chain_id(&self) -> u64 {
        ChainClient::chain_id(&self.node)
    }

    async fn channel(
        &self,
        protocol: SessionProtocol,
        escrow: Address,
        id: ChannelId,
    ) -> Result<ChannelView, ChainError> {
        ChainClient::channel(self.enter()?, protocol, escrow, id).await
    }

    async fn channels(&self, asked: Vec<ChannelRef>) -> Result<Vec<ChannelView>, ChainError> {
        ChainClient::channels(self.enter()?, asked).await
    }

    async fn send_and_wait(&self, raw: Bytes) -> Result<TxReceipt, ChainError> {
        self.enter()?.send_and_wait(raw).await
    }

    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, ChainError> {
        ChainClient::receipt(self.enter()?, hash).await
    }

    async fn logs(&self, filter: LogFilter) -> Result<Vec<ChainLog>, ChainError> {
        ChainClient::logs(self.enter()?, filter).await
    }

    async fn block(&self) -> Result<BlockInfo, ChainError> {
        self.enter()?.block().await
    }

    async fn fees(&self) -> Result<FeeQuote, ChainError> {
        self.enter()?.fees().await
    }

    async fn simulate(&self, simulation: Simulation) -> Result<Simulated, ChainError> {
        self.enter()?.simulate(simulation).await
    }

    async fn token_balance(&self, token: Address, owner: Address) -> Result<Amount, ChainError> {
        self.enter()?.token_balance(token, owner).await
    }
}
