//! What the book knows of one charge.

use std::fmt;

use alloy_primitives::{Address, B256, Keccak256};
use mpp_core::{Amount, Challenge, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::origin::{Origin, Site};

/// Tells the hashes here from any others.
const CHARGE_DOMAIN: &[u8] = b"mpp client charge v1";
const PURCHASE_DOMAIN: &[u8] = b"mpp client purchase v1";

/// Names a charge: a hash over its server and its challenge, so that a challenge is paid once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChargeId(B256);

impl ChargeId {
    /// The charge that answers a challenge of a server.
    #[must_use]
    pub fn of(origin: &Origin, challenge: &Challenge) -> Self {
        Self(hash(
            CHARGE_DOMAIN,
            &[
                &origin.to_string(),
                challenge.realm.as_str(),
                challenge.id.as_str(),
            ],
        ))
    }
}

impl fmt::Display for ChargeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What makes a request the repetition of another one: its site and its idempotency key.
pub(crate) fn purchase(site: &Site, key: &str) -> B256 {
    hash(
        PURCHASE_DOMAIN,
        &[&site.origin.to_string(), &site.path, key],
    )
}

/// Each part with its length before it, so that no two lists of parts are the same bytes.
fn hash(domain: &[u8], parts: &[&str]) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(domain);
    for part in parts {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}

/// The record of one charge. Everything but payload, hash, state and whether it is shared never
/// changes.
///
/// `Debug` leaves the payload out: whoever has it can spend it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChargeRecord {
    /// Names the charge.
    pub id: ChargeId,
    /// `scheme://host:port` of the server.
    pub origin: String,
    /// A hash over site and idempotency key of the request that is paid.
    pub purchase: Option<B256>,
    /// The challenge that is answered.
    pub challenge: Challenge,
    /// Who pays.
    pub payer: Address,
    /// The payload of the credential; null before the payment was made.
    pub payload: Value,
    /// What is paid in total, in base units.
    pub amount: Amount,
    /// When it was begun.
    pub at: Timestamp,
    /// The chain's last block before that.
    pub from_block: u64,
    /// Hash of the transaction, unless somebody else signs or sends it too.
    pub tx_hash: Option<B256>,
    /// Unix second from which it can not be mined anymore; `None`: nobody knows.
    pub valid_before: Option<u64>,
    /// What became of it.
    pub state: ChargeState,
    /// Whether its credential was taken out of the book again, so that more than one request may
    /// present it. Not in records of older versions.
    #[serde(default)]
    pub is_shared: bool,
}

/// What became of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ChargeState {
    /// It may have been paid, or may still be.
    Open,
    /// The chain shows that it was paid; no server has confirmed that it was for something.
    Paid {
        /// The transaction.
        tx_hash: B256,
    },
    /// The server's receipt confirms it.
    Served {
        /// The transaction that the receipt names.
        tx_hash: B256,
    },
    /// It was not paid and never will be.
    Void,
}

impl ChargeState {
    /// Whether it counts against the budgets.
    #[must_use]
    pub const fn counts(self) -> bool {
        !matches!(self, Self::Void)
    }

    /// Whether nothing is left to find out about the money.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Open)
    }

    /// The transaction that paid it, as far as is known.
    #[must_use]
    pub const fn tx_hash(self) -> Option<B256> {
        match self {
            Self::Paid { tx_hash } | Self::Served { tx_hash } => Some(tx_hash),
            Self::Open | Self::Void => None,
        }
    }

    /// The state after learning another one: money that moved stays moved, and a receipt says
    /// more than the chain.
    #[must_use]
    pub const fn learn(self, news: Self) -> Self {
        match (self, news) {
            (Self::Open, news) | (Self::Void | Self::Paid { .. }, news @ Self::Served { .. }) => {
                news
            }
            (Self::Void, news @ Self::Paid { .. }) => news,
            (kept, _) => kept,
        }
    }
}

impl fmt::Debug for ChargeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChargeRecord")
            .field("id", &self.id)
            .field("origin", &self.origin)
            .field("amount", &self.amount)
            .field("tx_hash", &self.tx_hash)
            .field("valid_before", &self.valid_before)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A charge in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeSummary {
    /// Names the charge.
    pub id: ChargeId,
    /// `scheme://host:port` of the server.
    pub origin: String,
    /// What was paid in total, in base units.
    pub amount: Amount,
    /// When it was begun.
    pub at: Timestamp,
    /// The transaction, as far as it is known.
    pub tx_hash: Option<B256>,
    /// What became of it.
    pub state: ChargeState,
}

impl From<&ChargeRecord> for ChargeSummary {
    fn from(record: &ChargeRecord) -> Self {
        Self {
            id: record.id,
            origin: record.origin.clone(),
            amount: record.amount,
            at: record.at,
            tx_hash: record.state.tx_hash().or(record.tx_hash),
            state: record.state,
        }
    }
}
