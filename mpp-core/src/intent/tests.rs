//! Requests of both intents: PROTOCOL.md sections 4 and 5.1.

use alloc::string::String;

use proptest::option;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ChargeIntent, SessionIntent};
use crate::testing::{self, cases};
use crate::{Amount, EncodedJson};

// Deliberately without a default: the method's part must not need one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    chain_id: u64,
}

#[test]
fn recorded_requests_are_read_and_written_back_byte_for_byte() {
    for case in cases("challenges") {
        let raw = EncodedJson::from_wire(crate::encoding::base64url::encode(
            testing::text(&case, "requestJson").as_bytes(),
        ));
        let raw = raw.unwrap();
        let written = match testing::text(&case["challenge"], "intent") {
            "session" => EncodedJson::from_value(&raw.decode::<SessionIntent>().unwrap()),
            _ => EncodedJson::from_value(&raw.decode::<ChargeIntent>().unwrap()),
        };
        assert_eq!(written.unwrap(), raw, "{case}");
    }
}

#[test]
fn method_details_may_have_a_type() {
    let json = json!({"amount": "1000", "currency": "0x20c0", "methodDetails": {"chainId": 42431}});
    let request: SessionIntent<Details> = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(request.method_details, Some(Details { chain_id: 42431 }));
    assert_eq!(serde_json::to_value(&request).unwrap(), json);
    let bare = json!({"amount": "1000", "currency": "0x20c0", "unknown": [1]});
    let request: ChargeIntent<Details> = serde_json::from_value(bare).unwrap();
    assert_eq!(request, ChargeIntent::new(Amount::new(1_000), "0x20c0"));
}

#[test]
fn amounts_are_strings_and_required() {
    for bad in [
        json!({"currency": "usd"}),
        json!({"amount": "1"}),
        json!({"amount": 1, "currency": "usd"}),
        json!({"amount": "0.5", "currency": "usd"}),
        json!({"amount": "1", "currency": "usd", "suggestedDeposit": 10}),
    ] {
        assert!(
            serde_json::from_value::<SessionIntent>(bad.clone()).is_err(),
            "{bad}"
        );
    }
    assert!(serde_json::from_value::<ChargeIntent>(json!({"amount": -1, "currency": ""})).is_err());
}

proptest! {
    #[test]
    fn charge_requests_round_trip(
        amount in testing::amount(),
        currency in any::<String>(),
        texts in prop::array::uniform3(option::of(any::<String>())),
        method_details in option::of(testing::object()),
    ) {
        let [recipient, description, external_id] = texts;
        let request = ChargeIntent::<Value> {
            amount, currency, recipient, description, external_id, method_details,
        };
        let encoded = EncodedJson::from_value(&request).unwrap();
        prop_assert_eq!(encoded.decode::<ChargeIntent>().unwrap(), request);
    }

    #[test]
    fn session_requests_round_trip(
        amount in testing::amount(),
        currency in any::<String>(),
        suggested_deposit in option::of(testing::amount()),
        texts in prop::array::uniform3(option::of(any::<String>())),
        method_details in option::of(testing::object()),
    ) {
        let [recipient, unit_type, description] = texts;
        let request = SessionIntent::<Value> {
            amount, currency, recipient, unit_type, suggested_deposit, description, method_details,
        };
        let encoded = EncodedJson::from_value(&request).unwrap();
        prop_assert_eq!(encoded.decode::<SessionIntent>().unwrap(), request);
    }
}
