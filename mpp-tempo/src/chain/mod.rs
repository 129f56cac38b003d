//! The chain port: what this workspace needs from a Tempo node.
//!
//! [`ChainClient`] has two implementations: [`rpc::RpcChain`] over JSON-RPC (feature `rpc`) and
//! the node in process of `mpp-devnet`; [`FailoverChain`] makes one of several. The voucher path
//! never calls it.

use core::future::Future;

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes};
use mpp_core::Amount;

use crate::channel::{ChannelId, ChannelView, SessionProtocol};

mod dynamic;
mod error;
#[cfg(feature = "std")]
mod failover;
mod history;
mod logs;
#[cfg(feature = "rpc")]
pub mod rpc;
mod types;

pub use dynamic::DynChain;
pub use error::ChainError;
#[cfg(feature = "std")]
pub use failover::{FailoverChain, FailoverError};
pub use history::{FoundChannel, HistoryFilter, Party, find_channels};
pub use logs::{LogBatch, LogReader};
pub use types::{
    BlockInfo, ChainLog, ChannelRef, FeeQuote, LogFilter, Simulated, Simulation, TxReceipt,
};

/// A Tempo node, as far as payments need one.
///
/// # Threat model
/// The node is trusted for what it reports: whoever controls it can make a server believe in
/// deposits. It is not trusted to be reachable, fast, or up to date: every method may fail, and
/// a sent transaction whose fate is not known is [`ChainError::Unknown`], never a failure.
///
/// # Cancel safety
/// Reads leave nothing behind when dropped. [`ChainClient::send_and_wait`] may have sent.
pub trait ChainClient: Send + Sync + 'static {
    /// EIP-155 id of the chain.
    fn chain_id(&self) -> u64;

    /// Reads a channel from its escrow, at the latest block.
    ///
    /// # Errors
    /// [`ChainError`]; an empty slot is a view with [`crate::Existence::Unknown`], no error.
    fn channel(
        &self,
        protocol: SessionProtocol,
        escrow: Address,
        id: ChannelId,
    ) -> impl Future<Output = Result<ChannelView, ChainError>> + Send;

    /// Reads many channels at the latest block, in the order asked.
    ///
    /// One call for all channels of an escrow, as far as the node allows.
    ///
    /// # Errors
    /// As [`ChainClient::channel`]; all or nothing.
    fn channels(
        &self,
        asked: Vec<ChannelRef>,
    ) -> impl Future<Output = Result<Vec<ChannelView>, ChainError>> + Send;

    /// Sends a signed transaction and waits until it is mined.
    ///
    /// Sending the same bytes again is harmless and yields the same receipt. A reverted
    /// transaction is a receipt with `success` false, no error.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] if the node refused it, so that it will not be mined;
    /// [`ChainError::Unreachable`] if it never reached a node; [`ChainError::Unknown`] if it may
    /// have been or may still be mined.
    ///
    /// # Cancel safety
    /// A dropped future may have sent: treat it like [`ChainError::Unknown`] with the keccak
    /// hash of `raw`.
    fn send_and_wait(
        &self,
        raw: Bytes,
    ) -> impl Future<Output = Result<TxReceipt, ChainError>> + Send;

    /// The receipt of a mined transaction; `None` if none with this hash is mined.
    ///
    /// # Errors
    /// [`ChainError`].
    fn receipt(
        &self,
        hash: B256,
    ) -> impl Future<Output = Result<Option<TxReceipt>, ChainError>> + Send;

    /// Logs in mined blocks, in chain order.
    ///
    /// # Errors
    /// [`ChainError`].
    fn logs(
        &self,
        filter: LogFilter,
    ) -> impl Future<Output = Result<Vec<ChainLog>, ChainError>> + Send;

    /// The latest block.
    ///
    /// # Errors
    /// [`ChainError`].
    fn block(&self) -> impl Future<Output = Result<BlockInfo, ChainError>> + Send;

    /// Fees that get a transaction mined soon.
    ///
    /// # Errors
    /// [`ChainError`].
    fn fees(&self) -> impl Future<Output = Result<FeeQuote, ChainError>> + Send;

    /// Tries calls without sending anything: what a sponsor does before it pays (case A15).
    ///
    /// What succeeds now may still revert when it is mined.
    ///
    /// # Errors
    /// [`ChainError`].
    fn simulate(
        &self,
        simulation: Simulation,
    ) -> impl Future<Output = Result<Simulated, ChainError>> + Send;

    /// Balance of a TIP-20 token, in base units.
    ///
    /// # Errors
    /// [`ChainError`].
    fn token_balance(
        &self,
        token: Address,
        owner: Address,
    ) -> impl Future<Output = Result<Amount, ChainError>> + Send;
}
