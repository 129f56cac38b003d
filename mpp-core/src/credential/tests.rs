//! Credentials in JSON: PROTOCOL.md section 1.2.

use alloc::format;
use alloc::string::{String, ToString};

use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Credential, CredentialError};
use crate::encoding::json::JsonError;
use crate::testing;

fn minimal() -> Value {
    json!({
        "challenge": {
            "id": "a1", "realm": "shop", "method": "tempo", "intent": "charge",
            "request": "eyJhbW91bnQiOiIxIn0",
        },
        "payload": {"type": "hash", "hash": "0x1e66"},
    })
}

#[track_caller]
fn check(value: &Value, error: CredentialError) {
    assert_eq!(
        Credential::from_json(value.to_string().as_bytes()),
        Err(error),
        "{value}"
    );
}

#[test]
fn unknown_members_are_ignored() {
    let mut value = minimal();
    value["extra"] = json!({"a": [1]});
    value["challenge"]["extra"] = json!(true);
    let read = Credential::from_json(value.to_string().as_bytes()).unwrap();
    assert_eq!(read.to_json().parse::<Value>().unwrap(), minimal());
}

#[test]
fn required_members_are_named_when_missing() {
    for name in ["id", "realm", "method", "intent", "request"] {
        let mut value = minimal();
        value["challenge"].as_object_mut().unwrap().remove(name);
        check(&value, CredentialError::Missing(name));
    }
    for name in ["challenge", "payload"] {
        let mut value = minimal();
        value.as_object_mut().unwrap().remove(name);
        check(&value, CredentialError::Missing(name));
    }
    check(&json!([]), CredentialError::Missing("challenge"));
    check(
        &json!({"challenge": "a1", "payload": {}}),
        CredentialError::Missing("id"),
    );
}

// PROTOCOL.md section 1.2: `request` and `opaque` are base64url strings.
#[test]
fn members_have_their_types_and_grammars() {
    for (name, bad) in [
        ("id", json!("")),
        ("id", json!("a\nb")),
        ("id", json!(1)),
        ("realm", json!("a|b")),
        ("method", json!("Tempo")),
        ("intent", json!("char ge")),
        ("request", json!({"amount": "1"})),
        ("request", json!("not base64!")),
        ("request", json!("A".repeat(16 * 1024 + 1))),
        ("opaque", json!({"pi": "1"})),
        ("expires", json!(1_736_164_800)),
        ("digest", json!([])),
        ("header", json!("X-Payment")),
    ] {
        let mut value = minimal();
        value["challenge"][name] = bad;
        check(&value, CredentialError::Member);
    }
    let mut value = minimal();
    value["source"] = json!(1);
    check(&value, CredentialError::Member);
    for payload in [json!("0x"), json!(null), json!([])] {
        let mut value = minimal();
        value["payload"] = payload;
        check(&value, CredentialError::Payload);
    }
}

// Security case A7.
#[test]
fn json_is_read_strictly() {
    let refused = |text: &str| Credential::from_json(text.as_bytes()).unwrap_err();
    let twice = minimal()
        .to_string()
        .replacen("\"payload\"", "\"payload\":{},\"payload\"", 1);
    assert_eq!(
        refused(&twice),
        CredentialError::Json(JsonError::DuplicateKey)
    );
    let float = minimal().to_string().replacen("\"0x1e66\"", "0.5", 1);
    assert_eq!(refused(&float), CredentialError::Json(JsonError::Float));
    assert_eq!(refused("{"), CredentialError::Json(JsonError::Syntax));
}

// Security case A20: whoever reads a log must not be able to spend.
#[test]
fn debug_leaves_the_proof_out() {
    let credential = Credential::from_value(minimal())
        .unwrap()
        .with_source("did:pkh:x");
    let debug = format!("{credential:?}");
    assert!(
        debug.contains("did:pkh:x") && !debug.contains("0x1e66"),
        "{debug}"
    );
}

proptest! {
    #[test]
    fn json_round_trips(
        challenge in testing::challenge(),
        payload in testing::object(),
        source in option::of(any::<String>()),
    ) {
        let mut credential = Credential::new(challenge, payload);
        credential.source = source;
        let json = credential.to_json();
        let challenge_first = json.starts_with("{\"challenge\":{\"id\":");
        prop_assert!(challenge_first);
        prop_assert_eq!(Credential::from_json(json.as_bytes()), Ok(credential));
    }
}
