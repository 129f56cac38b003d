//! What a server knows of a charge, as it is stored.

use alloy_primitives::{Address, B256, Bytes, Keccak256};
use mpp_core::{Amount, ChallengeId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    session::record::Idempotency,
    store::{DocumentKey, DocumentKind, OutcomeKey, StoredResponse},
};

/// Tells the ids here from any other hashes.
const CHARGE_DOMAIN: &[u8] = b"mpp charge v1";
const TRANSACTION_DOMAIN: &[u8] = b"mpp charge transaction v1";
const IDEMPOTENCY_DOMAIN: &[u8] = b"mpp charge idempotency v1";

/// Names a charge: a hash of the id of its challenge, which is paid once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChargeId(pub B256);

impl ChargeId {
    /// The charge that a challenge asks for.
    #[must_use]
    pub fn of(challenge: &ChallengeId) -> Self {
        Self(hash(CHARGE_DOMAIN, challenge.as_str().as_bytes()))
    }

    /// Where its record is kept.
    #[must_use]
    pub const fn key(self) -> DocumentKey {
        charge_key(self.0)
    }
}

/// Where it is noted which charge a transaction pays, by its replay id or its
/// hash: a transaction pays once, whichever way it is shown (SECURITY-CASES A1).
pub(super) fn transaction_key(transaction: B256) -> DocumentKey {
    charge_key(hash(TRANSACTION_DOMAIN, transaction.as_slice()))
}

/// Where it is noted which charge an idempotent request has paid.
pub(super) fn idempotency_key(asked: Idempotency) -> DocumentKey {
    charge_key(hash(IDEMPOTENCY_DOMAIN, asked.key.0.as_slice()))
}

const fn charge_key(id: B256) -> DocumentKey {
    DocumentKey {
        kind: DocumentKind::Charge,
        id,
    }
}

fn hash(domain: &[u8], what: &[u8]) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update([u8::try_from(domain.len()).unwrap_or(u8::MAX)]);
    hasher.update(domain);
    hasher.update(what);
    hasher.finalize()
}

/// A document of kind [`DocumentKind::Charge`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChargeDocument {
    /// A charge.
    Record(Box<ChargeRecord>),
    /// The charge that a transaction or an idempotent request belongs to.
    Belongs(ChargeId),
}

/// A charge that somebody has begun to pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeRecord {
    /// The challenge.
    pub challenge_id: ChallengeId,
    /// What it asks for.
    pub bill: Bill,
    /// Who pays: the sender of the transaction.
    pub payer: Address,
    /// What pays it.
    pub payment: PaymentId,
    /// The memo that tells the payment on chain.
    pub memo: B256,
    /// What made the request idempotent, when its client asked for that.
    pub asked: Option<Asked>,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// When the chain showed it paid.
    pub paid_at: Option<Timestamp>,
    /// How often it was granted.
    pub grants: u64,
    /// What was sent back, or is about to be, in base units.
    pub refunded: Amount,
    /// How many refunds have begun.
    pub refunds: u32,
    /// Where it stands.
    pub state: ChargeState,
    /// From then on nothing can be paid for it: its challenge has ended, and so
    /// has every transaction for it. `None`: one of them has no end.
    #[serde(deserialize_with = "or_none")]
    pub ends_at: Option<Timestamp>,
}

/// The last member of a document, which older ones lack.
fn or_none<'de, D: Deserializer<'de>>(document: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::deserialize(document).unwrap_or_default())
}

/// What a charge asks for, as the books need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The token.
    pub currency: Address,
    /// Everything that is paid, splits included, in base units.
    pub amount: Amount,
    /// Who gets what the splits leave.
    pub recipient: Address,
    /// The merchant's own reference.
    pub external_id: Option<String>,
}

impl Bill {
    /// Whether both ask for the same payment, whatever the merchant calls it, as
    /// far as a bill tells: not how it is split.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let terms = |bill: &Self| (bill.chain_id, bill.currency, bill.amount, bill.recipient);
        terms(self) == terms(other)
    }
}

/// What tells a payment from all others.
///
/// A transaction that was shown to us has a replay id, whatever its encoding;
/// one that goes on chain has a hash. Either is enough to know it again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentId {
    /// Of the signed content, without encoding, fee payer and signature.
    pub replay_id: Option<B256>,
    /// Of the transaction as it is mined.
    pub hash: Option<B256>,
}

impl PaymentId {
    /// Whether both are the same transaction.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let same = |one: Option<B256>, other| one.is_some() && one == other;
        same(self.replay_id, other.replay_id) || same(self.hash, other.hash)
    }
}

/// An idempotent request, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its key.
    pub key: B256,
    /// Hash over what it asks for.
    pub request: B256,
}

impl From<Idempotency> for Asked {
    fn from(asked: Idempotency) -> Self {
        Self {
            key: asked.key.0,
            request: asked.request,
        }
    }
}

impl From<Asked> for Idempotency {
    fn from(asked: Asked) -> Self {
        Self {
            key: OutcomeKey(asked.key),
            request: asked.request,
        }
    }
}

/// Where a charge stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChargeState {
    /// Nothing was sent. Somebody prepares the transaction until then.
    Claimed {
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
    /// The chain shows the payment; nobody is being served for it.
    Paid,
    /// A request is being served for it.
    Serving {
        /// The grant may be given again from then on.
        until: Timestamp,
    },
    /// It was served, and is never granted again.
    Served {
        /// When.
        at: Timestamp,
        /// What a retry of an idempotent request is answered with.
        response: Option<Kept>,
        /// A retry finds it until then.
        keep_until: Timestamp,
    },
    /// The transaction was refused, reverted, or can no longer be mined.
    Released,
}

/// A transaction that was recorded before it was sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentTx {
    /// Its hash: how its fate is looked up.
    pub hash: B256,
    /// It can not be mined at or after this Unix time, in seconds.
    pub valid_before: Option<u64>,
    /// The transaction as it is sent.
    pub raw: Bytes,
}

/// Leaves the transaction itself out: until it is mined, whoever has it can
/// spend it.
impl std::fmt::Debug for SentTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SentTx")
            .field("hash", &self.hash)
            .field("valid_before", &self.valid_before)
            .finish_non_exhaustive()
    }
}

/// A response as it is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    status: u16,
    headers: Vec<(String, Bytes)>,
    body: Bytes,
}

/// Shows sizes only: a response is what somebody has paid for.
impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept")
            .field("status", &self.status)
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl From<StoredResponse> for Kept {
    fn from(response: StoredResponse) -> Self {
        let headers = response.headers.into_iter();
        Self {
            status: response.status,
            headers: headers
                .map(|(name, value)| (name, Bytes::from(value)))
                .collect(),
            body: response.body.into(),
        }
    }
}

impl From<Kept> for StoredResponse {
    fn from(kept: Kept) -> Self {
        let headers = kept.headers.into_iter();
        Self {
            status: kept.status,
            headers: headers.map(|(name, value)| (name, value.0)).collect(),
            body: kept.body.0,
        }
    }
}

impl ChargeRecord {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> ChargeId {
        ChargeId::of(&self.challenge_id)
    }

    /// Whether the chain has shown the payment.
    #[must_use]
    pub const fn is_paid(&self) -> bool {
        match self.state {
            ChargeState::Paid | ChargeState::Serving { .. } | ChargeState::Served { .. } => true,
            ChargeState::Claimed { .. } | ChargeState::Sent { .. } | ChargeState::Released => false,
        }
    }
}
