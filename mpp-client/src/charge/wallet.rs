//! Accounts that send payments themselves and sign nothing for others to send.

use alloy_primitives::{Address, B256};
use mpp_tempo::tx::build::Transfer;

use crate::method::BoxFuture;

/// An account that can only send: a custodian, a browser wallet, a node with keys.
///
/// It pays charges by push (PROTOCOL 4): it sends the transfers, and the server is shown the hash.
/// It can not sign vouchers or proofs. With the feature `rpc-wallet`, the accounts of wallet
/// daemons and nodes are wallets: `mpp_tempo::chain::rpc::RpcAccount`.
///
/// # Threat model
/// Whoever can call it can spend what the account owns. The policy is applied before it is called.
pub trait Wallet: Send + Sync + 'static {
    /// The account.
    fn address(&self) -> Address;

    /// Makes all transfers in one transaction, and waits until that is mined.
    ///
    /// # Errors
    /// [`WalletError::NotSent`] only when nothing was and will be sent.
    ///
    /// # Cancel safety
    /// Dropped, the transaction may have been sent.
    fn send<'a>(
        &'a self,
        chain_id: u64,
        transfers: &'a [Transfer],
    ) -> BoxFuture<'a, Result<B256, WalletError>>;
}

/// Why a wallet did not say that it has paid. The messages never hold key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// Nothing was sent, or what was sent was reverted.
    #[error("the wallet did not pay: {0}")]
    NotSent(String),
    /// It may have been sent.
    #[error("whether the wallet has paid is not known: {message}")]
    Unknown {
        /// The transaction, if it is known.
        tx_hash: Option<B256>,
        /// What happened.
        message: String,
    },
}
