//! Parameters of the operations that have many.

use alloy_primitives::{Address, B256};
use mpp_core::Amount;

use crate::channel::{ChannelDescriptor, ChannelTerms, SessionProtocol};
use crate::charge::ChargeTransfer;

/// What a channel is to be opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenParams {
    /// Version of the session protocol.
    pub protocol: SessionProtocol,
    /// The v1 contract or the v2 reserve.
    pub escrow: Address,
    /// Account that receives settlements.
    pub payee: Address,
    /// TIP-20 token that the channel holds.
    pub token: Address,
    /// Account that may settle and close beside the payee; zero for none and for v1.
    pub operator: Address,
    /// Deposit in base units.
    pub deposit: Amount,
    /// Random, makes two otherwise equal channels different.
    pub salt: B256,
    /// Key that signs vouchers; zero means the payer does.
    pub authorized_signer: Address,
}

/// One TIP-20 transfer of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The token.
    pub token: Address,
    /// Who receives it.
    pub to: Address,
    /// Amount in base units.
    pub amount: Amount,
    /// Memo, for example an [`crate::charge::AttributionMemo`].
    pub memo: Option<B256>,
}

impl OpenParams {
    /// The terms of the channel that `payer` opens, given the hash of its open transaction.
    #[must_use]
    pub fn terms(&self, chain_id: u64, payer: Address, expiring_nonce_hash: B256) -> ChannelTerms {
        let v2 = self.protocol == SessionProtocol::V2;
        ChannelTerms {
            protocol: self.protocol,
            chain_id,
            escrow: self.escrow,
            descriptor: ChannelDescriptor {
                payer,
                payee: self.payee,
                operator: if v2 { self.operator } else { Address::ZERO },
                token: self.token,
                salt: self.salt,
                authorized_signer: self.authorized_signer,
                expiring_nonce_hash: if v2 { expiring_nonce_hash } else { B256::ZERO },
            },
        }
    }
}

impl Transfer {
    /// A transfer of a charge.
    #[must_use]
    pub const fn of_charge(token: Address, asked: &ChargeTransfer) -> Self {
        Self {
            token,
            to: asked.to,
            amount: asked.amount,
            memo: asked.memo,
        }
    }
}
