//! Challenges and credentials as JSON objects.
//!
//! HTTP has `request` as canonical JSON in base64url; here it is the object
//! itself, and both sides canonicalize it to get the text that the challenge
//! id covers (draft-payment-transport-mcp-00, Challenge Structure). So the id
//! is the same in either form, and a member order that changed on the way
//! changes nothing.

use std::io;

use mpp_core::{
    Challenge, Credential, CredentialError, EncodedJson, EncodedJsonError, IssuedChallenge,
    header::limits,
};
use serde::Serialize;
use serde_json::Value;

const REQUEST: &str = "request";
const OPAQUE: &str = "opaque";

/// Writes a challenge.
///
/// `opaque` stays the text it is: the draft says nothing about it, and
/// deployed peers take nothing else.
///
/// # Errors
/// [`NativeError::Request`] when its request is not JSON.
pub fn challenge(challenge: &Challenge) -> Result<Value, NativeError> {
    let mut value = serde_json::to_value(challenge).map_err(|_| NativeError::Shape)?;
    *member(&mut value, REQUEST)? = challenge.request.decode_value()?;
    Ok(value)
}

/// Writes the challenges of a server that it has just issued.
#[must_use]
pub fn issued(challenges: &[IssuedChallenge]) -> Vec<Value> {
    // Their requests were made from JSON by this process.
    let written = challenges
        .iter()
        .map(|issued| challenge(&issued.to_challenge()));
    written.filter_map(Result::ok).collect()
}

/// Reads a challenge.
///
/// # Errors
/// [`NativeError`] for what is not one.
pub fn read_challenge(mut value: Value) -> Result<Challenge, NativeError> {
    encode(&mut value)?;
    serde_json::from_value(value).map_err(|_| NativeError::Shape)
}

/// Writes a credential.
///
/// # Errors
/// As [`challenge`].
pub fn credential(credential: &Credential) -> Result<Value, NativeError> {
    let mut value = serde_json::to_value(credential).map_err(|_| NativeError::Shape)?;
    let echoed = member(&mut value, "challenge")?;
    *member(echoed, REQUEST)? = credential.challenge.request.decode_value()?;
    Ok(value)
}

/// Reads a credential.
///
/// # Errors
/// [`NativeError::TooLarge`] beyond what HTTP would take, before anything is
/// read; [`NativeError`] for what is not one.
pub fn read_credential(mut value: Value) -> Result<Credential, NativeError> {
    // SECURITY-CASES A7: caps before decoding. Base64 is longer by a third.
    let most = limits::MAX_CREDENTIAL.saturating_mul(3).checked_div(4);
    Counter::measure(&value, most.unwrap_or_default())?;
    let echoed = value.get_mut("challenge");
    let echoed = echoed.ok_or(CredentialError::Missing("challenge"))?;
    encode(echoed)?;
    Ok(Credential::from_value(value)?)
}

/// Puts the texts that a challenge id covers in the place of the objects.
fn encode(challenge: &mut Value) -> Result<(), NativeError> {
    let members = challenge.as_object_mut().ok_or(NativeError::Shape)?;
    let request = members
        .get_mut(REQUEST)
        .ok_or(CredentialError::Missing(REQUEST))?;
    if !request.is_object() {
        return Err(NativeError::NotAnObject);
    }
    *request = text(request)?;
    // Older peers send the map that the text stands for.
    if let Some(opaque) = members.get_mut(OPAQUE)
        && opaque.is_object()
    {
        *opaque = text(opaque)?;
    }
    Ok(())
}

fn text(object: &Value) -> Result<Value, NativeError> {
    let encoded = EncodedJson::from_value(object)?;
    Ok(Value::from(encoded.as_str()))
}

fn member<'a>(value: &'a mut Value, name: &'static str) -> Result<&'a mut Value, NativeError> {
    value.get_mut(name).ok_or(NativeError::Shape)
}

/// Why a value is not a challenge or credential. Never quotes the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NativeError {
    /// It is larger than a credential can be.
    #[error("the payment credential is larger than 64 KiB")]
    TooLarge,
    /// `request` is not an object.
    #[error("challenge member `request` is not an object")]
    NotAnObject,
    /// `request` or `opaque` has no canonical form, or is too large.
    #[error("challenge has a malformed `request` or `opaque`")]
    Request,
    /// A member is missing or breaks its grammar.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// It is not an object with the members of a challenge.
    #[error("challenge has a missing or malformed member")]
    Shape,
}

impl From<EncodedJsonError> for NativeError {
    fn from(_: EncodedJsonError) -> Self {
        Self::Request
    }
}

/// Counts what would be written, up to a limit.
struct Counter {
    left: usize,
}

impl Counter {
    fn measure(value: &impl Serialize, most: usize) -> Result<(), NativeError> {
        serde_json::to_writer(Self { left: most }, value).map_err(|_| NativeError::TooLarge)
    }
}

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len());
        self.left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
