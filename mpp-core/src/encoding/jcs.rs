//! Canonical JSON (RFC 8785), without floating-point numbers.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Number, Value};

/// The largest integer that every JSON reader holds exactly (2^53 - 1).
const MAX_SAFE_INTEGER: u64 = 9_007_199_254_740_991;

/// Serializes a value to canonical JSON.
///
/// Object members are ordered by the UTF-16 code units of their names, there
/// is no blank space, and strings have the shortest escapes.
///
/// ```
/// use mpp_core::encoding::jcs;
///
/// let value = serde_json::json!({"recipient": "0xabcd", "amount": "1000"});
/// assert_eq!(jcs::to_string(&value)?, r#"{"amount":"1000","recipient":"0xabcd"}"#);
/// # Ok::<(), jcs::JcsError>(())
/// ```
///
/// # Errors
/// [`JcsError::Float`] for a finite floating-point number (the others have no
/// JSON form and serialize as `null`), [`JcsError::UnsafeInteger`]
/// for an integer beyond 2^53 - 1 (write those as strings), and
/// [`JcsError::Unserializable`] when the value has no JSON form.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, JcsError> {
    let value = serde_json::to_value(value).map_err(|_| JcsError::Unserializable)?;
    let mut out = String::new();
    write_value(&value, &mut out)?;
    Ok(out)
}

/// Why a value has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JcsError {
    /// A floating-point number.
    #[error("floating-point numbers have no place in payment data")]
    Float,
    /// An integer that other JSON readers would round.
    #[error("integer is beyond the range that JSON readers keep exact")]
    UnsafeInteger,
    /// The value has no JSON form, such as a map with keys that are not strings.
    #[error("value has no JSON form")]
    Unserializable,
}

fn write_value(value: &Value, out: &mut String) -> Result<(), JcsError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(number, out)?,
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(item, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => write_object(members, out)?,
    }
    Ok(())
}

fn write_object(members: &Map<String, Value>, out: &mut String) -> Result<(), JcsError> {
    let mut members: Vec<(&String, &Value)> = members.iter().collect();
    // UTF-16 order differs from UTF-8 order above U+D800.
    members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    out.push('{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write_value(value, out)?;
    }
    out.push('}');
    Ok(())
}

fn write_number(number: &Number, out: &mut String) -> Result<(), JcsError> {
    if number.is_f64() {
        return Err(JcsError::Float);
    }
    let magnitude = match number.as_i64() {
        Some(signed) => signed.unsigned_abs(),
        None => number.as_u64().ok_or(JcsError::Float)?,
    };
    if magnitude > MAX_SAFE_INTEGER {
        return Err(JcsError::UnsafeInteger);
    }
    // Writing to a string does not fail.
    let _ = write!(out, "{number}");
    Ok(())
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control if u32::from(control) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
