//! Recoverable secp256k1 signatures in their one accepted form.

use core::fmt;

use alloy_primitives::{Address, B256, hex, keccak256};
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

/// Group order of secp256k1, big endian.
const ORDER: [u8; 32] = hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
/// Half of the group order: the largest accepted s (PROTOCOL 5.3).
const HALF_ORDER: [u8; 32] =
    hex!("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0");

/// A recoverable secp256k1 signature with 0 < r < n and 0 < s <= n/2.
///
/// The bounds hold by construction, so what reaches the curve is what the chain would accept
/// (case A9). Its one canonical form is the 65 bytes `r || s || v` with v 27 or 28.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature65 {
    r: [u8; 32],
    s: [u8; 32],
    y_is_odd: bool,
}

/// Why bytes are not an acceptable signature. Says nothing about any key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureFormatError {
    /// The text is not hex.
    #[error("signature is not hex")]
    Hex,
    /// No signature form has this many bytes.
    #[error("signature has {0} bytes")]
    Length(usize),
    /// The last byte of the 65-byte form is neither 27 nor 28.
    #[error("signature v is neither 27 nor 28")]
    RecoveryId,
    /// r or s is zero or not below the group order.
    #[error("signature scalar is out of range")]
    OutOfRange,
    /// s is above half of the group order.
    #[error("signature has a high s")]
    HighS,
    /// A keychain wrapper, which binds another account than its key.
    #[error("keychain signatures are not accepted")]
    Keychain,
    /// The type byte names no known signature.
    #[error("signature has unknown type {0}")]
    UnknownType(u8),
    /// The prehash flag of a P-256 signature is neither 0 nor 1.
    #[error("signature has an invalid prehash flag")]
    PrehashFlag,
}

/// A well-formed signature that no key made for this digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid signature")]
pub struct InvalidSignature;

impl Signature65 {
    /// Reads `r || s || v` with v 27 or 28.
    ///
    /// # Errors
    /// [`SignatureFormatError`] for another v, scalars out of range and high s.
    pub fn from_bytes(bytes: &[u8; 65]) -> Result<Self, SignatureFormatError> {
        let mut r = [0; 32];
        let mut s = [0; 32];
        r.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..64]);
        let y_is_odd = match bytes[64] {
            27 => false,
            28 => true,
            _ => return Err(SignatureFormatError::RecoveryId),
        };
        Self::checked(r, s, y_is_odd)
    }

    /// Reads the EIP-2098 form: `r || s` with the parity in the top bit of s.
    ///
    /// # Errors
    /// [`SignatureFormatError`] for scalars out of range and high s.
    pub fn from_compact(bytes: &[u8; 64]) -> Result<Self, SignatureFormatError> {
        let mut r = [0; 32];
        let mut s = [0; 32];
        r.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..]);
        let y_is_odd = s[0] & 0x80 != 0;
        s[0] &= 0x7f;
        Self::checked(r, s, y_is_odd)
    }

    /// The 65-byte form with v 27 or 28, as it goes on chain.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 65] {
        let mut bytes = [0; 65];
        bytes[..32].copy_from_slice(&self.r);
        bytes[32..64].copy_from_slice(&self.s);
        bytes[64] = if self.y_is_odd { 28 } else { 27 };
        bytes
    }

    /// The scalar r, big endian.
    #[must_use]
    pub const fn r(&self) -> &[u8; 32] {
        &self.r
    }

    /// The scalar s, big endian, never above half of the group order.
    #[must_use]
    pub const fn s(&self) -> &[u8; 32] {
        &self.s
    }

    /// Parity of the y coordinate of the nonce point (v is 28 when odd).
    #[must_use]
    pub const fn y_is_odd(&self) -> bool {
        self.y_is_odd
    }

    /// The account whose key signed `digest`, as `ecrecover` computes it.
    ///
    /// # Errors
    /// [`InvalidSignature`] if no key can have made the signature.
    pub fn recover(&self, digest: &B256) -> Result<Address, InvalidSignature> {
        self.recover_key(&digest.0).map(|key| account_of(&key))
    }

    /// The key that signed `digest`, as `ecrecover` finds it.
    pub(crate) fn recover_key(&self, digest: &[u8; 32]) -> Result<VerifyingKey, InvalidSignature> {
        let signature = Signature::from_scalars(self.r, self.s).map_err(|_| InvalidSignature)?;
        // v 27 and 28 say that x(R) = r: a point with x(R) >= n has no form here, as on chain.
        let id = RecoveryId::new(self.y_is_odd, false);
        VerifyingKey::recover_from_prehash(digest, &signature, id).map_err(|_| InvalidSignature)
    }

    /// Takes over what a signing key produced, which has low s by construction.
    pub(super) fn from_scalars(signature: &Signature, y_is_odd: bool) -> Self {
        let (r, s) = signature.split_bytes();
        Self {
            r: r.into(),
            s: s.into(),
            y_is_odd,
        }
    }

    fn checked(r: [u8; 32], s: [u8; 32], y_is_odd: bool) -> Result<Self, SignatureFormatError> {
        let zero = [0; 32];
        if r == zero || s == zero || r >= ORDER || s >= ORDER {
            return Err(SignatureFormatError::OutOfRange);
        }
        if s > HALF_ORDER {
            return Err(SignatureFormatError::HighS);
        }
        Ok(Self { r, s, y_is_odd })
    }
}

impl fmt::Debug for Signature65 {
    /// A signature spends money until it is settled, so it is not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signature65").finish_non_exhaustive()
    }
}

/// The account of a public key.
pub(crate) fn account_of(key: &VerifyingKey) -> Address {
    let point = key.to_sec1_point(false);
    let xy = point.as_bytes().get(1..).unwrap_or_default();
    Address::from_word(keccak256(xy))
}

#[cfg(test)]
mod tests;
