//! The snapshot with which a client resumes a channel it has lost track of.

use alloc::string::{String, ToString};
use alloy_primitives::Address;
use mpp_core::Amount;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::default_chain_id;
use crate::channel::{ChannelDescriptor, ChannelId, ChannelTerms, SessionProtocol};
use crate::voucher::{SignedVoucher, Voucher, VoucherError, VoucherSignature, VoucherVerifier};

/// State of a v2 channel as the server knows it (PROTOCOL 5.8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionSnapshot {
    /// Highest voucher that the server accepted, in base units.
    pub accepted_cumulative: Amount,
    /// EIP-155 chain id; mainnet if absent.
    #[serde(default = "default_chain_id")]
    pub chain_id: u64,
    /// The channel.
    pub channel_id: ChannelId,
    /// When the payer asked to close, in Unix seconds (a decimal string in JSON).
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_seconds",
        deserialize_with = "read_seconds"
    )]
    pub close_requested_at: Option<u64>,
    /// Deposit on chain, in base units.
    pub deposit: Amount,
    /// What the channel was opened with.
    pub descriptor: ChannelDescriptor,
    /// Escrow that holds the channel.
    pub escrow: Address,
    /// The highest voucher itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest_voucher: Option<HighestVoucher>,
    /// Cumulative amount that the challenged request needs, in base units.
    pub required_cumulative: Amount,
    /// Amount already paid out on chain, in base units.
    pub settled: Amount,
    /// Amount charged for delivered service, in base units.
    pub spent: Amount,
    /// Units delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<u64>,
}

/// The voucher inside a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HighestVoucher {
    /// The channel.
    pub channel_id: ChannelId,
    /// Cumulative amount in base units.
    pub cumulative_amount: Amount,
    /// The client's own signature.
    pub signature: VoucherSignature,
}

/// Why a snapshot can not be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The channel id does not follow from descriptor, escrow and chain id.
    #[error("snapshot's channel id does not follow from its terms")]
    WrongChannelId,
    /// The amounts contradict each other: settled and spent within accepted within deposit.
    #[error("snapshot's amounts contradict each other")]
    Amounts,
    /// The highest voucher is not one of the channel's signer.
    #[error("snapshot's voucher is not of this channel's signer")]
    Voucher(#[source] VoucherError),
}

impl SessionSnapshot {
    /// The v2 terms that the snapshot claims, unchecked.
    #[must_use]
    pub fn claimed_terms(&self) -> ChannelTerms {
        ChannelTerms {
            protocol: SessionProtocol::V2,
            chain_id: self.chain_id,
            escrow: self.escrow,
            descriptor: self.descriptor,
        }
    }

    /// Checks the snapshot as clients must before they use it: the id follows from the terms,
    /// the amounts agree, and the voucher bears the channel signer's own signature.
    ///
    /// That the terms are acceptable (payee, token, escrow) is the caller's policy.
    ///
    /// # Errors
    /// [`SnapshotError`] (draft-tempo-session-00, Session Snapshot).
    pub fn verify(&self) -> Result<ChannelTerms, SnapshotError> {
        let terms = self.claimed_terms();
        if terms.id() != self.channel_id {
            return Err(SnapshotError::WrongChannelId);
        }
        let accepted = self.accepted_cumulative;
        if self.spent > accepted || accepted > self.deposit || self.settled > accepted {
            return Err(SnapshotError::Amounts);
        }
        if let Some(highest) = &self.highest_voucher {
            if highest.cumulative_amount != accepted {
                return Err(SnapshotError::Amounts);
            }
            VoucherVerifier::new(&terms)
                .verify(&highest.to_signed())
                .map_err(SnapshotError::Voucher)?;
        }
        Ok(terms)
    }
}

impl HighestVoucher {
    /// The voucher with its signature, still unverified.
    #[must_use]
    pub fn to_signed(&self) -> SignedVoucher {
        SignedVoucher {
            voucher: Voucher {
                channel_id: self.channel_id,
                cumulative: self.cumulative_amount,
            },
            signature: self.signature.clone(),
        }
    }
}

impl From<&SignedVoucher> for HighestVoucher {
    fn from(signed: &SignedVoucher) -> Self {
        Self {
            channel_id: signed.voucher.channel_id,
            cumulative_amount: signed.voucher.cumulative,
            signature: signed.signature.clone(),
        }
    }
}

fn write_seconds<S: Serializer>(seconds: &Option<u64>, out: S) -> Result<S::Ok, S::Error> {
    match seconds {
        Some(seconds) => out.serialize_str(&seconds.to_string()),
        None => out.serialize_none(),
    }
}

fn read_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Seconds {
        Number(u64),
        Text(String),
    }
    match Option::<Seconds>::deserialize(from)? {
        None => Ok(None),
        Some(Seconds::Number(seconds)) => Ok(Some(seconds)),
        Some(Seconds::Text(text)) => text.parse().map(Some).map_err(de::Error::custom),
    }
}

#[cfg(test)]
mod tests;
