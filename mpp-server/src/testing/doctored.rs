//! A node that tells something else about what was mined than what happened.

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

/// The node behind it, with its receipts changed. All else is the truth.
#[derive(Clone, Debug)]
pub(crate) struct Doctored {
    pub(crate) node: Devnet,
    pub(crate) change: fn(&mut TxReceipt),
}

/// A success that shows no events.
pub(crate) fn without_events(receipt: &mut TxReceipt) {
    receipt.logs.clear();
}

/// Events of other amounts: each of their words is another one.
pub(crate) fn other_amounts(receipt: &mut TxReceipt) {
    for log in &mut receipt.logs {
        let mut data = log.data.to_vec();
        for word in data.chunks_exact_mut(32) {
            word[31] ^= 1;
        }
        log.data = data.into();
    }
}

impl Doctored {
    fn doctor(&self, mut receipt: TxReceipt) -> TxReceipt {
        (self.change)(&mut receipt);
        receipt
    }
}

impl ChainClient for Doctored {
    fn chain_id(&self) -> u64 {
        ChainClient::chain_id(&self.node)
    }

    async fn channel(
        &self,
        protocol: SessionProtocol,
        escrow: Address,
        id: ChannelId,
    ) -> Result<ChannelView, ChainError> {
        ChainClient::channel(&self.node, protocol, escrow, id).await
    }

    async fn channels(&self, asked: Vec<ChannelRef>) -> Result<Vec<ChannelView>, ChainError> {
        ChainClient::channels(&self.node, asked).await
    }

    async fn send_and_wait(&self, raw: Bytes) -> Result<TxReceipt, ChainError> {
        let receipt = ChainClient::send_and_wait(&self.node, raw).await?;
        Ok(self.doctor(receipt))
    }

    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, ChainError> {
        let receipt = ChainClient::receipt(&self.node, hash).await?;
        Ok(receipt.map(|receipt| self.doctor(receipt)))
    }

    async fn logs(&self, filter: LogFilter) -> Result<Vec<ChainLog>, ChainError> {
        ChainClient::logs(&self.node, filter).await
    }

    async fn block(&self) -> Result<BlockInfo, ChainError> {
        ChainClient::block(&self.node).await
    }

    async fn fees(&self) -> Result<FeeQuote, ChainError> {
        ChainClient::fees(&self.node).await
    }

    async fn simulate(&self, simulation: Simulation) -> Result<Simulated, ChainError> {
        ChainClient::simulate(&self.node, simulation).await
    }

    async fn token_balance(&self, token: Address, account: Address) -> Result<Amount, ChainError> {
        ChainClient::token_balance(&self.node, token, account).await
    }
}
