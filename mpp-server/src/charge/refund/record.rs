//! What a server knows of a refund, as it is stored.

use alloy_primitives::{Address, B256, Keccak256};
use mpp_core::{Amount, ChallengeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    charge::record::{ChargeId, ChargeRecord, SentTx},
    store::{DocumentKey, DocumentKind},
};

/// Tells the ids here from any other hashes.
const DOMAIN: &[u8] = b"mpp refund v1";

/// A document of kind [`DocumentKind::Refund`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundDocument {
    /// The challenge of the charge.
    pub challenge_id: ChallengeId,
    /// The merchant's own reference of the charge.
    pub external_id: Option<String>,
    /// Counts the refunds of the charge, from 1.
    pub number: u32,
    /// Who gets it: who paid the charge.
    pub payer: Address,
    /// The token.
    pub currency: Address,
    /// What is sent back, in base units.
    pub amount: Amount,
    /// The charge's memo with its bytes in reverse order.
    pub memo: B256,
    /// When it began.
    pub begun_at: Timestamp,
    /// Where it stands.
    pub state: RefundState,
}

/// Where a refund stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefundState {
    /// It counts; nothing was sent. Somebody works on it until then.
    Begun {
        /// From this moment on another may.
        until: Timestamp,
    },
    /// The transaction may have been sent; its fate is not known.
    Sent {
        /// The transaction.
        sent: SentTx,
        /// Somebody follows it until then.
        until: Timestamp,
    },
    /// The chain shows it.
    Paid {
        /// Its transaction.
        hash: B256,
        /// When it was seen.
        at: Timestamp,
    },
    /// It was never mined, and never will be.
    Failed,
}

impl RefundState {
    /// Whether nothing more happens.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        match self {
            Self::Paid { .. } | Self::Failed => true,
            Self::Begun { .. } | Self::Sent { .. } => false,
        }
    }

    /// Until when somebody works on it.
    pub(super) const fn leased_until(&self) -> Option<Timestamp> {
        match self {
            Self::Begun { until } | Self::Sent { until, .. } => Some(*until),
            Self::Paid { .. } | Self::Failed => None,
        }
    }
}

impl RefundDocument {
    /// The newest refund of a charge.
    pub(super) fn of(charge: &ChargeRecord, amount: Amount, now: Timestamp) -> Self {
        let mut memo = charge.memo;
        memo.0.reverse();
        Self {
            challenge_id: charge.challenge_id.clone(),
            external_id: charge.bill.external_id.clone(),
            number: charge.refunds,
            payer: charge.payer,
            currency: charge.bill.currency,
            amount,
            memo,
            begun_at: now,
            state: RefundState::Begun { until: now },
        }
    }

    pub(super) fn charge(&self) -> ChargeId {
        ChargeId::of(&self.challenge_id)
    }

    pub(super) fn key(&self) -> DocumentKey {
        key(self.charge(), self.number)
    }
}

/// Where the refund of a charge with this number is kept.
pub(super) fn key(charge: ChargeId, number: u32) -> DocumentKey {
    let mut hasher = Keccak256::new();
    hasher.update(DOMAIN);
    hasher.update(charge.0);
    hasher.update(number.to_be_bytes());
    DocumentKey {
        kind: DocumentKind::Refund,
        id: hasher.finalize(),
    }
}
