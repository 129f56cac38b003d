//! What a peer can be paid by, as it is told before anything is paid.

use std::collections::BTreeMap;

use mpp_core::{IntentName, MethodName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::meta::Members;

/// The name of the capability among MCP's experimental ones.
pub const PAYMENT: &str = "payment";

/// Methods and intents more than any honest peer lists.
const MAX_LISTED: usize = 64;

/// Payment methods and their intents
/// (draft-payment-transport-mcp-00, Capability Advertisement).
///
/// It is a hint: what counts is the challenge.
///
/// # Examples
///
/// ```
/// use mpp_core::{IntentName, MethodName};
/// use mpp_mcp::Capability;
///
/// let mut capability = Capability::default();
/// capability.add(&MethodName::tempo(), &IntentName::session());
/// let json = serde_json::to_string(&capability)?;
/// assert_eq!(json, r#"{"methods":{"tempo":{"intents":["session"]}}}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    methods: BTreeMap<String, Intents>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Intents {
    intents: Vec<String>,
}

impl Capability {
    /// What a value of `Accept-Payment` names; ranges are left out.
    #[must_use]
    pub fn of_accept_payment(value: &str) -> Self {
        let mut capability = Self::default();
        for range in value.split(',') {
            let name = range.split(';').next().unwrap_or(range).trim();
            let Some((method, intent)) = name.split_once('/') else {
                continue;
            };
            if let (Ok(method), Ok(intent)) = (method.parse(), intent.parse()) {
                capability.add(&method, &intent);
            }
        }
        capability
    }

    /// Adds an intent of a method.
    pub fn add(&mut self, method: &MethodName, intent: &IntentName) {
        let listed = self.methods.entry(method.as_str().to_owned());
        let intents = &mut listed.or_default().intents;
        if intents.iter().all(|known| known != intent.as_str()) {
            intents.push(intent.as_str().to_owned());
        }
    }

    /// Whether an intent of a method is listed.
    #[must_use]
    pub fn has(&self, method: &MethodName, intent: &IntentName) -> bool {
        let listed = self.methods.get(method.as_str());
        listed.is_some_and(|listed| listed.intents.iter().any(|known| known == intent.as_str()))
    }

    /// Reads the object of a peer; what can not be read is no capability.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        serde_json::from_value(value.clone()).ok()
    }

    /// The object, for a table of experimental capabilities.
    #[must_use]
    pub fn members(&self) -> Members {
        match serde_json::to_value(self) {
            Ok(Value::Object(members)) => members,
            _ => Members::new(),
        }
    }

    /// What the peer takes, as `Accept-Payment` says it.
    ///
    /// Names that are none are left out; `None` when nothing is left.
    #[must_use]
    pub fn accept_payment(&self) -> Option<String> {
        let pairs = self.methods.iter().flat_map(|(method, listed)| {
            let intents = listed.intents.iter();
            intents.map(move |intent| (method, intent))
        });
        let ranges: Vec<String> = pairs
            .filter(|(method, intent)| {
                method.parse::<MethodName>().is_ok() && intent.parse::<IntentName>().is_ok()
            })
            .take(MAX_LISTED)
            .map(|(method, intent)| format!("{method}/{intent}"))
            .collect();
        (!ranges.is_empty()).then(|| ranges.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_capability_becomes_a_preference() {
        let read = |value| Capability::read(&value).unwrap().accept_payment();
        assert_eq!(
            read(json!({"methods": {"tempo": {"intents": ["session", "charge"]}}})),
            Some("tempo/session, tempo/charge".into())
        );
        assert_eq!(
            read(json!({"methods": {"tempo": {"intents": ["a, */*"]}}})),
            None
        );
        assert_eq!(read(json!({"methods": {}})), None);
    }

    #[test]
    fn a_preference_becomes_a_capability() {
        let value = "tempo/session, tempo/charge;q=0.5, */*;q=0.1";
        let capability = Capability::of_accept_payment(value);
        let text = serde_json::to_string(&capability).unwrap();
        assert_eq!(
            text,
            r#"{"methods":{"tempo":{"intents":["session","charge"]}}}"#
        );
    }

    #[test]
    fn what_is_no_capability_is_ignored() {
        assert_eq!(Capability::read(&json!({"methods": ["tempo"]})), None);
        assert_eq!(Capability::read(&json!(null)), None);
    }
}
