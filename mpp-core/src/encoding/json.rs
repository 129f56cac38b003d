//! Strict reading of JSON that strangers wrote.
//!
//! Two readers that take a different one of two equal keys, or round a number
//! differently, can be talked into different payments. So duplicate keys and
//! floating-point numbers are errors here, and nesting is bounded (security
//! case A7). The caller bounds the size before it decodes.

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serialize};
use serde_json::{Map, Value};

/// How deeply arrays and objects may nest.
pub const MAX_DEPTH: usize = 32;

/// Reads one JSON text.
///
/// ```
/// use mpp_core::encoding::json::{JsonError, parse};
///
/// assert_eq!(parse(br#"{"amount":"1"}"#)?["amount"], "1");
/// assert_eq!(parse(br#"{"amount":"1","amount":"2"}"#), Err(JsonError::DuplicateKey));
/// assert_eq!(parse(b"1.5"), Err(JsonError::Float));
/// # Ok::<(), JsonError>(())
/// ```
///
/// # Errors
/// [`JsonError`] says which rule is broken, never what the text says.
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    let fault = Cell::new(JsonError::Syntax);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let strict = Strict {
        depth_left: MAX_DEPTH,
        fault: &fault,
    };
    let value = strict
        .deserialize(&mut deserializer)
        .map_err(|_| fault.get())?;
    deserializer.end().map_err(|_| JsonError::Syntax)?;
    Ok(value)
}

/// Reads one JSON text into a type.
///
/// # Errors
/// The errors of [`parse`], and [`JsonError::Shape`] when the type refuses the value.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    serde_json::from_value(parse(text)?).map_err(|_| JsonError::Shape)
}

/// Writes a type of this crate, all of which have a JSON form.
///
/// Their serializers only write strings, integers and string-keyed objects, for
/// which serde_json has no error; should that ever change, the empty text
/// reads as malformed everywhere.
pub(crate) fn to_text<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Why a JSON text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is not JSON, or something follows it.
    #[error("not valid JSON")]
    Syntax,
    /// It nests deeper than [`MAX_DEPTH`].
    #[error("JSON is nested too deeply")]
    TooDeep,
    /// An object has the same key twice.
    #[error("JSON object has a duplicate key")]
    DuplicateKey,
    /// A number is not an integer of 64 bits.
    #[error("JSON number is not a 64-bit integer")]
    Float,
    /// The value does not have the expected members or types.
    #[error("JSON does not have the expected shape")]
    Shape,
}

/// Builds a [`Value`] and notes the broken rule, which serde's errors can not carry.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth_left: usize,
    fault: &'a Cell<JsonError>,
}

impl Strict<'_> {
    fn refuse<E: de::Error>(self, fault: JsonError) -> E {
        self.fault.set(fault);
        E::custom(fault)
    }

    fn inner<E: de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(self.refuse(JsonError::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("strict JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Value, E> {
        Err(self.refuse(JsonError::Float))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(self.refuse(JsonError::DuplicateKey));
            }
            let value = access.next_value_seed(inner)?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests;
