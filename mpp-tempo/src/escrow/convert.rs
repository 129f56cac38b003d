//! Conversions between the ABI's types and ours.

use alloy_primitives::aliases::U96;
use mpp_core::Amount;

use super::ITIP20ChannelReserve;
use crate::channel::ChannelDescriptor;

/// An amount that does not fit the 96 bits of the v2 reserve (case A32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("amount exceeds 96 bits")]
pub struct DescriptorRange;

impl From<&ChannelDescriptor> for ITIP20ChannelReserve::ChannelDescriptor {
    fn from(d: &ChannelDescriptor) -> Self {
        Self {
            payer: d.payer,
            payee: d.payee,
            operator: d.operator,
            token: d.token,
            salt: d.salt,
            authorizedSigner: d.authorized_signer,
            expiringNonceHash: d.expiring_nonce_hash,
        }
    }
}

impl From<&ITIP20ChannelReserve::ChannelDescriptor> for ChannelDescriptor {
    fn from(d: &ITIP20ChannelReserve::ChannelDescriptor) -> Self {
        Self {
            payer: d.payer,
            payee: d.payee,
            operator: d.operator,
            token: d.token,
            salt: d.salt,
            authorized_signer: d.authorizedSigner,
            expiring_nonce_hash: d.expiringNonceHash,
        }
    }
}

/// The amount as `uint96`.
#[cfg(feature = "tx")]
pub(crate) fn to_uint96(amount: Amount) -> Result<U96, DescriptorRange> {
    U96::try_from(amount.base_units()).map_err(|_| DescriptorRange)
}

/// The amount of a `uint96`.
pub(crate) fn from_uint96(amount: U96) -> Amount {
    Amount::new(amount.to())
}
