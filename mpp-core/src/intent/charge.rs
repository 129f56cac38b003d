//! The request of the intent `charge`.

use alloc::string::String;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::amount::Amount;

/// One payment for one request (PROTOCOL.md section 4); `D` is the method's part.
///
/// ```
/// use mpp_core::Amount;
/// use mpp_core::intent::ChargeIntent;
///
/// let request: ChargeIntent = ChargeIntent::new(Amount::new(10_000), "0x20c0");
/// assert_eq!(
///     serde_json::to_value(&request)?,
///     serde_json::json!({"amount": "10000", "currency": "0x20c0"}),
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChargeIntent<D = Value> {
    /// What is to be paid, in base units.
    pub amount: Amount,
    /// The currency or token, in the terms of the method.
    pub currency: String,
    /// Who is paid, in the terms of the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Text for humans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The merchant's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// What the method adds.
    // No `default` here: it would ask `D` to have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method_details: Option<D>,
}

impl<D> ChargeIntent<D> {
    /// A request with the required members only.
    #[must_use]
    pub fn new(amount: Amount, currency: impl Into<String>) -> Self {
        Self {
            amount,
            currency: currency.into(),
            recipient: None,
            description: None,
            external_id: None,
            method_details: None,
        }
    }
}
