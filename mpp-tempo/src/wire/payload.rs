//! The payload of a session credential: open, topUp, voucher, close (PROTOCOL 5.2).

use alloc::string::{String, ToString};
use alloy_primitives::{Address, Bytes};
use mpp_core::Amount;
use mpp_core::encoding::flat::FlatObject;
use serde::Deserialize;
use serde_json::Value;

use crate::channel::{ChannelDescriptor, ChannelId};
use crate::voucher::{SignatureFormatError, SignedVoucher, Voucher, VoucherSignature};

mod flat;
mod form;
mod json;

pub use form::VoucherForm;

use json::Wire;

/// What a client asks with a session credential.
///
/// `descriptor` is required for v2 and absent for v1; the session decides, because the payload
/// does not name the version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionPayload {
    /// Opens a channel and authorizes the first amount.
    Open {
        /// Id that the client computed; the server recomputes it.
        channel_id: ChannelId,
        /// Signed open transaction, 0x76 or 0x78.
        transaction: Bytes,
        /// Claimed voucher signer; the transaction decides.
        authorized_signer: Option<Address>,
        /// What the channel is opened with (v2).
        descriptor: Option<ChannelDescriptor>,
        /// Cumulative amount of the first voucher, in base units.
        cumulative_amount: Amount,
        /// Signature of the first voucher.
        signature: VoucherSignature,
    },
    /// Adds to the deposit.
    TopUp {
        /// The channel.
        channel_id: ChannelId,
        /// Signed topUp transaction, 0x76 or 0x78.
        transaction: Bytes,
        /// What the channel was opened with (v2).
        descriptor: Option<ChannelDescriptor>,
        /// Amount that is added, in base units.
        additional_deposit: Amount,
    },
    /// Authorizes a higher amount.
    Voucher {
        /// The channel.
        channel_id: ChannelId,
        /// What the channel was opened with (v2).
        descriptor: Option<ChannelDescriptor>,
        /// Cumulative amount, in base units.
        cumulative_amount: Amount,
        /// Signature of the voucher.
        signature: VoucherSignature,
    },
    /// Asks the server to close the channel.
    Close {
        /// The channel.
        channel_id: ChannelId,
        /// What the channel was opened with (v2).
        descriptor: Option<ChannelDescriptor>,
        /// Cumulative amount of the final voucher, in base units.
        cumulative_amount: Amount,
        /// Signature of the final voucher.
        signature: VoucherSignature,
        /// Signature of the close authorization; not in the draft, required by recent peers.
        close_signature: Option<VoucherSignature>,
    },
}

/// Why a payload is not a session payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// A member is missing or has the wrong shape, or the action is unknown.
    #[error("session payload is malformed: {0}")]
    Malformed(String),
    /// A signature is not in any accepted form (`session/invalid-signature`).
    #[error("voucher signature is malformed")]
    Signature(#[from] SignatureFormatError),
}

impl SessionPayload {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`PayloadError`]; unknown members are ignored, an unknown action is refused
    /// (draft-tempo-session-00, Server Requirements).
    pub fn from_value(payload: &Value) -> Result<Self, PayloadError> {
        let wire = Wire::deserialize(payload)
            .map_err(|error| PayloadError::Malformed(error.to_string()))?;
        wire.read()
    }

    /// Reads a voucher from a credential's text, without allocating.
    ///
    /// What it returns is what [`from_value`](Self::from_value) makes of the
    /// same payload; where it returns `None`, that function decides. Only
    /// signatures of passkeys are kept on the heap.
    #[must_use]
    pub fn from_flat(payload: FlatObject<'_>) -> Option<Self> {
        flat::voucher(payload)
    }

    /// Writes the payload.
    #[must_use]
    pub fn to_value(&self) -> Value {
        // The wire form has string keys and no failing serializer.
        serde_json::to_value(Wire::write(self)).unwrap_or_default()
    }

    /// The channel that the payload is about.
    #[must_use]
    pub const fn channel_id(&self) -> ChannelId {
        match self {
            Self::Open { channel_id, .. }
            | Self::TopUp { channel_id, .. }
            | Self::Voucher { channel_id, .. }
            | Self::Close { channel_id, .. } => *channel_id,
        }
    }

    /// The descriptor that the payload carries (v2).
    #[must_use]
    pub const fn descriptor(&self) -> Option<&ChannelDescriptor> {
        match self {
            Self::Open { descriptor, .. }
            | Self::TopUp { descriptor, .. }
            | Self::Voucher { descriptor, .. }
            | Self::Close { descriptor, .. } => descriptor.as_ref(),
        }
    }

    /// The voucher that the payload carries, unverified; none in a topUp.
    #[must_use]
    pub fn voucher(&self) -> Option<SignedVoucher> {
        match self {
            Self::Open {
                channel_id,
                cumulative_amount,
                signature,
                ..
            }
            | Self::Voucher {
                channel_id,
                cumulative_amount,
                signature,
                ..
            }
            | Self::Close {
                channel_id,
                cumulative_amount,
                signature,
                ..
            } => Some(SignedVoucher {
                voucher: Voucher {
                    channel_id: *channel_id,
                    cumulative: *cumulative_amount,
                },
                signature: signature.clone(),
            }),
            Self::TopUp { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
