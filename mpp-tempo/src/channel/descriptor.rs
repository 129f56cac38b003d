//! The parties and parameters that a channel id commits to.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

/// What a channel was opened with (draft-tempo-session-00, Channel Descriptor).
///
/// A v2 credential carries it, because the reserve does not store it. A v1 channel leaves
/// `operator` and `expiring_nonce_hash` zero. Addresses are lower case in JSON, any case is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelDescriptor {
    /// Account that funds the channel and receives the refund.
    pub payer: Address,
    /// Account that receives settlements.
    pub payee: Address,
    /// Account that may settle and close beside the payee; zero if there is none.
    pub operator: Address,
    /// TIP-20 token that the channel holds.
    pub token: Address,
    /// Chosen by the payer, makes two otherwise equal channels different.
    pub salt: B256,
    /// Key that signs vouchers; zero means the payer does.
    pub authorized_signer: Address,
    /// Hash of the expiring-nonce transaction that opened the channel (v2).
    pub expiring_nonce_hash: B256,
}

impl ChannelDescriptor {
    /// The address whose vouchers count: the authorized signer, or the payer if that is zero.
    #[must_use]
    pub fn signer(&self) -> Address {
        if self.authorized_signer.is_zero() {
            self.payer
        } else {
            self.authorized_signer
        }
    }
}
