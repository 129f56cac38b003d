//! What is read here means the same to the general reader.

use alloc::format;
use alloc::string::String;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::FlatReader;
use crate::encoding::json::{self, JsonError};
use crate::testing::to_value;

/// What the flat reader makes of a text; the general reader agrees.
#[track_caller]
fn read(text: &[u8]) -> Option<Value> {
    let flat = FlatReader::default().read(text).map(to_value);
    if let Some(value) = &flat {
        assert_eq!(json::parse(text).as_ref(), Ok(value));
    }
    flat
}

#[test]
fn objects_of_strings_are_read() {
    for text in [
        "{}",
        r#"{"a":""}"#,
        r#"{"a":{}}"#,
        r#"{"a":{},"b":{"c":{"d":"e"}},"f":"0123456789012345678901234567890123456789"}"#,
        "{\"a\":\"\u{7f} ~!\"}",
    ] {
        assert!(read(text.as_bytes()).is_some(), "{text}");
    }
}

#[test]
fn everything_else_is_passed() {
    for text in [
        "",
        "{",
        "[]",
        "\"a\"",
        "{} ",
        " {}",
        "{}{}",
        r#"{"a" :"b"}"#,
        r#"{"a": "b"}"#,
        r#"{"a":"b",}"#,
        r#"{,"a":"b"}"#,
        r#"{"a":1}"#,
        r#"{"a":null}"#,
        r#"{"a":true}"#,
        r#"{"a":["b"]}"#,
        r#"{"a":"\n"}"#,
        r#"{"a":"\u0062"}"#,
        r#"{"\u0061":"b"}"#,
        r#"{"a":"b"#,
        r#"{"a":"b""#,
        r#"{"a":"b"}}"#,
        r#"{"a":{"b":{"c":{"d":{"e":"f"}}}}}"#,
        "{\"a\":\"\u{e9}\"}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"01234567890123456789012345678901\n\"}",
    ] {
        assert_eq!(read(text.as_bytes()), None, "{text}");
    }
}

// Security case A7: of two equal keys, readers could take different ones.
#[test]
fn duplicate_keys_are_passed() {
    for text in [
        r#"{"a":"1","a":"2"}"#,
        r#"{"a":{},"a":"2"}"#,
        r#"{"o":{"a":"1","b":"2","a":"3"}}"#,
    ] {
        assert_eq!(read(text.as_bytes()), None, "{text}");
        assert_eq!(json::parse(text.as_bytes()), Err(JsonError::DuplicateKey));
    }
    let deeper = br#"{"o":{"a":"1"},"p":{"a":"2"}}"#;
    assert_eq!(
        read(deeper),
        Some(json!({"o": {"a": "1"}, "p": {"a": "2"}}))
    );
}

#[test]
fn large_texts_are_passed() {
    let members = |count: usize| {
        let members: alloc::vec::Vec<_> = (0..count).map(|n| format!(r#""{n}":"""#)).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(read(members(64).as_bytes()).is_some());
    assert_eq!(read(members(65).as_bytes()), None);
    let long = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length - 8));
    assert!(read(long(0xffff).as_bytes()).is_some());
    assert_eq!(read(long(0x1_0000).as_bytes()), None);
}

// Every position in and behind a stride.
#[test]
fn a_special_character_is_seen_in_every_place() {
    for place in 0..100 {
        for special in ['"', '\\', '\u{1f}', '\u{0}', '\u{80}'] {
            let plain = "!".repeat(place);
            let text = format!(r#"{{"a":"{plain}{special}{plain}"}}"#);
            assert_eq!(read(text.as_bytes()), None, "{place} {special:?}");
        }
    }
}

/// Texts that are flat or nearly so.
pub(crate) fn nearly_flat() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        6 => "[a-c]{0,2}",
        2 => "[ -~]{0,40}".prop_map(|text| text.replace(['"', '\\'], "-")),
        1 => prop::sample::select(&["\\n", "\\u0061", "\u{e9}", "\t", "\""][..]).prop_map(String::from),
    ];
    let word = word.prop_map(|word| format!("\"{word}\"")).boxed();
    let other = prop::sample::select(&["1", "1.5", "null", "true", "[]", "", " "][..]);
    let leaf = prop_oneof![12 => word.clone(), 1 => other.prop_map(String::from)];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop::collection::vec((word.clone(), inner), 0..4).prop_map(|members| {
            let members: alloc::vec::Vec<_> = members
                .into_iter()
                .map(|(name, value)| format!("{name}:{value}"))
                .collect();
            format!("{{{}}}", members.join(","))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_readers_agree_on_nearly_flat_texts(text in nearly_flat()) {
        read(text.as_bytes());
    }

    #[test]
    fn both_readers_agree_on_mutated_texts(
        text in nearly_flat(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut text = text.into_bytes();
        if !text.is_empty() {
            let place = place.index(text.len());
            text[place] = byte;
        }
        read(&text);
    }

    // The rest of an object behind its first member.
    #[test]
    fn the_rest_reads_as_in_the_whole(text in nearly_flat()) {
        let whole = format!(r#"{{"first":{{"x":"y"}}{}"#, text.replacen('{', ",", 1));
        let rest = &whole.as_bytes()[18..];
        let mut reader = FlatReader::default();
        if let Some(object) = reader.read_after(b"first", rest) {
            let mut expected = to_value(object);
            expected["first"] = json!({"x": "y"});
            prop_assert_eq!(json::parse(whole.as_bytes()), Ok(expected));
        }
    }
}
