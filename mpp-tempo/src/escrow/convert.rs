//! Conversions between the ABI's types and ours.

use alloy_primitives::aliases::U96;
use mpp_core::Amount;

use super::{IStreamChannel, ITIP20ChannelReserve};
use crate::channel::{ChannelDescriptor, ChannelView, Existence};

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
pub(crate) fn to_uint96(amount: Amount) -> Result<U96, DescriptorRange> {
    U96::try_from(amount.base_units()).map_err(|_| DescriptorRange)
}

/// The amount of a `uint96`.
pub(crate) fn from_uint96(amount: U96) -> Amount {
    Amount::new(amount.to())
}

impl From<&IStreamChannel::Channel> for ChannelView {
    fn from(channel: &IStreamChannel::Channel) -> Self {
        let existence = if channel.finalized {
            Existence::Finalized
        } else if channel.payer.is_zero() {
            Existence::Unknown
        } else {
            Existence::Open
        };
        Self {
            deposit: Amount::new(channel.deposit),
            settled: Amount::new(channel.settled),
            close_requested_at: Some(channel.closeRequestedAt).filter(|at| *at != 0),
            existence,
        }
    }
}

impl From<&ITIP20ChannelReserve::ChannelState> for ChannelView {
    /// The reserve deletes the slot of a closed channel, so zero says nothing (PROTOCOL 5.3).
    fn from(state: &ITIP20ChannelReserve::ChannelState) -> Self {
        let existence = if state.deposit.is_zero() {
            Existence::Unknown
        } else {
            Existence::Open
        };
        Self {
            deposit: from_uint96(state.deposit),
            settled: from_uint96(state.settled),
            close_requested_at: Some(u64::from(state.closeRequestedAt)).filter(|at| *at != 0),
            existence,
        }
    }
}
