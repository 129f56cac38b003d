//! Payloads as deployed peers send them, and what is refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::payer;

const CHANNEL: &str = "0xa543851f45ebae8e3cba376eec25149f23fbfe7c55d4daf0685de0fa700e2cf0";

fn signature() -> VoucherSignature {
    payer()
        .sign_digest_sync(&alloy_primitives::B256::ZERO)
        .into()
}

fn descriptor() -> Value {
    json!({
        "payer": "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "payee": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
        "operator": "0x0000000000000000000000000000000000000000",
        "token": "0x20c0000000000000000000000000000000000000",
        "salt": "0xdf5c1ddf181253ad96f41468a02fc4a5f7eb42f4f6c3bfcc8db1ba948a2d7555",
        "authorizedSigner": "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "expiringNonceHash": "0xd147c53ababf51fc3d095ac962a7d452e4d0504443661d9f789db24bc8a81981"
    })
}

fn payloads() -> [Value; 4] {
    let signature = signature().to_hex();
    [
        json!({"action": "open", "type": "transaction", "channelId": CHANNEL,
            "transaction": "0x7801", "authorizedSigner": "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
            "descriptor": descriptor(), "cumulativeAmount": "1000", "signature": signature}),
        json!({"action": "topUp", "type": "transaction", "channelId": CHANNEL,
            "transaction": "0x7601", "descriptor": descriptor(), "additionalDeposit": "5000"}),
        json!({"action": "voucher", "channelId": CHANNEL, "descriptor": descriptor(),
            "cumulativeAmount": "2000", "signature": signature}),
        json!({"action": "close", "channelId": CHANNEL, "descriptor": descriptor(),
            "cumulativeAmount": "2000", "signature": signature, "closeSignature": signature}),
    ]
}

// PROTOCOL 5.2: the four actions with their members.
#[test]
fn every_action_survives() {
    for payload in payloads() {
        let read = SessionPayload::from_value(&payload).unwrap();
        assert_eq!(read.to_value(), payload);
        assert_eq!(read.channel_id().to_string(), CHANNEL);
        assert!(read.descriptor().is_some());
        assert_eq!(read.voucher().is_none(), payload["action"] == "topUp");
    }
}

// PROTOCOL 2: mixed case is read, lower case is written, unknown members are ignored.
#[test]
fn case_and_unknown_members_do_not_matter() {
    for payload in payloads() {
        let mut other = payload.clone();
        other["channelId"] = Value::from(CHANNEL.to_uppercase().replace("0X", "0x"));
        other["descriptor"]["payer"] = Value::from("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
        other["note"] = json!({"deep": [1, 2]});
        let read = SessionPayload::from_value(&other).unwrap();
        assert_eq!(read.to_value(), payload);
    }
}

// A v1 payload has no descriptor.
#[test]
fn the_descriptor_may_be_absent() {
    for mut payload in payloads() {
        payload.as_object_mut().unwrap().remove("descriptor");
        let read = SessionPayload::from_value(&payload).unwrap();
        assert_eq!(read.descriptor(), None);
        assert_eq!(read.to_value(), payload);
    }
}

// PROTOCOL 5.2 and draft-tempo-session-00, Server Requirements: unknown actions are rejected.
#[test]
fn unknown_actions_and_types_are_refused() {
    let mut drain = payloads()[3].clone();
    drain["action"] = Value::from("drain");
    assert!(matches!(
        SessionPayload::from_value(&drain),
        Err(PayloadError::Malformed(_))
    ));
    let mut hash = payloads()[0].clone();
    hash["type"] = Value::from("hash");
    assert!(matches!(
        SessionPayload::from_value(&hash),
        Err(PayloadError::Malformed(_))
    ));
}

#[test]
fn each_required_member_is_required() {
    let optional = ["descriptor", "authorizedSigner", "closeSignature"];
    for payload in payloads() {
        for member in payload.as_object().unwrap().keys() {
            let mut partial = payload.clone();
            partial.as_object_mut().unwrap().remove(member);
            let read = SessionPayload::from_value(&partial);
            assert_eq!(
                read.is_ok(),
                optional.contains(&member.as_str()),
                "{member}"
            );
        }
    }
}

// PROTOCOL 1.3: a malformed signature is `session/invalid-signature`, not `invalid-payload`.
#[test]
fn a_malformed_signature_is_told_from_a_malformed_payload() {
    let mut short = payloads()[2].clone();
    short["signature"] = Value::from("0x1234");
    assert!(matches!(
        SessionPayload::from_value(&short),
        Err(PayloadError::Signature(_))
    ));
    let mut close = payloads()[3].clone();
    close["closeSignature"] = Value::from("0x1234");
    assert!(matches!(
        SessionPayload::from_value(&close),
        Err(PayloadError::Signature(_))
    ));
    let mut number = payloads()[2].clone();
    number["signature"] = Value::from(7);
    assert!(matches!(
        SessionPayload::from_value(&number),
        Err(PayloadError::Malformed(_))
    ));
}

// Case A32: amounts are decimal strings.
#[test]
fn amounts_are_decimal_strings() {
    for bad in [
        json!(1000),
        json!("0x10"),
        json!("-1"),
        json!(""),
        json!("1 "),
        json!("01"),
    ] {
        let mut payload = payloads()[2].clone();
        payload["cumulativeAmount"] = bad.clone();
        assert!(SessionPayload::from_value(&payload).is_err(), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn vouchers_survive(channel: [u8; 32], amount: u128, with_descriptor: bool) {
        let payload = SessionPayload::Voucher {
            channel_id: channel.into(),
            descriptor: with_descriptor.then(ChannelDescriptor::default),
            cumulative_amount: Amount::new(amount),
            signature: signature(),
        };
        prop_assert_eq!(SessionPayload::from_value(&payload.to_value()), Ok(payload));
    }

    #[test]
    fn any_transaction_bytes_survive(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let payload = SessionPayload::TopUp {
            channel_id: ChannelId::ZERO,
            transaction: bytes.into(),
            descriptor: None,
            additional_deposit: Amount::new(1),
        };
        prop_assert_eq!(SessionPayload::from_value(&payload.to_value()), Ok(payload));
    }
}
