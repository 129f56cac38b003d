//! Objects and the texts that challenge ids cover.

use mpp_core::{
    ChallengeDraft, IntentName, KeyRing, MethodName, Realm, SecretKey, Timestamp, header,
};
use serde_json::json;

use super::*;

fn keys() -> KeyRing {
    KeyRing::new(SecretKey::from_bytes(b"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(").unwrap())
}

fn bound() -> Challenge {
    let request = json!({"recipient": "0xab", "amount": "1000", "nested": {"b": 1, "a": [true]}});
    let mut draft = ChallengeDraft::new(
        Realm::new("tools.example").unwrap(),
        MethodName::tempo(),
        IntentName::session(),
        EncodedJson::from_value(&request).unwrap(),
    );
    draft.expires = Some(Timestamp::from_secs(1_795_172_444));
    draft.description = Some("a call".into());
    draft.opaque = Some(EncodedJson::from_value(&json!({"scope": "mcp:tools/call:add"})).unwrap());
    keys().bind(draft)
}

#[test]
fn the_id_is_the_same_in_either_form() {
    let challenge = bound();
    let value = super::challenge(&challenge).unwrap();
    assert!(value["request"].is_object());
    assert!(value["opaque"].is_string());
    let text = value.to_string();
    let read = read_challenge(serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(read, challenge);
    keys().verify(&read).unwrap();
    // And it is the one that a header carries.
    let line = header::challenge::encode(&read);
    let header = header::challenge::parse_all([line.as_str()])
        .remove(0)
        .unwrap();
    assert_eq!(header, challenge);
}

#[test]
fn the_order_of_members_and_blanks_do_not_matter() {
    let value = challenge(&bound()).unwrap();
    let turned = format!(
        r#"{{"request":{{ "nested":{{"a":[ true ],"b":1}}, "amount":"1000","recipient":"0xab" }},
        "opaque":{},"description":"a call","expires":{},"intent":"session","method":"tempo",
        "realm":"tools.example","id":{}}}"#,
        value["opaque"], value["expires"], value["id"]
    );
    let read = read_challenge(serde_json::from_str(&turned).unwrap()).unwrap();
    keys().verify(&read).unwrap();
}

#[test]
fn a_request_that_was_changed_does_not_verify() {
    let mut value = challenge(&bound()).unwrap();
    value["request"]["amount"] = json!("1");
    let read = read_challenge(value).unwrap();
    assert!(keys().verify(&read).is_err());
}

#[test]
fn opaque_counts_as_text_and_as_the_map_it_stands_for() {
    let mut value = challenge(&bound()).unwrap();
    value["opaque"] = json!({"scope": "mcp:tools/call:add"});
    assert_eq!(read_challenge(value).unwrap(), bound());
}

#[track_caller]
fn check(value: Value, expected: &NativeError) {
    assert_eq!(read_credential(value).as_ref(), Err(expected));
}

#[test]
fn what_is_no_credential_says_why() {
    let echoed = challenge(&bound()).unwrap();
    let with = |member: &str, value: Value| {
        let mut changed = echoed.clone();
        changed[member] = value;
        json!({"challenge": changed, "payload": {}})
    };
    let missing = |name| NativeError::Credential(CredentialError::Missing(name));
    check(json!({}), &missing("challenge"));
    check(json!({"challenge": {}, "payload": {}}), &missing("request"));
    check(json!({"challenge": echoed}), &missing("payload"));
    check(json!({"challenge": 1, "payload": {}}), &NativeError::Shape);
    check(with("request", json!("e30")), &NativeError::NotAnObject);
    check(with("request", json!({"a": 1.5})), &NativeError::Request);
    check(
        with("opaque", json!("?")),
        &NativeError::Credential(CredentialError::Member),
    );
    check(
        json!({"challenge": echoed, "payload": []}),
        &NativeError::Credential(CredentialError::Payload),
    );
}

// SECURITY-CASES A7.
#[test]
fn a_credential_is_measured_before_it_is_read() {
    let echoed = challenge(&bound()).unwrap();
    let sized = |length: usize| json!({"challenge": echoed, "payload": {"x": "y".repeat(length)}});
    assert!(read_credential(sized(40 * 1024)).is_ok());
    check(sized(48 * 1024), &NativeError::TooLarge);
}

/// Recorded from a deployed client and server.
#[test]
fn a_recorded_challenge_and_credential_are_read() {
    let text = include_str!("../../../vectors/mcp/recorded.json");
    let recorded: Value = serde_json::from_str(text).unwrap();
    let demanded = &recorded["required"]["error"]["data"]["challenges"][0];
    let challenge = read_challenge(demanded.clone()).unwrap();
    assert_eq!(challenge.realm.as_str(), "127.0.0.1:18600");
    let sent = &recorded["paid"]["params"]["_meta"]["org.paymentauth/credential"];
    let credential = read_credential(sent.clone()).unwrap();
    // The client has put the members of the request in another order.
    assert_eq!(credential.challenge, challenge);
    assert_eq!(
        super::credential(&credential).unwrap()["payload"],
        sent["payload"]
    );
}
