//! Voucher signatures: the forms of TIP-1020 without keychain wrappers.

use core::fmt;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, hex};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{P256Signature, WebAuthnSignature};
use crate::signer::{InvalidSignature, Signature65, SignatureFormatError};

const TYPE_P256: u8 = 0x01;
const TYPE_WEBAUTHN: u8 = 0x02;
const TYPE_KEYCHAIN_V1: u8 = 0x03;
const TYPE_KEYCHAIN_V2: u8 = 0x04;

/// Longest signature in any form: a type byte and 2048 bytes of WebAuthn data.
const MAX_BYTES: usize = 1 + super::webauthn::MAX_BYTES;

/// A well-formed signature of a voucher; nobody has verified it.
///
/// Cheap to clone. secp256k1 sits inline, so the hot path never allocates.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum VoucherSignature {
    /// secp256k1: 65 bytes, or 64 bytes EIP-2098.
    Secp256k1(Signature65),
    /// P-256 with its public key (v2 only).
    P256(Arc<P256Signature>),
    /// WebAuthn assertion over a P-256 key (v2 only).
    WebAuthn(Arc<WebAuthnSignature>),
}

impl VoucherSignature {
    /// Reads a signature in any accepted form.
    ///
    /// # Errors
    /// [`SignatureFormatError`]; keychain wrappers are refused, because the account they name
    /// is a claim that only the chain can check (PROTOCOL 5.3, case A11).
    pub fn parse(bytes: &[u8]) -> Result<Self, SignatureFormatError> {
        if let Ok(long) = bytes.try_into() {
            return Signature65::from_bytes(long).map(Self::Secp256k1);
        }
        if let Ok(compact) = bytes.try_into() {
            return Signature65::from_compact(compact).map(Self::Secp256k1);
        }
        match bytes.split_first() {
            Some((&TYPE_P256, rest)) => {
                P256Signature::parse(rest).map(|signature| Self::P256(Arc::new(signature)))
            }
            Some((&TYPE_WEBAUTHN, rest)) => {
                WebAuthnSignature::parse(rest).map(|signature| Self::WebAuthn(Arc::new(signature)))
            }
            Some((&(TYPE_KEYCHAIN_V1 | TYPE_KEYCHAIN_V2), _)) => {
                Err(SignatureFormatError::Keychain)
            }
            Some((&other, rest)) if !rest.is_empty() => {
                Err(SignatureFormatError::UnknownType(other))
            }
            _ => Err(SignatureFormatError::Length(bytes.len())),
        }
    }

    /// Reads a signature from hex digits with or without `0x`.
    ///
    /// # Errors
    /// [`SignatureFormatError`]; text longer than any signature is refused before it is decoded.
    pub fn from_hex(text: &str) -> Result<Self, SignatureFormatError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        // The decoder would cut off one more prefix, in either case.
        if let [b'0', b'x' | b'X', ..] = digits.as_bytes() {
            return Err(SignatureFormatError::Hex);
        }
        let mut buffer = [0; 65];
        // The hot path decodes into the stack.
        for length in [65, 64] {
            if let Some(target) = buffer.get_mut(..length)
                && hex::decode_to_slice(digits, target).is_ok()
            {
                return Self::parse(buffer.get(..length).unwrap_or_default());
            }
        }
        let length = digits.len().div_ceil(2);
        if length > MAX_BYTES {
            return Err(SignatureFormatError::Length(length));
        }
        let bytes = hex::decode(digits).map_err(|_| SignatureFormatError::Hex)?;
        Self::parse(&bytes)
    }

    /// The canonical bytes: `r || s || v` for secp256k1, the typed form for the others.
    ///
    /// They are what `settle` and `close` take on chain.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Secp256k1(signature) => signature.to_bytes().to_vec(),
            Self::P256(signature) => typed(TYPE_P256, &signature.to_bytes()),
            Self::WebAuthn(signature) => typed(TYPE_WEBAUTHN, &signature.to_bytes()),
        }
    }

    /// The canonical bytes as `0x` and lower-case hex.
    #[must_use]
    pub fn to_hex(&self) -> String {
        match self {
            Self::Secp256k1(signature) => hex::encode_prefixed(signature.to_bytes()),
            other => hex::encode_prefixed(other.to_bytes()),
        }
    }

    /// The account that signed `digest`.
    ///
    /// # Errors
    /// [`InvalidSignature`] if the signature is not one of this digest.
    pub fn recover(&self, digest: &B256) -> Result<Address, InvalidSignature> {
        match self {
            Self::Secp256k1(signature) => signature.recover(digest),
            Self::P256(signature) => signature.recover(digest),
            Self::WebAuthn(signature) => signature.recover(digest),
        }
    }
}

fn typed(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().saturating_add(1));
    out.push(kind);
    out.extend_from_slice(bytes);
    out
}

impl From<Signature65> for VoucherSignature {
    fn from(signature: Signature65) -> Self {
        Self::Secp256k1(signature)
    }
}

impl fmt::Debug for VoucherSignature {
    /// A voucher signature is worth its amount, so it is not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secp256k1(_) => "VoucherSignature(secp256k1)",
            Self::P256(_) => "VoucherSignature(p256)",
            Self::WebAuthn(_) => "VoucherSignature(webauthn)",
        })
    }
}

impl Serialize for VoucherSignature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for VoucherSignature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::from_hex(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
