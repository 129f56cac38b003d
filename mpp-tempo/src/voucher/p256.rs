//! P-256 signatures of v2 vouchers, type 0x01 of TIP-1020.

use alloy_primitives::{Address, B256, hex, keccak256};
use p256::Sec1Point;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::signer::{InvalidSignature, SignatureFormatError};

/// Half of the group order of P-256: the largest s that the chain accepts.
const HALF_ORDER: [u8; 32] =
    hex!("7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8");
/// r, s, x, y and the prehash flag.
const BYTES: usize = 129;

/// A P-256 signature with the public key that made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct P256Signature {
    key: SignedByKey,
    /// Whether the key signed the SHA-256 of the digest, as Web Crypto does, not the digest.
    prehash: bool,
}

/// A P-256 key and its signature, as both P-256 forms carry them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SignedByKey {
    rs: [u8; 64],
    xy: [u8; 64],
}

impl P256Signature {
    /// Reads `r || s || x || y || prehash`, without the type byte.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, SignatureFormatError> {
        let fixed: &[u8; BYTES] = bytes
            .try_into()
            .map_err(|_| SignatureFormatError::Length(bytes.len()))?;
        let mut rs_xy = [0; 128];
        rs_xy.copy_from_slice(&fixed[..128]);
        let prehash = match fixed[128] {
            0 => false,
            1 => true,
            _ => return Err(SignatureFormatError::PrehashFlag),
        };
        Ok(Self {
            key: SignedByKey::parse(&rs_xy)?,
            prehash,
        })
    }

    pub(super) fn to_bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..128].copy_from_slice(&self.key.to_bytes());
        bytes[128] = u8::from(self.prehash);
        bytes
    }

    pub(super) fn recover(&self, digest: &B256) -> Result<Address, InvalidSignature> {
        if self.prehash {
            self.key.recover(&Sha256::digest(digest).into())
        } else {
            self.key.recover(&digest.0)
        }
    }
}

impl SignedByKey {
    /// Reads `r || s || x || y`.
    pub(super) fn parse(bytes: &[u8; 128]) -> Result<Self, SignatureFormatError> {
        let mut rs = [0; 64];
        let mut xy = [0; 64];
        rs.copy_from_slice(&bytes[..64]);
        xy.copy_from_slice(&bytes[64..]);
        if rs[32..] > HALF_ORDER[..] {
            return Err(SignatureFormatError::HighS);
        }
        Ok(Self { rs, xy })
    }

    pub(super) fn to_bytes(&self) -> [u8; 128] {
        let mut bytes = [0; 128];
        bytes[..64].copy_from_slice(&self.rs);
        bytes[64..].copy_from_slice(&self.xy);
        bytes
    }

    /// Verifies against the own key and returns its account.
    pub(super) fn recover(&self, message: &[u8; 32]) -> Result<Address, InvalidSignature> {
        let point = Sec1Point::from_untagged_bytes(&self.xy.into());
        let key = VerifyingKey::from_sec1_point(&point).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_slice(&self.rs).map_err(|_| InvalidSignature)?;
        key.verify_prehash(message, &signature)
            .map_err(|_| InvalidSignature)?;
        Ok(Address::from_word(keccak256(self.xy)))
    }
}
