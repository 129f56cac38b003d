//! Receipts: what a server says about a payment it has accepted.

mod text;

pub use self::text::SessionReceiptText;

use alloc::string::String;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use crate::amount::Amount;
use crate::encoding::json::{self, JsonError};
use crate::ids::{ChallengeId, IntentName, MethodName};
use crate::time::Timestamp;

/// The status of a receipt: there are receipts for successes only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReceiptStatus {
    /// The payment is verified and the service granted.
    #[default]
    #[serde(rename = "success")]
    Success,
}

/// The receipt of a charge (PROTOCOL.md section 1.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChargeReceipt {
    /// The payment method.
    pub method: MethodName,
    /// Always success.
    pub status: ReceiptStatus,
    /// When the payment was settled.
    pub timestamp: Timestamp,
    /// The transaction hash; for a zero-amount proof, the challenge id.
    pub reference: String,
    /// The challenge that was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge_id: Option<ChallengeId>,
    /// The merchant's own reference from the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

impl ChargeReceipt {
    /// A receipt with the required members only.
    #[must_use]
    pub fn new(method: MethodName, timestamp: Timestamp, reference: impl Into<String>) -> Self {
        Self {
            method,
            status: ReceiptStatus::Success,
            timestamp,
            reference: reference.into(),
            challenge_id: None,
            external_id: None,
        }
    }
}

/// The receipt of a paid request in a session (PROTOCOL.md section 1.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionReceipt {
    /// The payment method.
    pub method: MethodName,
    /// The payment intent, `session`.
    pub intent: IntentName,
    /// Always success.
    pub status: ReceiptStatus,
    /// When the state below was committed.
    pub timestamp: Timestamp,
    /// The channel id.
    pub reference: String,
    /// The challenge the request was paid under.
    pub challenge_id: ChallengeId,
    /// The channel id: lower-case hex with 0x.
    pub channel_id: String,
    /// The highest voucher the server holds, in base units.
    pub accepted_cumulative: Amount,
    /// What has been charged on the channel after this request, in base units.
    pub spent: Amount,
    /// Units this request has consumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<u64>,
    /// The transaction of an open, top-up or close.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx_hash: Option<String>,
}

impl SessionReceipt {
    /// A receipt of the intent `session` for a channel, whose id is also the reference.
    #[must_use]
    pub fn new(
        method: MethodName,
        timestamp: Timestamp,
        challenge_id: ChallengeId,
        channel_id: impl Into<String>,
        accepted_cumulative: Amount,
        spent: Amount,
    ) -> Self {
        let channel_id = channel_id.into();
        Self {
            method,
            intent: IntentName::session(),
            status: ReceiptStatus::Success,
            timestamp,
            reference: channel_id.clone(),
            challenge_id,
            channel_id,
            accepted_cumulative,
            spent,
            units: None,
            tx_hash: None,
        }
    }
}

/// A receipt of either intent.
///
/// The JSON forms are told apart by the member `intent`, which only session
/// receipts carry; unknown members are ignored.
///
/// # Examples
///
/// ```
/// use mpp_core::{ChargeReceipt, MethodName, Receipt, Timestamp};
///
/// let time = Timestamp::from_secs(1_795_172_444);
/// let receipt = Receipt::Charge(ChargeReceipt::new(MethodName::tempo(), time, "0x1e66"));
/// assert_eq!(Receipt::from_json(receipt.to_json().as_bytes())?, receipt);
/// # Ok::<(), mpp_core::ReceiptError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Receipt {
    /// One payment for one request.
    Charge(ChargeReceipt),
    /// A paid request in a session.
    Session(SessionReceipt),
}

impl Receipt {
    /// The settlement or channel reference.
    #[must_use]
    pub fn reference(&self) -> &str {
        match self {
            Self::Charge(receipt) => &receipt.reference,
            Self::Session(receipt) => &receipt.reference,
        }
    }

    /// The challenge that was paid, when the receipt names it.
    #[must_use]
    pub const fn challenge_id(&self) -> Option<&ChallengeId> {
        match self {
            Self::Charge(receipt) => receipt.challenge_id.as_ref(),
            Self::Session(receipt) => Some(&receipt.challenge_id),
        }
    }

    /// Writes the JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::to_text(self)
    }

    /// Reads the JSON form, strictly.
    ///
    /// # Errors
    /// [`ReceiptError`] for JSON that is not strict, missing or mistyped
    /// members, and any status but success.
    pub fn from_json(text: &[u8]) -> Result<Self, ReceiptError> {
        Self::from_value(json::parse(text)?)
    }

    fn from_value(value: Value) -> Result<Self, ReceiptError> {
        let is_session =
            value.get("intent").and_then(Value::as_str) == Some(IntentName::session().as_str());
        let receipt = if is_session {
            serde_json::from_value(value).map(Self::Session)
        } else {
            serde_json::from_value(value).map(Self::Charge)
        };
        receipt.map_err(|_| ReceiptError::Member)
    }
}

impl<'de> Deserialize<'de> for Receipt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl From<ChargeReceipt> for Receipt {
    fn from(receipt: ChargeReceipt) -> Self {
        Self::Charge(receipt)
    }
}

impl From<SessionReceipt> for Receipt {
    fn from(receipt: SessionReceipt) -> Self {
        Self::Session(receipt)
    }
}

/// Why a text is not a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It is not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A member is missing, mistyped, or breaks its grammar.
    #[error("receipt has a missing or malformed member")]
    Member,
}

#[cfg(test)]
mod tests;
