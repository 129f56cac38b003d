//! JSON: the strict reader, the flat one, the canonical writer; base64url.

use mpp_core::EncodedJson;
use mpp_core::encoding::flat::{FlatObject, FlatReader, FlatValue};
use mpp_core::encoding::json::{JsonError, MAX_DEPTH, parse};
use mpp_core::encoding::{base64url, form::Form, jcs};
use mpp_core::header::limits::MAX_REQUEST;
use serde_json::{Map, Value};

/// Checks a JSON text, or a base64url text.
pub fn check(data: &[u8]) {
    let Some((choice, rest)) = crate::choice(data) else {
        return;
    };
    match choice % 3 {
        0 => text(rest),
        1 => base64(rest),
        _ => formed(rest),
    }
}

fn text(text: &[u8]) {
    let strict = parse(text);
    let lenient = serde_json::from_slice::<Value>(text);
    match (&strict, &lenient) {
        (Ok(strict), Ok(lenient)) => assert_eq!(strict, lenient),
        (Ok(_), Err(error)) => panic!("only the strict reader takes it: {error}"),
        (Err(JsonError::Syntax), Ok(_)) => panic!("it is JSON"),
        (Err(_), _) => {}
    }
    if let Some(flat) = FlatReader::default().read(text) {
        assert_eq!(strict.as_ref(), Ok(&value_of(flat)));
    }
    let Ok(value) = strict else {
        return;
    };
    assert!(depth(&value) <= MAX_DEPTH);
    canonical(&value);
}

fn canonical(value: &Value) {
    let Ok(text) = jcs::to_string(value) else {
        return;
    };
    assert_eq!(parse(text.as_bytes()).as_ref(), Ok(value));
    sorted(value, &text);
    match EncodedJson::from_value(value) {
        Ok(encoded) => {
            assert!(encoded.as_str().len() <= MAX_REQUEST);
            assert_eq!(encoded.decode_value().as_ref(), Ok(value));
        }
        Err(_) => assert!(base64url::encode(text.as_bytes()).len() > MAX_REQUEST),
    }
}

/// Members stand in the order of their names in UTF-16 (RFC 8785, 3.2.3).
fn sorted(value: &Value, text: &str) {
    let Value::Object(members) = value else {
        return;
    };
    let mut names: Vec<Vec<u16>> = members
        .keys()
        .map(|name| name.encode_utf16().collect())
        .collect();
    names.sort();
    let mut rest = text;
    for name in names {
        let name = String::from_utf16(&name).unwrap();
        let alone = jcs::to_string(&Map::from_iter([(name.clone(), members[&name].clone())]));
        let alone = alone.unwrap();
        rest = rest[1..].strip_prefix(&alone[1..alone.len() - 1]).unwrap();
    }
    assert!(rest == "}" || members.is_empty() && rest == "{}");
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

pub(crate) fn value_of(object: FlatObject<'_>) -> Value {
    let members = object.members().map(|(name, value)| {
        let value = match value {
            FlatValue::Text(text) => Value::from(text.as_str()),
            FlatValue::Object(object) => value_of(object),
        };
        (String::from_utf8(name.into()).unwrap(), value)
    });
    Value::Object(members.collect())
}

/// A form reads what the flat reader reads, and nothing else.
fn formed(data: &[u8]) {
    let mut halves = data.splitn(2, |byte| *byte == 0);
    let (first, second) = (halves.next().unwrap_or(&[]), halves.next().unwrap_or(&[]));
    let mut reader = FlatReader::default();
    let Some(object) = reader.read(first) else {
        return;
    };
    let Some((place, text)) = object
        .members()
        .enumerate()
        .find_map(|(place, (_, value))| Some((place, value.text()?)))
    else {
        return;
    };
    let form = Form::learn(first, [text]).expect("a string of the text");
    let [again] = form.read(first).expect("its own text");
    assert_eq!(again, text);
    if let Some([changed]) = form.read(second) {
        let value = parse(second).unwrap();
        let mut reader = FlatReader::default();
        if let Some(object) = reader.read(second) {
            let (_, found) = object.members().nth(place).unwrap();
            assert_eq!(found.text(), Some(changed));
        }
        assert!(value.is_object());
    }
}

fn base64(data: &[u8]) {
    let written = base64url::encode(data);
    assert_eq!(written, plainly(data));
    assert_eq!(base64url::decode(&written).as_deref(), Ok(data));
    let mut appended = String::from("x");
    base64url::encode_to(data, &mut appended);
    assert_eq!(appended, format!("x{written}"));
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut buffer = Vec::new();
    let plain = base64url::decode_plain(data, &mut buffer).map(Vec::from);
    let decoded = base64url::decode(text);
    match (&plain, &decoded) {
        // The plain form has one text for each value.
        (Ok(plain), _) => {
            assert_eq!(decoded.as_ref(), Ok(plain));
            assert_eq!(base64url::encode(plain), text);
        }
        (Err(_), Ok(bytes)) => {
            assert!(text.contains(['=', '+', '/']));
            let url = text
                .trim_end_matches('=')
                .replace('+', "-")
                .replace('/', "_");
            assert_eq!(base64url::encode(bytes), url);
        }
        (Err(_), Err(_)) => {}
    }
}

fn plainly(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            let six = bits >> (18 - 6 * place) & 63;
            text.push(char::from(ALPHABET[six as usize]));
        }
    }
    text
}
