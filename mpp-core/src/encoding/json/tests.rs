//! Strict JSON: security case A7.

use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;
use serde_json::json;

use super::{JsonError, from_slice, parse};
use crate::testing;

#[track_caller]
fn check(text: &str, error: JsonError) {
    assert_eq!(parse(text.as_bytes()), Err(error), "{text}");
}

#[test]
fn duplicate_keys_are_refused_at_every_depth() {
    check(r#"{"a":1,"a":1}"#, JsonError::DuplicateKey);
    check(r#"{"a":1,"\u0061":2}"#, JsonError::DuplicateKey);
    check(r#"[{"x":{"a":1,"b":2,"a":3}}]"#, JsonError::DuplicateKey);
    assert!(parse(br#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
}

#[test]
fn only_64_bit_integers_are_numbers() {
    let numbers = json!([0, -1, u64::MAX, i64::MIN]);
    assert_eq!(
        parse(b"[0,-1,18446744073709551615,-9223372036854775808]"),
        Ok(numbers)
    );
    for text in [
        "1.0",
        "1e3",
        "1E-3",
        "-0",
        "18446744073709551616",
        "-9223372036854775809",
    ] {
        check(text, JsonError::Float);
    }
    check("1e999", JsonError::Syntax);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(parse(nested(32).as_bytes()).is_ok());
    check(&nested(33), JsonError::TooDeep);
    check(&"[".repeat(100_000), JsonError::TooDeep);
    check(&"{\"a\":".repeat(100_000), JsonError::TooDeep);
}

#[test]
fn text_must_be_one_json_value() {
    for text in [
        "",
        " ",
        "{",
        "{}{}",
        "[1,]",
        "{'a':1}",
        "nul",
        "NaN",
        "\"\\ud800\"",
        "\u{feff}{}",
    ] {
        check(text, JsonError::Syntax);
    }
    assert_eq!(parse(b"\"\xff\""), Err(JsonError::Syntax));
    assert_eq!(
        parse(b" {\"a\" : \"\\u2615\"} "),
        Ok(json!({"a": "\u{2615}"}))
    );
}

#[test]
fn types_may_refuse_the_shape() {
    assert_eq!(from_slice::<Vec<u8>>(b"[1,2]"), Ok(Vec::from([1, 2])));
    assert_eq!(from_slice::<Vec<u8>>(b"[1,256]"), Err(JsonError::Shape));
    assert_eq!(from_slice::<Vec<u8>>(b"[1.0]"), Err(JsonError::Float));
}

proptest! {
    #[test]
    fn json_round_trips(value in testing::json()) {
        let text = serde_json::to_vec(&value).unwrap();
        prop_assert_eq!(parse(&text), Ok(value));
    }

    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>(), text in "[\\[\\]{}\":,0-9.eE\\\\a-]{0,40}") {
        let _ = parse(&bytes);
        let text: String = text;
        // Whatever is accepted here is also JSON for a lenient reader.
        if parse(text.as_bytes()).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
    }
}
