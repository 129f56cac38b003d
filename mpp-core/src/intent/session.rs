//! The request of the intent `session`.

use alloc::string::String;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::amount::Amount;

/// A price per unit, paid by vouchers (PROTOCOL.md section 5.1); `D` is the method's part.
///
/// ```
/// use mpp_core::Amount;
/// use mpp_core::intent::SessionIntent;
///
/// let mut request: SessionIntent = SessionIntent::new(Amount::new(1_000), "0x20c0");
/// request.unit_type = Some("word".into());
/// assert_eq!(
///     serde_json::to_value(&request)?,
///     serde_json::json!({"amount": "1000", "currency": "0x20c0", "unitType": "word"}),
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionIntent<D = Value> {
    /// The price of one unit, in base units.
    pub amount: Amount,
    /// The currency or token, in the terms of the method.
    pub currency: String,
    /// Who is paid, in the terms of the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// What a unit is, such as "word".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_type: Option<String>,
    /// How much the server proposes to deposit, in base units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested_deposit: Option<Amount>,
    /// Text for humans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What the method adds.
    // No `default` here: it would ask `D` to have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method_details: Option<D>,
}

impl<D> SessionIntent<D> {
    /// A request with the required members only.
    #[must_use]
    pub fn new(amount: Amount, currency: impl Into<String>) -> Self {
        Self {
            amount,
            currency: currency.into(),
            recipient: None,
            unit_type: None,
            suggested_deposit: None,
            description: None,
            method_details: None,
        }
    }
}
