//! A Tempo node over JSON-RPC, with alloy.
//!
//! Answers are read leniently from raw JSON, because nodes differ in what their receipts leave
//! out; requests have our own timeouts, because some nodes never answer (LOCALNODE).

use core::fmt;
use core::time::Duration;

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes};
use alloy_provider::{DynProvider, Provider, ProviderBuilder};
use alloy_sol_types::SolCall;
use mpp_core::Amount;
use serde_json::json;
use tempo_alloy::TempoNetwork;
use url::Url;

use super::{
    BlockInfo, ChainClient, ChainError, ChainLog, ChannelRef, FeeQuote, LogFilter, Simulated,
    Simulation, TxReceipt,
};
use crate::channel::{ChannelId, ChannelView, SessionProtocol};
use crate::escrow::{IStreamChannel, ITIP20, ITIP20ChannelReserve};

mod batch;
mod fee_payer;
mod filling;
mod read;
mod request;
mod send;
mod simulate;
mod wallet;

pub use fee_payer::RemoteFeePayer;
pub use wallet::{RpcAccount, SendError};

/// Timeouts of a [`RpcChain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcTimeouts {
    /// For one read.
    pub request: Duration,
    /// For `eth_sendRawTransactionSync`, which answers when the transaction is mined.
    pub send: Duration,
    /// How long to look for the receipt of a transaction whose sending ended without one.
    pub resolve: Duration,
    /// Pause between two looks.
    pub poll: Duration,
}

impl Default for RpcTimeouts {
    /// 10 s, 30 s, 5 s and 500 ms.
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            send: Duration::from_secs(30),
            resolve: Duration::from_secs(5),
            poll: Duration::from_millis(500),
        }
    }
}

/// A [`ChainClient`] over JSON-RPC. Cheap to clone.
#[derive(Clone)]
pub struct RpcChain {
    provider: DynProvider<TempoNetwork>,
    chain_id: u64,
    timeouts: RpcTimeouts,
}

impl RpcChain {
    /// Connects over HTTP and asks for the chain id.
    ///
    /// # Errors
    /// [`ChainError`] if the URL is none or the node does not answer.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn connect(url: &str) -> Result<Self, ChainError> {
        Self::connect_with(url, RpcTimeouts::default()).await
    }

    /// Connects as [`RpcChain::connect`] with other timeouts.
    ///
    /// # Errors
    /// As [`RpcChain::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn connect_with(url: &str, timeouts: RpcTimeouts) -> Result<Self, ChainError> {
        let url = Url::parse(url).map_err(|_| ChainError::rejected("endpoint is not a URL"))?;
        let provider = ProviderBuilder::<_, _, TempoNetwork>::default().connect_http(url);
        let mut chain = Self::new(provider, 0).with_timeouts(timeouts);
        let answer = chain.request("eth_chainId", json!([])).await?;
        chain.chain_id = read::quantity(&answer).ok_or_else(|| malformed("chain id"))?;
        Ok(chain)
    }

    /// Uses a provider of the chain with this id.
    #[must_use]
    pub fn new(provider: impl Provider<TempoNetwork> + 'static, chain_id: u64) -> Self {
        Self {
            provider: provider.erased(),
            chain_id,
            timeouts: RpcTimeouts::default(),
        }
    }

    /// Replaces the timeouts.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: RpcTimeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Calls a function of a contract at the latest block.
    async fn view<C: SolCall + Sync>(&self, to: Address, call: C) -> Result<C::Return, ChainError> {
        let input = Bytes::from(call.abi_encode());
        let answer = self
            .request("eth_call", json!([{"to": to, "input": input}, "latest"]))
            .await?;
        let data = read::bytes(&answer).ok_or_else(|| malformed("call result"))?;
        C::abi_decode_returns_validate(&data).map_err(|_| malformed("call result"))
    }
}

impl fmt::Debug for RpcChain {
    /// The provider is left out: its endpoint may carry a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcChain")
            .field("chain_id", &self.chain_id)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

impl ChainClient for RpcChain {
    fn chain_id(&self) -> u64 {
        self.chain_id
    }

    async fn channel(
        &self,
        protocol: SessionProtocol,
        escrow: Address,
        id: ChannelId,
    ) -> Result<ChannelView, ChainError> {
        match protocol {
            SessionProtocol::V1 => {
                let call = IStreamChannel::getChannelCall { channelId: id };
                self.view(escrow, call)
                    .await
                    .map(|channel| (&channel).into())
            }
            SessionProtocol::V2 => {
                let call = ITIP20ChannelReserve::getChannelStateCall { channelId: id };
                self.view(escrow, call).await.map(|state| (&state).into())
            }
        }
    }

    async fn channels(&self, asked: Vec<ChannelRef>) -> Result<Vec<ChannelView>, ChainError> {
        self.batch(&asked).await
    }

    async fn send_and_wait(&self, raw: Bytes) -> Result<TxReceipt, ChainError> {
        self.send(raw).await
    }

    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, ChainError> {
        let answer = self
            .request("eth_getTransactionReceipt", json!([hash]))
            .await?;
        if answer.is_null() {
            return Ok(None);
        }
        read::receipt(&answer)
            .filter(|receipt| receipt.hash == hash)
            .map(Some)
            .ok_or_else(|| malformed("receipt"))
    }

    async fn logs(&self, filter: LogFilter) -> Result<Vec<ChainLog>, ChainError> {
        let answer = self
            .request("eth_getLogs", json!([read::filter(&filter)]))
            .await?;
        read::logs(&answer).ok_or_else(|| malformed("logs"))
    }

    async fn block(&self) -> Result<BlockInfo, ChainError> {
        let answer = self
            .request("eth_getBlockByNumber", json!(["latest", false]))
            .await?;
        read::block(&answer).ok_or_else(|| malformed("block"))
    }

    async fn fees(&self) -> Result<FeeQuote, ChainError> {
        let block = self
            .request("eth_getBlockByNumber", json!(["latest", false]))
            .await?;
        let tip = self.request("eth_maxPriorityFeePerGas", json!([])).await?;
        read::fees(&block, &tip).ok_or_else(|| malformed("fees"))
    }

    async fn simulate(&self, simulation: Simulation) -> Result<Simulated, ChainError> {
        self.try_calls(&simulation).await
    }

    async fn token_balance(&self, token: Address, owner: Address) -> Result<Amount, ChainError> {
        let balance = self
            .view(token, ITIP20::balanceOfCall { account: owner })
            .await?;
        u128::try_from(balance)
            .map(Amount::new)
            .map_err(|_| malformed("balance"))
    }
}

fn malformed(what: &str) -> ChainError {
    ChainError::malformed(what)
}

#[cfg(test)]
mod tests;
