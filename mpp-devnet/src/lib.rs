//! A Tempo node in process, for tests, demos and development.
//!
//! TIP-20 tokens, the v1 escrow and the v2 channel reserve are native deterministic state machines behind their real
//! ABIs. Transactions are the real ones: 0x76 envelopes with secp256k1, P-256 or WebAuthn senders, sponsored or not,
//! with plain, two-dimensional and expiring nonces, and fees that move between balances. The node starts in
//! milliseconds, needs nothing installed, has a clock that tests move, and fails on demand.
//!
//! Three ways in, all to the same chain:
//! * [`Devnet`] methods read state and control the chain without any RPC;
//! * [`Devnet`] is an [`mpp_tempo::chain::ChainClient`], without sockets;
//! * [`Devnet::serve`] speaks JSON-RPC over HTTP to unmodified alloy and viem clients.
//!
//! Not modeled: an EVM (no contract can be deployed), access keys, EIP-7702, virtual addresses, the exchange between
//! fee tokens, storage credits. What is not modeled is refused, never run differently.
//!
//! ```
//! use mpp_devnet::{Devnet, DevnetConfig, nth_token};
//!
//! let node = Devnet::new(DevnetConfig::default());
//! let payer = node.accounts()[2].address;
//! assert!(!node.balance(nth_token(0), payer).is_zero());
//! ```

#![forbid(unsafe_code)]

mod account;
mod chain;
mod client;
mod clock;
mod config;
mod counters;
mod devnet;
mod faults;
mod precompile;
mod rpc;
mod tasks;

#[cfg(test)]
mod tests;

pub use account::DevAccount;
pub use chain::filter::LogQuery;
pub use chain::receipt::{DevLog, DevReceipt};
pub use chain::refusal::Refusal;
pub use config::{DevnetConfig, GenesisToken, Mining, STREAM_CHANNEL, TimeSource, nth_token};
pub use devnet::{DevChannel, Devnet, MintError};
pub use faults::{Faults, Outage, Reorged, Times};
pub use rpc::server::DevnetServer;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic elsewhere: every table is consistent between calls.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
