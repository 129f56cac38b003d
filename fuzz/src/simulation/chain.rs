//! A server's way to the chain.

use std::sync::{Arc, Mutex};

use alloy_primitives::{Address, B256, Bytes};
use mpp_core::Amount;
use mpp_devnet::Devnet;
use mpp_tempo::chain::{
    BlockInfo, ChainClient, ChainError, ChainLog, ChannelRef, FeeQuote, LogFilter, Simulated,
    Simulation, TxReceipt,
};
use mpp_tempo::tx::SignedTx;
use mpp_tempo::{ChannelId, ChannelView, SessionProtocol};

use super::audit::Audit;
use super::life::Life;
use super::lock;

/// The chain as one process sees it.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) node: Devnet,
    pub(crate) life: Life,
    pub(crate) audit: Arc<Mutex<Audit>>,
}

impl Chain {
    fn note(&self, receipt: Option<&TxReceipt>) {
        if let Some(receipt) = receipt.filter(|receipt| !receipt.success) {
            lock(&self.audit).over(receipt.hash);
        }
    }

    /// A call after which the chain may be another.
    async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        let call = async {
            let answer = call.await;
            lock(&self.audit).look(&self.node);
            answer
        };
        self.life.live(call).await
    }
}

impl ChainClient for Chain {
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
        self.call(call).await
    }

    async fn channels(&self, asked: Vec<ChannelRef>) -> Result<Vec<ChannelView>, ChainError> {
        self.call(self.node.channels(asked)).await
    }

    async fn send_and_wait(&self, raw: Bytes) -> Result<TxReceipt, ChainError> {
        let hash = SignedTx::decode(&raw).map(|transaction| transaction.hash());
        let sending = async {
            let sent = self.node.send_and_wait(raw).await;
            if let (Ok(hash), Err(ChainError::Rejected { .. })) = (hash, &sent) {
                lock(&self.audit).over(hash);
            }
            self.note(sent.as_ref().ok());
            sent
        };
        self.call(sending).await
    }

    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, ChainError> {
        let looking = async {
            let found = ChainClient::receipt(&self.node, hash).await;
            self.note(found.as_ref().ok().and_then(Option::as_ref));
            found
        };
        self.call(looking).await
    }

    async fn logs(&self, filter: LogFilter) -> Result<Vec<ChainLog>, ChainError> {
        self.call(ChainClient::logs(&self.node, filter)).await
    }

    async fn block(&self) -> Result<BlockInfo, ChainError> {
        self.call(self.node.block()).await
    }

    async fn fees(&self) -> Result<FeeQuote, ChainError> {
        self.call(self.node.fees()).await
    }

    async fn simulate(&self, simulation: Simulation) -> Result<Simulated, ChainError> {
        self.call(self.node.simulate(simulation)).await
    }

    async fn token_balance(&self, token: Address, owner: Address) -> Result<Amount, ChainError> {
        self.call(self.node.token_balance(token, owner)).await
    }
}
