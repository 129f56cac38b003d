//! Challenges in headers: PROTOCOL.md section 1.

use alloc::format;
use alloc::string::ToString;

use proptest::prelude::*;
use serde_json::json;

use super::{encode, parse_all};
use crate::challenge::{Challenge, CredentialHeader, EncodedJson};
use crate::header::HeaderError;
use crate::header::limits::MAX_REQUEST;
use crate::testing::{self, cases, text};
use crate::{IntentName, MethodName};

const MINIMAL: &str =
    r#"Payment id="a1", realm="shop", method="tempo", intent="charge", request="e30""#;

fn full() -> Challenge {
    Challenge {
        id: "a1".parse().unwrap(),
        realm: "shop".parse().unwrap(),
        method: MethodName::tempo(),
        intent: IntentName::session(),
        request: EncodedJson::from_value(&json!({})).unwrap(),
        expires: Some("2026-11-20T11:05:44Z".to_string()),
        digest: Some("sha-256=:AA==:".to_string()),
        description: Some("d".to_string()),
        opaque: Some(EncodedJson::from_value(&json!({})).unwrap()),
        header: Some(CredentialHeader::PaymentAuthorization),
    }
}

#[track_caller]
fn parse_one(value: &str) -> Result<Challenge, HeaderError> {
    let mut found = parse_all([value]);
    assert_eq!(found.len(), 1, "{value}");
    found.remove(0)
}

// PROTOCOL.md section 1: the parameters in this order, all quoted-strings.
#[test]
fn parameters_are_written_in_order() {
    let expected = concat!(
        r#"Payment id="a1", realm="shop", method="tempo", intent="session", request="e30", "#,
        r#"description="d", digest="sha-256=:AA==:", expires="2026-11-20T11:05:44Z", "#,
        r#"opaque="e30", header="Payment-Authorization""#,
    );
    assert_eq!(encode(&full()), expected);
    let minimal = parse_one(MINIMAL).unwrap();
    assert_eq!(encode(&minimal), MINIMAL);
}

// Draft-httpauth-payment-00, Custom Parameters: what is not known is ignored, wherever it stands.
#[test]
fn unknown_parameters_are_ignored() {
    let first = MINIMAL.replacen("Payment ", "Payment trace=\"id=b2, request\", ", 1);
    let last = format!("{MINIMAL}, later=token, zone=\"eu\"");
    for value in [first, last] {
        assert_eq!(parse_one(&value), parse_one(MINIMAL), "{value}");
    }
}

// Draft-httpauth-payment-00, Character Encoding: whatever a realm is called, the field is ASCII.
#[test]
fn a_realm_of_other_characters_is_written_in_ascii() {
    let mut challenge = full();
    challenge.realm = "caf\u{e9} \u{1f4b0}".parse().unwrap();
    let value = encode(&challenge);
    assert!(value.is_ascii(), "{value}");
    assert_eq!(parse_one(&value), Ok(challenge));
}

#[test]
fn recorded_challenges_are_read_and_written_back() {
    for case in cases("challenges") {
        let header = text(&case, "header");
        let challenge = parse_one(header).unwrap();
        let expected = &case["challenge"];
        assert_eq!(challenge.id.as_str(), text(expected, "id"));
        assert_eq!(challenge.realm.as_str(), text(expected, "realm"));
        assert_eq!(challenge.method.as_str(), text(expected, "method"));
        assert_eq!(challenge.intent.as_str(), text(expected, "intent"));
        assert_eq!(challenge.expires.as_deref(), expected["expires"].as_str());
        assert_eq!(
            challenge.request.decode_value().unwrap(),
            expected["request"]
        );
        // The peer's canonical JSON is ours, byte for byte.
        let canonical = EncodedJson::from_value(&expected["request"]).unwrap();
        assert_eq!(challenge.request, canonical);
        assert_eq!(encode(&challenge), header);
    }
}

// PROTOCOL.md section 1: several challenges in one value or many; other schemes are skipped.
#[test]
fn several_challenges_are_found() {
    let second = MINIMAL.replace("a1", "b2");
    let third = MINIMAL.replace("a1", "c3");
    let joined = format!("Bearer realm=\"x, Payment\", {MINIMAL}, Negotiate abc==, {second}");
    let values = [
        joined.as_str(),
        "Digest nonce=\"n\", qop=\"auth\"",
        third.as_str(),
    ];
    let found = parse_all(values);
    let ids = found
        .iter()
        .map(|challenge| challenge.as_ref().unwrap().id.as_str());
    assert!(ids.eq(["a1", "b2", "c3"]));
    assert!(parse_all(["Bearer", "", "Basic realm=\"Payment id=1\""]).is_empty());
    assert!(parse_all([]).is_empty());
}

#[test]
fn a_broken_challenge_spoils_no_other() {
    let value = format!("Payment id=\"\", realm=r, {MINIMAL}, Payment foo");
    let found = parse_all([value.as_str(), "Payment id=1\n"]);
    assert_eq!(found[0], Err(HeaderError::InvalidParameter("id")));
    assert_eq!(found[1].as_ref().unwrap().id.as_str(), "a1");
    assert_eq!(found[2], Err(HeaderError::Syntax));
    assert_eq!(found[3], Err(HeaderError::ControlCharacter));
    assert_eq!(found.len(), 4);
}

// PROTOCOL.md section 1: names case-insensitive, token or quoted-string, unknown parameters ignored.
#[test]
fn names_have_no_case_and_values_two_forms() {
    let value =
        "pAyMeNt ID=a1, Realm = shop, METHOD=\"tempo\", intent=charge, request=e30, x-y=\"z\"";
    assert_eq!(parse_one(value), parse_one(MINIMAL));
}

#[test]
fn required_parameters_are_named_when_missing() {
    for name in ["id", "realm", "method", "intent", "request"] {
        let value = MINIMAL.replacen(&format!("{name}="), "other=", 1);
        assert_eq!(parse_one(&value), Err(HeaderError::MissingParameter(name)));
    }
    assert_eq!(
        parse_one("Payment"),
        Err(HeaderError::MissingParameter("id"))
    );
}

#[test]
fn parameters_have_their_grammars() {
    for (from, to, name) in [
        ("\"a1\"", "\"\"", "id"),
        ("\"shop\"", "\"\"", "realm"),
        ("\"tempo\"", "\"Tempo\"", "method"),
        ("\"charge\"", "\"char ge\"", "intent"),
        ("\"e30\"", "\"e3 0\"", "request"),
        ("\"e30\"", "\"\"", "request"),
        ("\"e30\"", "\"e30\", opaque=\"{}\"", "opaque"),
        ("\"e30\"", "\"e30\", header=\"X-Payment\"", "header"),
    ] {
        let value = MINIMAL.replacen(from, to, 1);
        assert_eq!(
            parse_one(&value),
            Err(HeaderError::InvalidParameter(name)),
            "{value}"
        );
    }
    let twice = format!("{MINIMAL}, ID=\"b2\"");
    assert_eq!(parse_one(&twice), Err(HeaderError::DuplicateParameter));
}

#[test]
fn ordinary_authorization_may_be_named() {
    let value = format!("{MINIMAL}, header=\"authorization\"");
    assert_eq!(parse_one(&value).unwrap().header, None);
    let value = format!("{MINIMAL}, header=\"payment-authorization\"");
    let special = Some(CredentialHeader::PaymentAuthorization);
    assert_eq!(parse_one(&value).unwrap().header, special);
}

// PROTOCOL.md section 1: `request` at most 16 KiB, checked before decoding.
#[test]
fn oversized_requests_are_refused() {
    assert_eq!(MAX_REQUEST, 16 * 1024);
    let fits = MINIMAL.replacen("e30", &"A".repeat(MAX_REQUEST), 1);
    assert!(parse_one(&fits).is_ok());
    let long = MINIMAL.replacen("e30", &"A".repeat(MAX_REQUEST + 1), 1);
    assert_eq!(parse_one(&long), Err(HeaderError::TooLarge));
}

// Security case A6: nothing a challenge holds can leave its quotes or its line.
#[test]
fn hostile_text_stays_inside_its_quotes() {
    let mut challenge = full();
    challenge.description = Some("\", Payment id=\"x\r\nSet-Cookie: a\\".to_string());
    challenge.digest = Some("a\nb".to_string());
    let value = encode(&challenge);
    assert!(
        value.bytes().all(|byte| matches!(byte, b' '..=b'~')),
        "{value}"
    );
    let read = parse_one(&value).unwrap();
    assert_eq!(
        read.description.unwrap(),
        "\", Payment id=\"x  Set-Cookie: a\\"
    );
    assert_eq!(read.digest.unwrap(), "a b");
}

#[test]
fn text_beyond_ascii_is_escaped_as_utf16_units() {
    let mut challenge = full();
    challenge.description = Some("caf\u{e9} \u{2615} \u{1f600} \\u2615".to_string());
    let value = encode(&challenge);
    assert!(
        value.contains(r#"description="caf\u00e9 \u2615 \ud83d\ude00 \\u2615""#),
        "{value}"
    );
    assert_eq!(parse_one(&value), Ok(challenge));
}

proptest! {
    #[test]
    fn headers_round_trip(challenge in testing::challenge()) {
        let value = encode(&challenge);
        prop_assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        prop_assert_eq!(parse_all([value.as_str()]), [Ok(challenge)]);
    }

    #[test]
    fn joined_headers_round_trip(first in testing::challenge(), second in testing::challenge()) {
        let joined = format!("Basic realm=\"b\", {}, Bearer,{}", encode(&first), encode(&second));
        prop_assert_eq!(parse_all([joined.as_str()]), [Ok(first), Ok(second)]);
    }
}
