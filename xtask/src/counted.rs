//! Counts what the server asks of the chain, on any node.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use alloy_primitives::{Address, B256, Bytes};
use mpp_core::Amount;
use mpp_tempo::{
    ChannelId, ChannelView, SessionProtocol,
    chain::{
        BlockInfo, ChainClient, ChainError, ChainLog, ChannelRef, FeeQuote, LogFilter, Simulated,
        Simulation, TxReceipt, rpc::RpcChain,
    },
};

/// A chain client that counts its calls.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    inner: RpcChain,
    calls: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
}

impl Counted {
    /// Counts the calls to `inner`.
    pub(crate) fn new(inner: RpcChain) -> Self {
        Self {
            inner,
            calls: Arc::default(),
            sent: Arc::default(),
        }
    }

    /// Calls of any kind so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Transactions sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    fn counted(&self) -> &RpcChain {
        self.calls.fetch_add(1, Ordering::SeqCst);
        &self.inner
    }
}

impl ChainClient for Counted {
    fn chain_id(&self) -> u64 {
        self.inner.chain_id()
    }

    async fn channel(
        &self,
        protocol: SessionProtocol,
        escrow: Address,
        id: ChannelId,
    ) -> Result<ChannelView, ChainError> {
        self.counted().channel(protocol, escrow, id).await
    }

    async fn channels(&self, asked: Vec<ChannelRef>) -> Result<Vec<ChannelView>, ChainError> {
        ChainClient::channels(self.counted(), asked).await
    }

    async fn send_and_wait(&self, raw: Bytes) -> Result<TxReceipt, ChainError> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        self.counted().send_and_wait(raw).await
    }

    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, ChainError> {
        self.counted().receipt(hash).await
    }

    async fn logs(&self, filter: LogFilter) -> Result<Vec<ChainLog>, ChainError> {
        self.counted().logs(filter).await
    }

    async fn block(&self) -> Result<BlockInfo, ChainError> {
        self.counted().block().await
    }

    async fn fees(&self) -> Result<FeeQuote, ChainError> {
        self.counted().fees().await
    }

    async fn simulate(&self, simulation: Simulation) -> Result<Simulated, ChainError> {
        self.counted().simulate(simulation).await
    }

    async fn token_balance(&self, token: Address, owner: Address) -> Result<Amount, ChainError> {
        self.counted().token_balance(token, owner).await
    }
}
