//! The account of a wallet or node as a [`Wallet`].

use alloy_primitives::{Address, B256};
use mpp_tempo::chain::rpc::{RpcAccount, SendError};
use mpp_tempo::tx::build::Transfer;

use super::{Wallet, WalletError};
use crate::method::BoxFuture;

/// Pays charges by push, from an account whose key a wallet daemon or a node holds.
impl Wallet for RpcAccount {
    fn address(&self) -> Address {
        Self::address(self)
    }

    fn send<'a>(
        &'a self,
        chain_id: u64,
        transfers: &'a [Transfer],
    ) -> BoxFuture<'a, Result<B256, WalletError>> {
        Box::pin(async move { Ok(Self::send(self, chain_id, transfers).await?) })
    }
}

impl From<SendError> for WalletError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotSent(message) => Self::NotSent(message),
            SendError::Unknown { tx_hash, message } => Self::Unknown { tx_hash, message },
            // A failure that is not known here may have sent.
            other => Self::Unknown {
                tx_hash: None,
                message: other.to_string(),
            },
        }
    }
}
