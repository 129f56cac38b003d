//! JSON in base64url keeps its text and its bounds.

use alloc::string::{String, ToString};

use proptest::prelude::*;
use serde_json::json;

use super::{EncodedJson, EncodedJsonError};
use crate::encoding::base64url::{self, DecodeError};
use crate::encoding::jcs::JcsError;
use crate::encoding::json::JsonError;
use crate::header::limits::MAX_REQUEST;
use crate::intent::ChargeIntent;
use crate::testing;

#[test]
fn text_on_the_wire_is_kept_exactly() {
    // Not canonical, padded: still the same characters, since the MAC covers them.
    let text = "eyAiYW1vdW50IjogIjEiIH0=";
    let request = EncodedJson::from_wire(text.to_string()).unwrap();
    assert_eq!(request.as_str(), text);
    assert_eq!(request.decode_value().unwrap(), json!({"amount": "1"}));
}

// PROTOCOL.md section 1: `request` at most 16 KiB, checked before decoding.
#[test]
fn size_is_bounded_before_decoding() {
    assert!(EncodedJson::from_wire("A".repeat(MAX_REQUEST)).is_ok());
    let long = EncodedJson::from_wire("A".repeat(MAX_REQUEST + 1));
    assert_eq!(long, Err(EncodedJsonError::TooLarge));
    let value = json!({"text": "a".repeat(MAX_REQUEST)});
    assert_eq!(
        EncodedJson::from_value(&value),
        Err(EncodedJsonError::TooLarge)
    );
}

#[test]
fn text_is_base64_and_not_empty() {
    for text in ["", "a b", "a\"b", "a|b", "caf\u{e9}"] {
        let read = EncodedJson::from_wire(text.to_string());
        assert_eq!(read, Err(EncodedJsonError::Base64(DecodeError)), "{text}");
    }
}

#[test]
fn content_is_read_strictly() {
    let of = |json: &str| EncodedJson::from_wire(base64url::encode(json.as_bytes())).unwrap();
    let twice = of(r#"{"amount":"1","amount":"2"}"#);
    assert_eq!(
        twice.decode_value(),
        Err(EncodedJsonError::Json(JsonError::DuplicateKey))
    );
    let number = of(r#"{"amount":1,"currency":"usd"}"#).decode::<ChargeIntent>();
    assert!(
        matches!(number, Err(EncodedJsonError::Shape { .. })),
        "{number:?}"
    );
    let float = EncodedJson::from_value(&json!({"amount": 0.5}));
    assert_eq!(float, Err(EncodedJsonError::Canonical(JcsError::Float)));
    let bits = EncodedJson::from_wire("e31".to_string()).unwrap();
    assert_eq!(
        bits.decode_value(),
        Err(EncodedJsonError::Base64(DecodeError))
    );
}

proptest! {
    #[test]
    fn values_round_trip(value in testing::object()) {
        let encoded = EncodedJson::from_value(&value).unwrap();
        prop_assert_eq!(&encoded.decode_value().unwrap(), &value);
        let wire = EncodedJson::from_wire(encoded.as_str().to_string()).unwrap();
        prop_assert_eq!(&wire, &encoded);
        let json: String = serde_json::to_string(&encoded).unwrap();
        prop_assert_eq!(serde_json::from_str::<EncodedJson>(&json).unwrap(), encoded);
    }
}
