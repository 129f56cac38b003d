//! The payer's identifier in a credential: `did:pkh` of an Ethereum-style account.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `did:pkh:eip155:<chainId>:<address>`.
///
/// Reading accepts the address in any case, writing is lower-case.
///
/// # Examples
///
/// ```
/// use mpp_core::DidPkh;
///
/// let did: DidPkh = "did:pkh:eip155:42431:0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC".parse()?;
/// assert_eq!(did.chain_id, 42431);
/// assert_eq!(did.address[..2], [0x3c, 0x44]);
/// assert_eq!(did.to_string(), "did:pkh:eip155:42431:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc");
/// # Ok::<(), mpp_core::SourceError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DidPkh {
    /// The EIP-155 chain id.
    pub chain_id: u64,
    /// The address of the account.
    pub address: [u8; 20],
}

impl DidPkh {
    /// Names an account by its chain and its address: 0x and 40 hex digits in any case.
    ///
    /// # Errors
    /// [`SourceError`] when the address has another form.
    pub fn new(chain_id: u64, address: &str) -> Result<Self, SourceError> {
        let digits = address.strip_prefix("0x").ok_or(SourceError)?;
        let mut bytes = [0; 20];
        // The decoder would take a second `0x`, which the length leaves no room for.
        if digits.len() != 40 || const_hex::decode_to_slice(digits, &mut bytes).is_err() {
            return Err(SourceError);
        }
        Ok(Self {
            chain_id,
            address: bytes,
        })
    }
}

impl fmt::Display for DidPkh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "did:pkh:eip155:{}:0x", self.chain_id)?;
        self.address
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for DidPkh {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let account = text.strip_prefix("did:pkh:eip155:").ok_or(SourceError)?;
        let (chain_id, address) = account.split_once(':').ok_or(SourceError)?;
        let plain = chain_id.bytes().all(|byte| byte.is_ascii_digit())
            && !(chain_id.len() > 1 && chain_id.starts_with('0'));
        if !plain {
            return Err(SourceError);
        }
        Self::new(chain_id.parse().map_err(|_| SourceError)?, address)
    }
}

impl Serialize for DidPkh {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DidPkh {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A text is not the `did:pkh` identifier of an EIP-155 account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a did:pkh identifier of an EIP-155 account")]
pub struct SourceError;

#[cfg(test)]
mod tests;
