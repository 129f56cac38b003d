//! The short reader of vouchers agrees with the general one.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use alloy_primitives::B256;
use mpp_core::encoding::{flat::FlatReader, json};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::payer;

fn signature() -> String {
    VoucherSignature::from(payer().sign_digest_sync(&B256::ZERO)).to_hex()
}

/// A voucher as clients of v2 send it; without `descriptor` it is one of v1.
fn voucher() -> Value {
    json!({
        "action": "voucher",
        "channelId": B256::repeat_byte(0xAB),
        "cumulativeAmount": "2000",
        "descriptor": {
            "payer": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
            "payee": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
            "operator": "0x0000000000000000000000000000000000000000",
            "token": "0x20c0000000000000000000000000000000000000",
            "salt": B256::repeat_byte(1),
            "authorizedSigner": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
            "expiringNonceHash": B256::repeat_byte(2),
        },
        "signature": signature(),
    })
}

/// What the short reader makes of a payload; the general one has to agree.
#[track_caller]
fn read(text: &[u8]) -> Option<SessionPayload> {
    let mut reader = FlatReader::default();
    let payload = SessionPayload::from_flat(reader.read(text)?)?;
    let value = json::parse(text).expect("JSON");
    assert_eq!(SessionPayload::from_value(&value), Ok(payload.clone()));
    Some(payload)
}

fn read_value(payload: &Value) -> Option<SessionPayload> {
    read(payload.to_string().as_bytes())
}

#[test]
fn vouchers_of_both_versions_are_read() {
    let mut payload = voucher();
    assert!(read_value(&payload).unwrap().descriptor().is_some());
    payload.as_object_mut().unwrap().remove("descriptor");
    assert_eq!(read_value(&payload).unwrap().descriptor(), None);
    payload["note"] = json!({"unknown": "member"});
    assert!(read_value(&payload).is_some());
    payload["signature"] = Value::from(signature().trim_start_matches("0x"));
    assert!(read_value(&payload).is_some());
}

#[test]
fn everything_else_is_left_to_the_general_reader() {
    let check = |member: &str, value: Value| {
        let mut payload = voucher();
        payload[member] = value.clone();
        assert_eq!(read_value(&payload), None, "{member}: {value}");
    };
    for action in ["open", "topUp", "close", "Voucher", ""] {
        check("action", Value::from(action));
    }
    let digits = "ab".repeat(32);
    for id in [
        "",
        "0x",
        &digits,
        &std::format!("0x0x{digits}"),
        &std::format!("0x0x{}", "ab".repeat(31)),
    ] {
        check("channelId", Value::from(id));
    }
    for amount in [
        "",
        "01",
        "-1",
        "+1",
        "1 ",
        "0x1",
        "340282366920938463463374607431768211456",
    ] {
        check("cumulativeAmount", Value::from(amount));
    }
    check("signature", Value::from("0x1234"));
    check("signature", json!({"r": "1"}));
    check("descriptor", Value::from("0x"));
    check("descriptor", json!({}));
    for member in voucher().as_object().unwrap().keys() {
        let mut payload = voucher();
        payload.as_object_mut().unwrap().remove(member);
        assert_eq!(
            read_value(&payload).is_none(),
            member != "descriptor",
            "{member}"
        );
    }
    for member in voucher()["descriptor"].as_object().unwrap().keys() {
        let mut payload = voucher();
        payload["descriptor"]
            .as_object_mut()
            .unwrap()
            .remove(member);
        assert_eq!(read_value(&payload), None, "{member}");
    }
}

/// Texts as they stand in vouchers, and ones that nearly do.
fn member_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "0x[0-9a-fA-F]{64}",
        "0x[0-9a-fA-F]{40}",
        "(0x)?(0x)?[0-9a-fA-F]{38,42}",
        "[0-9]{0,41}",
        "(0x)?[0-9a-f]{126}(1b|1c|1d)?",
        Just(signature()),
        Just(String::from("voucher")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn both_readers_agree_on_changed_members(
        member in 0..40_usize,
        text in member_text(),
    ) {
        let mut payload = voucher();
        let outer: Vec<String> = payload.as_object().unwrap().keys().cloned().collect();
        let inner: Vec<String> = payload["descriptor"].as_object().unwrap().keys().cloned().collect();
        match outer.get(member) {
            Some(name) => payload[name.as_str()] = Value::from(text),
            None => {
                let name = inner.iter().cycle().nth(member).unwrap();
                payload["descriptor"][name.as_str()] = Value::from(text);
            }
        }
        read_value(&payload);
    }

    #[test]
    fn both_readers_agree_on_mutated_texts(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        insert in any::<bool>(),
    ) {
        let mut text = voucher().to_string().into_bytes();
        let place = place.index(text.len());
        if insert {
            text.insert(place, byte);
        } else {
            text[place] = byte;
        }
        read(&text);
    }
}
