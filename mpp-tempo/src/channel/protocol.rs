//! The two session protocol versions and everything that depends on the version alone.

use core::fmt;
use core::str::FromStr;

use alloy_primitives::{Address, B256, b256};
use mpp_core::Amount;
use serde::{Deserialize, Serialize};

use crate::network::{CHANNEL_RESERVE, Network};

/// `2^96 - 1`, the largest amount of a v2 channel.
const MAX_UINT96: u128 = (1 << 96) - 1;

/// `keccak256("Voucher(bytes32 channelId,uint128 cumulativeAmount)")`.
const VOUCHER_TYPE_V1: B256 =
    b256!("e97c93f01d3ef8eaba1586553df13308f236815bf4ea49c7b696895d8f5ea68a");
/// `keccak256("Voucher(bytes32 channelId,uint96 cumulativeAmount)")`.
const VOUCHER_TYPE_V2: B256 =
    b256!("4730b4b2fe8de522475e80e010877c5b58ad10eb07fd0436615ee123f743bbe8");

/// Version of the session protocol, which decides the escrow and the width of amounts.
///
/// On the wire it is `"v1"` or `"v2"`; a challenge without the field means v1 (PROTOCOL 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionProtocol {
    /// Channels in the stream channel contract, amounts of 128 bits.
    V1,
    /// Channels in the TIP-20 channel reserve (TIP-1034), amounts of 96 bits.
    V2,
}

impl SessionProtocol {
    /// The largest deposit or cumulative amount, in base units.
    #[must_use]
    pub const fn max_amount(self) -> Amount {
        match self {
            Self::V1 => Amount::MAX,
            Self::V2 => Amount::new(MAX_UINT96),
        }
    }

    /// Name in the EIP-712 domain of vouchers.
    #[must_use]
    pub const fn domain_name(self) -> &'static str {
        match self {
            Self::V1 => "Tempo Stream Channel",
            Self::V2 => "TIP20 Channel Reserve",
        }
    }

    /// EIP-712 type hash of `Voucher`.
    #[must_use]
    pub const fn type_hash(self) -> B256 {
        match self {
            Self::V1 => VOUCHER_TYPE_V1,
            Self::V2 => VOUCHER_TYPE_V2,
        }
    }

    /// The escrow of this version on a chain.
    ///
    /// The v2 reserve is a precompile and the same everywhere; the v1 contract is known for the
    /// public networks only.
    #[must_use]
    pub fn default_escrow(self, chain_id: u64) -> Option<Address> {
        match self {
            Self::V1 => Network::by_chain_id(chain_id).map(|network| network.stream_channel),
            Self::V2 => Some(CHANNEL_RESERVE),
        }
    }

    /// The wire form, `v1` or `v2`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

impl fmt::Display for SessionProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A session protocol that is neither `v1` nor `v2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown session protocol")]
pub struct UnknownProtocol;

impl FromStr for SessionProtocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(UnknownProtocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    // PROTOCOL 5.3: voucher types of both versions.
    #[test]
    fn type_hashes_are_the_hashes_of_the_voucher_types() {
        let v1 = keccak256("Voucher(bytes32 channelId,uint128 cumulativeAmount)");
        let v2 = keccak256("Voucher(bytes32 channelId,uint96 cumulativeAmount)");
        assert_eq!(SessionProtocol::V1.type_hash(), v1);
        assert_eq!(SessionProtocol::V2.type_hash(), v2);
    }

    // PROTOCOL 5.3: v1 amounts are uint128, v2 amounts are uint96.
    #[test]
    fn max_amount_is_the_width_of_the_escrow() {
        assert_eq!(SessionProtocol::V1.max_amount().base_units(), u128::MAX);
        assert_eq!(
            SessionProtocol::V2.max_amount().base_units(),
            79_228_162_514_264_337_593_543_950_335
        );
    }

    #[test]
    fn text_and_json_forms_agree() {
        for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
            assert_eq!(protocol.as_str().parse(), Ok(protocol));
            assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.as_str());
        }
        assert_eq!("V1".parse::<SessionProtocol>(), Err(UnknownProtocol));
        assert!(serde_json::from_str::<SessionProtocol>("\"v3\"").is_err());
    }

    #[test]
    fn v1_has_no_default_escrow_on_an_unknown_chain() {
        assert_eq!(SessionProtocol::V1.default_escrow(1), None);
        assert_eq!(SessionProtocol::V2.default_escrow(1), Some(CHANNEL_RESERVE));
    }
}
