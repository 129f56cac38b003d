//! Signatures in stored values.

use bytes::Bytes;
use mpp_tempo::voucher::VoucherSignature;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The canonical bytes of a signature. Those of secp256k1, which most channels
/// have, need no memory of their own.
#[derive(Debug)]
pub(super) enum Signature {
    Secp256k1([u8; 65]),
    Other(Bytes),
}

impl Signature {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Secp256k1(bytes) => bytes,
            Self::Other(bytes) => bytes,
        }
    }
}

impl From<&VoucherSignature> for Signature {
    fn from(signature: &VoucherSignature) -> Self {
        match signature {
            VoucherSignature::Secp256k1(signature) => Self::Secp256k1(signature.to_bytes()),
            other => Self::Other(other.to_bytes().into()),
        }
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.bytes())
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bytes::deserialize(deserializer).map(Self::Other)
    }
}
