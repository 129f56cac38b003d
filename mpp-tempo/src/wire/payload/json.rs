//! The JSON shape of session payloads.

use alloc::string::String;
use alloy_primitives::{Address, Bytes};
use mpp_core::Amount;
use serde::{Deserialize, Serialize};

use super::{PayloadError, SessionPayload};
use crate::channel::{ChannelDescriptor, ChannelId};
use crate::voucher::VoucherSignature;

/// The JSON shape. Signatures stay text here, so that a malformed one is told from malformed
/// JSON.
#[derive(Serialize, Deserialize)]
#[serde(
    tag = "action",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(super) enum Wire {
    Open {
        #[serde(rename = "type")]
        kind: TransactionType,
        channel_id: ChannelId,
        transaction: Bytes,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        authorized_signer: Option<Address>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        descriptor: Option<ChannelDescriptor>,
        cumulative_amount: Amount,
        signature: String,
    },
    TopUp {
        #[serde(rename = "type")]
        kind: TransactionType,
        channel_id: ChannelId,
        transaction: Bytes,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        descriptor: Option<ChannelDescriptor>,
        additional_deposit: Amount,
    },
    Voucher {
        channel_id: ChannelId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        descriptor: Option<ChannelDescriptor>,
        cumulative_amount: Amount,
        signature: String,
    },
    Close {
        channel_id: ChannelId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        descriptor: Option<ChannelDescriptor>,
        cumulative_amount: Amount,
        signature: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        close_signature: Option<String>,
    },
}

/// The only `type` of open and topUp.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TransactionType {
    Transaction,
}

impl Wire {
    pub(super) fn read(self) -> Result<SessionPayload, PayloadError> {
        let parse = |text: &str| VoucherSignature::from_hex(text);
        Ok(match self {
            Self::Open {
                kind: TransactionType::Transaction,
                channel_id,
                transaction,
                authorized_signer,
                descriptor,
                cumulative_amount,
                signature,
            } => SessionPayload::Open {
                channel_id,
                transaction,
                authorized_signer,
                descriptor,
                cumulative_amount,
                signature: parse(&signature)?,
            },
            Self::TopUp {
                kind: TransactionType::Transaction,
                channel_id,
                transaction,
                descriptor,
                additional_deposit,
            } => SessionPayload::TopUp {
                channel_id,
                transaction,
                descriptor,
                additional_deposit,
            },
            Self::Voucher {
                channel_id,
                descriptor,
                cumulative_amount,
                signature,
            } => {
                let signature = parse(&signature)?;
                SessionPayload::Voucher {
                    channel_id,
                    descriptor,
                    cumulative_amount,
                    signature,
                }
            }
            Self::Close {
                channel_id,
                descriptor,
                cumulative_amount,
                signature,
                close_signature,
            } => SessionPayload::Close {
                channel_id,
                descriptor,
                cumulative_amount,
                signature: parse(&signature)?,
                close_signature: close_signature.as_deref().map(parse).transpose()?,
            },
        })
    }

    pub(super) fn write(payload: &SessionPayload) -> Self {
        match payload.clone() {
            SessionPayload::Open {
                channel_id,
                transaction,
                authorized_signer,
                descriptor,
                cumulative_amount,
                signature,
            } => Self::Open {
                kind: TransactionType::Transaction,
                channel_id,
                transaction,
                authorized_signer,
                descriptor,
                cumulative_amount,
                signature: signature.to_hex(),
            },
            SessionPayload::TopUp {
                channel_id,
                transaction,
                descriptor,
                additional_deposit,
            } => Self::TopUp {
                kind: TransactionType::Transaction,
                channel_id,
                transaction,
                descriptor,
                additional_deposit,
            },
            SessionPayload::Voucher {
                channel_id,
                descriptor,
                cumulative_amount,
                signature,
            } => {
                let signature = signature.to_hex();
                Self::Voucher {
                    channel_id,
                    descriptor,
                    cumulative_amount,
                    signature,
                }
            }
            SessionPayload::Close {
                channel_id,
                descriptor,
                cumulative_amount,
                signature,
                close_signature,
            } => Self::Close {
                channel_id,
                descriptor,
                cumulative_amount,
                signature: signature.to_hex(),
                close_signature: close_signature.map(|signature| signature.to_hex()),
            },
        }
    }
}
