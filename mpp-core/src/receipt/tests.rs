//! Receipts in JSON: PROTOCOL.md section 1.2.

use alloc::string::ToString;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ChargeReceipt, Receipt, ReceiptError, SessionReceipt};
use crate::encoding::json::JsonError;
use crate::testing;
use crate::{Amount, MethodName, Timestamp};

fn time() -> Timestamp {
    Timestamp::from_millis(1_795_172_444_112)
}

#[test]
fn charge_receipts_have_the_members_of_the_protocol() {
    let mut receipt = ChargeReceipt::new(MethodName::tempo(), time(), "0x1e66");
    let minimal = json!({
        "method": "tempo", "status": "success", "timestamp": "2026-11-20T11:00:44.112Z",
        "reference": "0x1e66",
    });
    assert_eq!(serde_json::to_value(&receipt).unwrap(), minimal);
    receipt.challenge_id = Some("c1".parse().unwrap());
    receipt.external_id = Some("order-1".to_string());
    let value = serde_json::to_value(&receipt).unwrap();
    assert_eq!(
        (&value["challengeId"], &value["externalId"]),
        (&json!("c1"), &json!("order-1"))
    );
}

#[test]
fn session_receipts_have_the_members_of_the_protocol() {
    let mut receipt = SessionReceipt::new(
        MethodName::tempo(),
        time(),
        "c1".parse().unwrap(),
        "0xe8d5",
        Amount::new(3_000),
        Amount::new(2_000),
    );
    receipt.units = Some(2);
    receipt.tx_hash = Some("0x0490".to_string());
    let expected = json!({
        "method": "tempo", "intent": "session", "status": "success",
        "timestamp": "2026-11-20T11:00:44.112Z", "reference": "0xe8d5", "challengeId": "c1",
        "channelId": "0xe8d5", "acceptedCumulative": "3000", "spent": "2000", "units": 2,
        "txHash": "0x0490",
    });
    assert_eq!(
        Receipt::from(receipt).to_json().parse::<Value>().unwrap(),
        expected
    );
}

#[test]
fn accessors_serve_both_intents() {
    let charge = Receipt::from(ChargeReceipt::new(MethodName::tempo(), time(), "0x1e66"));
    assert_eq!(
        (charge.reference(), charge.challenge_id()),
        ("0x1e66", None)
    );
    let id: crate::ChallengeId = "c1".parse().unwrap();
    let session = SessionReceipt::new(
        MethodName::tempo(),
        time(),
        id.clone(),
        "0xe8d5",
        Amount::ZERO,
        Amount::ZERO,
    );
    let session = Receipt::from(session);
    assert_eq!(
        (session.reference(), session.challenge_id()),
        ("0xe8d5", Some(&id))
    );
}

#[test]
fn unknown_members_are_ignored_and_the_intent_decides() {
    let read = |value: Value| Receipt::from_json(value.to_string().as_bytes());
    let charge = json!({
        "method": "tempo", "intent": "charge", "status": "success", "chainId": 42431,
        "timestamp": "2026-11-20T11:00:44Z", "reference": "0x1e66", "channelId": "0xe8d5",
    });
    assert!(matches!(read(charge), Ok(Receipt::Charge(_))));
}

// PROTOCOL.md section 1: a receipt says success; there is no other.
#[test]
fn anything_but_a_complete_success_is_refused() {
    let good = json!({
        "method": "tempo", "intent": "session", "status": "success",
        "timestamp": "2026-11-20T11:00:44Z", "reference": "0xe8d5", "challengeId": "c1",
        "channelId": "0xe8d5", "acceptedCumulative": "3000", "spent": "2000",
    });
    let read = |value: &Value| Receipt::from_json(value.to_string().as_bytes());
    assert!(read(&good).is_ok());
    for (name, bad) in [
        ("status", json!("failed")),
        ("status", json!(null)),
        ("acceptedCumulative", json!(3_000)),
        ("spent", json!("-1")),
        ("timestamp", json!("yesterday")),
        ("method", json!("TEMPO")),
        ("challengeId", json!("")),
        ("units", json!("2")),
    ] {
        let mut value = good.clone();
        value[name] = bad;
        assert_eq!(read(&value), Err(ReceiptError::Member), "{value}");
    }
    let twice = good.to_string().replacen("{", "{\"spent\":\"0\",", 1);
    let refused = Receipt::from_json(twice.as_bytes());
    assert_eq!(refused, Err(ReceiptError::Json(JsonError::DuplicateKey)));
}

proptest! {
    #[test]
    fn json_round_trips(receipt in testing::receipt()) {
        prop_assert_eq!(Receipt::from_json(receipt.to_json().as_bytes()), Ok(receipt.clone()));
        let value = serde_json::to_value(&receipt).unwrap();
        prop_assert_eq!(serde_json::from_value::<Receipt>(value).unwrap(), receipt);
    }
}
