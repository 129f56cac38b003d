//! A chain client whose type is erased, so that configuration can hold any.

use core::fmt;
use core::future::Future;
use core::pin::Pin;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes};
use mpp_core::Amount;

use super::{
    BlockInfo, ChainClient, ChainError, ChainLog, ChannelRef, FeeQuote, LogFilter, Simulated,
    Simulation, TxReceipt,
};
use crate::channel::{ChannelId, ChannelView, SessionProtocol};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ChainError>> + Send + 'a>>;

/// Any [`ChainClient`] behind an `Arc`: one boxed future per call, cheap to clone.
#[derive(Clone)]
pub struct DynChain(Arc<dyn Erased>);

impl DynChain {
    /// Erases the type of `chain`.
    #[must_use]
    pub fn new(chain: impl ChainClient) -> Self {
        Self(Arc::new(chain))
    }
}

impl fmt::Debug for DynChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynChain")
            .field("chain_id", &self.0.chain_id())
            .finish_non_exhaustive()
    }
}

impl ChainClient for DynChain {
    fn chain_id(&self) -> u64 {
        self.0.chain_id()
    }

    fn channel(
        &self,
        protocol: SessionProtocol,
        escrow: Address,
        id: ChannelId,
    ) -> impl Future<Output = Result<ChannelView, ChainError>> + Send {
        self.0.channel(protocol, escrow, id)
    }

    fn channels(
        &self,
        asked: Vec<ChannelRef>,
    ) -> impl Future<Output = Result<Vec<ChannelView>, ChainError>> + Send {
        self.0.channels(asked)
    }

    fn send_and_wait(
        &self,
        raw: Bytes,
    ) -> impl Future<Output = Result<TxReceipt, ChainError>> + Send {
        self.0.send_and_wait(raw)
    }

    fn receipt(
        &self,
        hash: B256,
    ) -> impl Future<Output = Result<Option<TxReceipt>, ChainError>> + Send {
        self.0.receipt(hash)
    }

    fn logs(
        &self,
        filter: LogFilter,
    ) -> impl Future<Output = Result<Vec<ChainLog>, ChainError>> + Send {
        self.0.logs(filter)
    }

    fn block(&self) -> impl Future<Output = Result<BlockInfo, ChainError>> + Send {
        self.0.block()
    }

    fn fees(&self) -> impl Future<Output = Result<FeeQuote, ChainError>> + Send {
        self.0.fees()
    }

    fn simulate(
        &self,
        simulation: Simulation,
    ) -> impl Future<Output = Result<Simulated, ChainError>> + Send {
        self.0.simulate(simulation)
    }

    fn token_balance(
        &self,
        token: Address,
        owner: Address,
    ) -> impl Future<Output = Result<Amount, ChainError>> + Send {
        self.0.token_balance(token, owner)
    }
}

/// The dyn-compatible shape of [`ChainClient`].
trait Erased: Send + Sync {
    fn chain_id(&self) -> u64;
    fn channel(
        &self,
        protocol: SessionProtocol,
        escrow: Address,
        id: ChannelId,
    ) -> Answer<'_, ChannelView>;
    fn channels(&self, asked: Vec<ChannelRef>) -> Answer<'_, Vec<ChannelView>>;
    fn send_and_wait(&self, raw: Bytes) -> Answer<'_, TxReceipt>;
    fn receipt(&self, hash: B256) -> Answer<'_, Option<TxReceipt>>;
    fn logs(&self, filter: LogFilter) -> Answer<'_, Vec<ChainLog>>;
    fn block(&self) -> Answer<'_, BlockInfo>;
    fn fees(&self) -> Answer<'_, FeeQuote>;
    fn simulate(&self, simulation: Simulation) -> Answer<'_, Simulated>;
    fn token_balance(&self, token: Address, owner: Address) -> Answer<'_, Amount>;
}

impl<C: ChainClient> Erased for C {
    fn chain_id(&self) -> u64 {
        ChainClient::chain_id(self)
    }

    fn channel(
        &self,
        protocol: SessionProtocol,
        escrow: Address,
        id: ChannelId,
    ) -> Answer<'_, ChannelView> {
        Box::pin(ChainClient::channel(self, protocol, escrow, id))
    }

    fn channels(&self, asked: Vec<ChannelRef>) -> Answer<'_, Vec<ChannelView>> {
        Box::pin(ChainClient::channels(self, asked))
    }

    fn send_and_wait(&self, raw: Bytes) -> Answer<'_, TxReceipt> {
        Box::pin(ChainClient::send_and_wait(self, raw))
    }

    fn receipt(&self, hash: B256) -> Answer<'_, Option<TxReceipt>> {
        Box::pin(ChainClient::receipt(self, hash))
    }

    fn logs(&self, filter: LogFilter) -> Answer<'_, Vec<ChainLog>> {
        Box::pin(ChainClient::logs(self, filter))
    }

    fn block(&self) -> Answer<'_, BlockInfo> {
        Box::pin(ChainClient::block(self))
    }

    fn fees(&self) -> Answer<'_, FeeQuote> {
        Box::pin(ChainClient::fees(self))
    }

    fn simulate(&self, simulation: Simulation) -> Answer<'_, Simulated> {
        Box::pin(ChainClient::simulate(self, simulation))
    }

    fn token_balance(&self, token: Address, owner: Address) -> Answer<'_, Amount> {
        Box::pin(ChainClient::token_balance(self, token, owner))
    }
}
