//! A signer with the key in memory.

use core::fmt;
use core::future::{Future, ready};

use alloy_primitives::{Address, B256, hex};
use k256::ecdsa::SigningKey;
use zeroize::Zeroizing;

use super::signature::account_of;
use super::{Signature65, Signer, SignerError};

/// A secp256k1 key in memory. It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct LocalSigner {
    key: SigningKey,
    address: Address,
}

/// A private key that is not 32 bytes of a valid scalar. It never holds the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("private key must be 32 bytes and a valid secp256k1 scalar")]
pub struct KeyError;

impl LocalSigner {
    /// Takes a private key of 32 bytes, big endian.
    ///
    /// # Errors
    /// [`KeyError`] for zero and for values not below the group order.
    pub fn from_bytes(key: &[u8; 32]) -> Result<Self, KeyError> {
        let key = SigningKey::from_slice(key).map_err(|_| KeyError)?;
        let address = account_of(key.verifying_key());
        Ok(Self { key, address })
    }

    /// Takes a private key as 64 hex digits, with or without `0x`.
    ///
    /// # Errors
    /// [`KeyError`] for any other text and for invalid keys.
    pub fn from_hex(key: &str) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(key, bytes.as_mut_slice()).map_err(|_| KeyError)?;
        Self::from_bytes(&bytes)
    }

    /// Signs a digest at once, deterministically (RFC 6979) and with low s.
    ///
    /// A nonce point whose x exceeds the group order can not be expressed with v 27 or 28; it
    /// occurs with probability 2^-128 and yields a signature that does not verify.
    #[must_use]
    pub fn sign_digest_sync(&self, digest: &B256) -> Signature65 {
        let (signature, id) = self.key.sign_prehash_recoverable(digest.as_slice());
        Signature65::from_scalars(&signature, id.is_y_odd())
    }
}

impl Signer for LocalSigner {
    fn address(&self) -> Address {
        self.address
    }

    fn sign_digest(
        &self,
        digest: &B256,
    ) -> impl Future<Output = Result<Signature65, SignerError>> + Send {
        ready(Ok(self.sign_digest_sync(digest)))
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSigner")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use alloy_primitives::address;

    use super::*;

    const DEV_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    #[test]
    fn the_first_dev_key_has_its_known_address() {
        let expected = address!("f39fd6e51aad88f6f4ce6ab8827279cfffb92266");
        assert_eq!(LocalSigner::from_hex(DEV_KEY).unwrap().address(), expected);
        let bare = DEV_KEY.trim_start_matches("0x");
        assert_eq!(LocalSigner::from_hex(bare).unwrap().address(), expected);
    }

    #[test]
    fn invalid_keys_are_refused() {
        let long = format!("{DEV_KEY}00");
        let zero = "00".repeat(32);
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let bad: [&str; 5] = ["", "0x1234", &long, &zero, order];
        for text in bad {
            assert_eq!(LocalSigner::from_hex(text).unwrap_err(), KeyError, "{text}");
        }
    }

    // Case A20: secrets never appear in Debug.
    #[test]
    fn debug_does_not_show_the_key() {
        let text: String = format!("{:?}", LocalSigner::from_hex(DEV_KEY).unwrap());
        assert!(!text.to_lowercase().contains("ac0974"));
        assert!(text.to_lowercase().contains("f39fd6"));
    }

    #[test]
    fn signatures_recover_to_the_signer() {
        let signer = LocalSigner::from_hex(DEV_KEY).unwrap();
        for byte in 0..20 {
            let digest = B256::repeat_byte(byte);
            let signature = signer.sign_digest_sync(&digest);
            assert_eq!(signature.recover(&digest), Ok(signer.address()));
        }
    }
}
