//! Canonical JSON is RFC 8785.

use alloc::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{JcsError, to_string};
use crate::encoding::json;
use crate::testing;

// The names of RFC 8785 section 3.2.3, whose UTF-8 order is another one.
#[test]
fn members_are_in_utf16_order() {
    let value = json!({
        "\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7,
    });
    let expected = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}";
    assert_eq!(to_string(&value).unwrap(), expected);
}

#[test]
fn strings_have_the_shortest_escapes() {
    let value = "\u{20ac}$\u{f}\nA'B\"\\\\\"/\u{8}\u{c}\t\r\u{7f}\u{0}";
    let expected = "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\\b\\f\\t\\r\u{7f}\\u0000\"";
    assert_eq!(to_string(value).unwrap(), expected);
}

#[test]
fn literals_and_nesting_have_no_blanks() {
    let value = json!({"b": [null, true, false, -7, {}], "a": []});
    assert_eq!(
        to_string(&value).unwrap(),
        r#"{"a":[],"b":[null,true,false,-7,{}]}"#
    );
}

// PROTOCOL.md section 2: never float.
#[test]
fn numbers_that_readers_round_are_refused() {
    assert_eq!(to_string(&json!(1.0)), Err(JcsError::Float));
    assert_eq!(to_string(&json!({"a": [0.5]})), Err(JcsError::Float));
    assert_eq!(
        to_string(&9_007_199_254_740_991_u64).unwrap(),
        "9007199254740991"
    );
    assert_eq!(
        to_string(&9_007_199_254_740_992_u64),
        Err(JcsError::UnsafeInteger)
    );
    assert_eq!(
        to_string(&-9_007_199_254_740_992_i64),
        Err(JcsError::UnsafeInteger)
    );
    assert_eq!(to_string(&u64::MAX), Err(JcsError::UnsafeInteger));
}

#[test]
fn values_without_a_json_form_are_refused() {
    let map = BTreeMap::from([((1, 2), 3)]);
    assert_eq!(to_string(&map), Err(JcsError::Unserializable));
}

proptest! {
    #[test]
    fn canonical_text_is_a_fixed_point(value in testing::json()) {
        let text = to_string(&value).unwrap();
        let read: Value = json::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(&read, &value);
        prop_assert_eq!(to_string(&read).unwrap(), text);
    }
}
