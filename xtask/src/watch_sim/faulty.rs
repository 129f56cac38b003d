//! The server's way to the node, at whose calls it may die.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
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
use tokio::sync::Notify;

/// Calls are made and not answered, or not even made, from a certain one on:
/// that is what a process looks like that was killed there.
#[derive(Clone, Debug)]
pub(crate) struct Mortal {
    node: Devnet,
    life: Arc<Life>,
}

#[derive(Debug, Default)]
struct Life {
    /// Half calls that are left: at an odd number the last call still reaches
    /// the node.
    halves: AtomicI64,
    died: Notify,
}

impl Mortal {
    /// A way to `node` that lives until it is told to die.
    pub(crate) fn new(node: Devnet) -> Self {
        let life = Arc::new(Life::default());
        life.halves.store(i64::MAX, Ordering::SeqCst);
        Self { node, life }
    }

    /// Dies so many half calls from now.
    pub(crate) fn die_after(&self, halves: u8) {
        self.life.halves.store(halves.into(), Ordering::SeqCst);
    }

    /// Returns when it has died.
    pub(crate) async fn death(&self) {
        self.life.died.notified().await;
    }

    async fn live<T>(&self, call: impl Future<Output = T>) -> T {
        let before = self.life.halves.fetch_sub(2, Ordering::SeqCst);
        if before >= 2 {
            return call.await;
        }
        if before == 1 {
            drop(call.await);
        }
        self.life.died.notify_one();
        std::future::pending().await
    }
}

impl ChainClient for Mortal {
    fn chain_id(&self) -> u64 {
        self.node.chain_id()
    }

    async fn channel(
        &self,
        protocol: SessionProtocol,
        escrow: Address,
        id: ChannelId,
    ) -> Result<ChannelView, ChainError> {
        let call = ChainClient::channel(&self.node, protocol, escrow, id);
        self.live(call).await
    }

    async fn channels(&self, asked: Vec<ChannelRef>) -> Result<Vec<ChannelView>, ChainError> {
        self.live(self.node.channels(asked)).await
    }

    async fn send_and_wait(&self, raw: Bytes) -> Result<TxReceipt, ChainError> {
        self.live(self.node.send_and_wait(raw)).await
    }

    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, ChainError> {
        self.live(ChainClient::receipt(&self.node, hash)).await
    }

    async fn logs(&self, filter: LogFilter) -> Result<Vec<ChainLog>, ChainError> {
        self.live(ChainClient::logs(&self.node, filter)).await
    }

    async fn block(&self) -> Result<BlockInfo, ChainError> {
        self.live(self.node.block()).await
    }

    async fn fees(&self) -> Result<FeeQuote, ChainError> {
        self.live(self.node.fees()).await
    }

    async fn simulate(&self, simulation: Simulation) -> Result<Simulated, ChainError> {
        self.live(self.node.simulate(simulation)).await
    }

    async fn token_balance(&self, token: Address, owner: Address) -> Result<Amount, ChainError> {
        self.live(self.node.token_balance(token, owner)).await
    }
}
