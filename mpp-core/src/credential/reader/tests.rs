//! The short reader agrees with the general one.

use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Credential;
use crate::header::{self, HeaderError};
use crate::testing::{self, cases, mutation, text, to_value};

/// What the short reader makes of a token; the general one has to agree.
#[track_caller]
fn read(token68: &str) -> Option<Credential> {
    let mut reader = CredentialReader::default();
    let text = reader.read(token68)?;
    let general = header::credential::parse(token68);
    let Some(challenge) = text.challenge.to_challenge() else {
        assert!(matches!(general, Err(HeaderError::Credential(_))));
        return None;
    };
    let credential = Credential {
        challenge,
        payload: to_value(text.proof.payload),
        source: text
            .proof
            .source
            .map(|source| String::from(source.as_str())),
    };
    assert_eq!(general.as_ref(), Ok(&credential));
    Some(credential)
}

fn read_json(json: &str) -> Option<Credential> {
    read(&base64url::encode(json.as_bytes()))
}

// What deployed clients send in a session is read here, not passed on.
#[test]
fn recorded_credentials_of_sessions_are_read() {
    let mut vouchers = 0;
    for case in cases("credentials") {
        let token = header::credential::find([text(&case, "header")])
            .unwrap()
            .unwrap();
        let read = read(token);
        if case["credential"]["payload"]["action"] == "voucher" {
            assert!(read.is_some());
            vouchers += 1;
        }
    }
    assert!(vouchers > 0, "no voucher among the recordings");
}

const COMMON: &str = r#"{"challenge":{"id":"a1","realm":"shop","method":"tempo","intent":"session","request":"e30","expires":"2026-11-20T11:05:44Z","header":"Payment-Authorization"},"payload":{"action":"voucher"},"source":"did"}"#;

#[test]
fn the_order_of_members_and_unknown_ones_do_not_matter() {
    assert!(read_json(COMMON).is_some());
    let object = COMMON
        .replace("\"id\":\"a1\",", "")
        .replace("\"e30\"", "\"e30\",\"id\":\"a1\"");
    assert_eq!(read_json(&object), read_json(COMMON));
    let unknown = COMMON.replacen('{', r#"{"note":{"a":"b"},"#, 2);
    assert!(read_json(&unknown).is_some());
}

#[test]
fn other_forms_are_left_to_the_general_reader() {
    let check = |from: &str, to: &str| {
        let json = COMMON.replacen(from, to, 1);
        assert_ne!(json, COMMON, "{from}");
        assert_eq!(read_json(&json), None, "{to}");
    };
    check("{", " {");
    check("\"id\":\"a1\",", "");
    check("\"payload\"", "\"pay\"");
    check("{\"action\":\"voucher\"}", "\"voucher\"");
    check(
        "{\"action\":\"voucher\"}",
        "{\"action\":\"voucher\",\"n\":1}",
    );
    check("\"did\"", "null");
    check("\"did\"", "\"\\u0064id\"");
    check("\"2026-11-20T11:05:44Z\"", "null");
    check("Payment-Authorization", "payment-authorization");
    check("\"source\"", "\"payload\"");
    check("\"tempo\"", "\"Tempo\"");
    check("\"e30\"", "\"e3!\"");
    check("\"a1\"", "\"\"");
    check("\"shop\"", "\"sh|op\"");
    check("\"shop\"", "\"sh\u{7f}op\"");
}

#[test]
fn other_base64_is_left_to_the_general_reader() {
    for json in [COMMON.replace("did", "?~"), COMMON.replace("did", "did?")] {
        let token = base64url::encode(json.as_bytes());
        assert!(read(&token).is_some());
        let standard = token.replace('-', "+").replace('_', "/");
        if standard != token {
            assert_eq!(read(&standard), None);
        }
        assert_eq!(read(&alloc::format!("{token}=")), None);
        assert_eq!(read(&alloc::format!("{token} ")), None);
    }
}

// PROTOCOL.md section 1: the limits hold on both ways. Security case A7.
#[test]
fn the_limits_hold() {
    let filled = |length: usize| {
        let source = "a".repeat(length);
        base64url::encode(
            COMMON
                .replace("\"did\"", &alloc::format!("\"{source}\""))
                .as_bytes(),
        )
    };
    let room = MAX_CREDENTIAL / 4 * 3 - COMMON.len() + 3;
    assert_eq!(filled(room).len(), MAX_CREDENTIAL);
    assert!(read(&filled(room)).is_some());
    assert_eq!(read(&filled(room + 1)), None);
    let request = |length: usize| read_json(&COMMON.replace("e30", &"A".repeat(length)));
    assert!(request(header::limits::MAX_REQUEST).is_some());
    assert_eq!(request(header::limits::MAX_REQUEST + 1), None);
}

#[test]
fn debug_shows_no_proof() {
    let token = base64url::encode(COMMON.as_bytes());
    let mut reader = CredentialReader::default();
    let shown = alloc::format!("{:?}", reader.read(&token).unwrap());
    assert!(!shown.contains("voucher") && !shown.contains(&token));
    assert!(!alloc::format!("{reader:?}").contains("123"));
}

fn json_of(challenge: crate::Challenge, payload: Value) -> Vec<u8> {
    let credential = Credential::new(challenge, payload).with_source("did:pkh:eip155:1:0x");
    credential.to_json().into_bytes()
}

proptest! {
    #[test]
    fn both_readers_agree_on_credentials(
        challenge in testing::challenge(),
        payload in prop_oneof![testing::voucher(), testing::object(), Just(json!([]))],
    ) {
        read(&base64url::encode(&json_of(challenge, payload)));
    }

    #[test]
    fn both_readers_agree_on_mutated_json(
        challenge in testing::challenge(),
        payload in testing::voucher(),
        mutations in prop::collection::vec(mutation(any::<u8>()), 1..3),
    ) {
        let mut json = json_of(challenge, payload);
        mutations.iter().for_each(|mutation| mutation.apply(&mut json));
        read(&base64url::encode(&json));
    }

    #[test]
    fn both_readers_agree_on_mutated_tokens(
        challenge in testing::challenge(),
        payload in testing::voucher(),
        mutations in prop::collection::vec(mutation(b' '..=b'~'), 1..3),
    ) {
        let mut token = base64url::encode(&json_of(challenge, payload)).into_bytes();
        mutations.iter().for_each(|mutation| mutation.apply(&mut token));
        read(core::str::from_utf8(&token).unwrap());
    }
}
