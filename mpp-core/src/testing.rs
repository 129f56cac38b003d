//! Helpers of the tests in this crate: vectors and random messages.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::encoding::flat::{FlatObject, FlatValue};
use crate::{Amount, Challenge, ChallengeId, ChargeReceipt, CredentialHeader, EncodedJson};
use crate::{IntentName, MethodName, Realm, Receipt, SessionReceipt, Timestamp};

/// The cases of `vectors/core/<name>.json`.
pub(crate) fn cases(name: &str) -> Vec<Value> {
    let path = format!("{}/../vectors/core/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).expect("vector file");
    let file: Value = serde_json::from_slice(&text).expect("vector JSON");
    let cases = file["cases"].as_array().expect("cases").clone();
    assert!(!cases.is_empty(), "{path} has no cases");
    cases
}

/// The text of a member of a case.
#[track_caller]
pub(crate) fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().expect("a string member")
}

/// Text without control characters, rich in what quoting must get right.
pub(crate) fn plain_text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        3 => proptest::char::range(' ', '~'),
        2 => prop::sample::select(&['"', '\\', ',', '=', 'u', ';', '|', '\u{e9}', '\u{2615}'][..]),
        1 => any::<char>().prop_filter("control", |c| !c.is_control()),
    ];
    prop::collection::vec(character, 1..24).prop_map(|chars| chars.into_iter().collect())
}

pub(crate) fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![any::<u64>().prop_map(u128::from), any::<u128>()].prop_map(Amount::new)
}

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.as_millis()..=Timestamp::MAX.as_millis()).prop_map(Timestamp::from_millis)
}

pub(crate) fn method() -> impl Strategy<Value = MethodName> {
    "[a-z]{1,10}".prop_map(|name| MethodName::new(name).unwrap())
}

pub(crate) fn intent() -> impl Strategy<Value = IntentName> {
    "[A-Za-z0-9-]{1,10}".prop_map(|name| IntentName::new(name).unwrap())
}

pub(crate) fn challenge_id() -> impl Strategy<Value = ChallengeId> {
    plain_text().prop_map(|id| ChallengeId::new(id).unwrap())
}

/// JSON without floats, as it may stand in messages.
pub(crate) fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            members(inner).prop_map(Value::from),
        ]
    })
}

/// A JSON object without floats.
pub(crate) fn object() -> impl Strategy<Value = Value> {
    members(json()).prop_map(Value::from)
}

fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    btree_map(any::<String>(), value, 0..4).prop_map(|map| map.into_iter().collect())
}

pub(crate) fn challenge() -> impl Strategy<Value = Challenge> {
    let realm = plain_text().prop_map(|text| Realm::new(text.replace('|', "-")).unwrap());
    let required = (challenge_id(), realm, method(), intent(), object());
    let opaque = option::of(btree_map(any::<String>(), any::<String>(), 0..3));
    let optional = (
        option::of(timestamp()),
        option::of(plain_text()),
        option::of(plain_text()),
        opaque,
        any::<bool>(),
    );
    (required, optional).prop_map(|(required, optional)| {
        let (id, realm, method, intent, request) = required;
        let (expires, digest, description, opaque, special) = optional;
        Challenge {
            id,
            realm,
            method,
            intent,
            request: EncodedJson::from_value(&request).unwrap(),
            expires: expires.map(String::from),
            digest,
            description,
            opaque: opaque.map(|map| EncodedJson::from_value(&map).unwrap()),
            header: special.then_some(CredentialHeader::PaymentAuthorization),
        }
    })
}

/// The value that a flat object stands for.
pub(crate) fn to_value(object: FlatObject<'_>) -> Value {
    let member = |(name, value): (&[u8], FlatValue<'_>)| {
        let value = match value {
            FlatValue::Text(text) => Value::from(text.as_str()),
            FlatValue::Object(object) => to_value(object),
        };
        (String::from_utf8(name.to_vec()).unwrap(), value)
    };
    Value::from(object.members().map(member).collect::<Map<_, _>>())
}

/// The payload of a voucher, as clients write it.
pub(crate) fn voucher() -> impl Strategy<Value = Value> {
    let descriptor = option::of("0x[0-9a-fA-F]{40}");
    let (channel, signature) = ("0x[0-9a-fA-F]{64}", "0x[0-9a-fA-F]{130}");
    (channel, "[1-9][0-9]{0,20}", signature, descriptor).prop_map(
        |(channel, amount, signature, descriptor)| {
            let mut payload = serde_json::json!({
                "action": "voucher", "channelId": channel, "cumulativeAmount": amount,
                "signature": signature,
            });
            if let Some(payer) = descriptor {
                payload["descriptor"] = serde_json::json!({ "payer": payer, "payee": "0x" });
            }
            payload
        },
    )
}

/// A change of one place, as a broken or hostile client would make it.
#[derive(Clone, Debug)]
pub(crate) struct Mutation {
    place: prop::sample::Index,
    kind: u8,
    byte: u8,
}

pub(crate) fn mutation(bytes: impl Strategy<Value = u8>) -> impl Strategy<Value = Mutation> {
    let place = any::<prop::sample::Index>();
    (place, 0..4_u8, bytes).prop_map(|(place, kind, byte)| Mutation { place, kind, byte })
}

impl Mutation {
    /// Replaces, inserts, removes a byte, or cuts the text off there.
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>) {
        let place = self.place.index(bytes.len().max(1));
        match self.kind {
            _ if place >= bytes.len() => bytes.push(self.byte),
            0 => bytes[place] = self.byte,
            1 => bytes.insert(place, self.byte),
            2 => drop(bytes.remove(place)),
            _ => bytes.truncate(place),
        }
    }
}

fn charge_receipt() -> impl Strategy<Value = Receipt> {
    let id = option::of(challenge_id());
    let parts = (
        method(),
        timestamp(),
        any::<String>(),
        id,
        option::of(any::<String>()),
    );
    parts.prop_map(
        |(method, timestamp, reference, challenge_id, external_id)| {
            let mut receipt = ChargeReceipt::new(method, timestamp, reference);
            receipt.challenge_id = challenge_id;
            receipt.external_id = external_id;
            receipt.into()
        },
    )
}

fn session_receipt() -> impl Strategy<Value = Receipt> {
    let start = (method(), timestamp(), challenge_id(), any::<String>());
    let rest = (
        amount(),
        amount(),
        option::of(any::<u64>()),
        option::of(any::<String>()),
    );
    (start, rest).prop_map(
        |((method, timestamp, id, channel), (accepted, spent, units, tx_hash))| {
            let mut receipt = SessionReceipt::new(method, timestamp, id, channel, accepted, spent);
            receipt.units = units;
            receipt.tx_hash = tx_hash;
            receipt.into()
        },
    )
}

/// Receipts of both intents.
pub(crate) fn receipt() -> impl Strategy<Value = Receipt> {
    prop_oneof![charge_receipt(), session_receipt()]
}
