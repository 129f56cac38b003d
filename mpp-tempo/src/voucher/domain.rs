//! EIP-712 domains and digests of vouchers and close authorizations (PROTOCOL 5.3).

use alloy_primitives::{Address, B256, U256, b256, keccak256};
use mpp_core::Amount;

use crate::channel::{ChannelId, ChannelTerms, SessionProtocol};

/// `keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")`.
const DOMAIN_TYPE: B256 = b256!("8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f");
/// `keccak256("CloseAuthorization(bytes32 channelId,uint96 cumulativeAmount)")`.
const CLOSE_TYPE: B256 = b256!("15588a02d9b068ec4a4593a3d3bd1068f3614e6c28e013500ce554846f4b4646");
/// Version in the EIP-712 domain of both protocol versions.
const DOMAIN_VERSION: &str = "1";

/// The EIP-712 domain separator of one escrow on one chain.
#[must_use]
pub fn domain_separator(protocol: SessionProtocol, chain_id: u64, escrow: Address) -> B256 {
    let mut encoded = [0; 160];
    encoded[..32].copy_from_slice(DOMAIN_TYPE.as_slice());
    encoded[32..64].copy_from_slice(keccak256(protocol.domain_name()).as_slice());
    encoded[64..96].copy_from_slice(keccak256(DOMAIN_VERSION).as_slice());
    encoded[96..128].copy_from_slice(&U256::from(chain_id).to_be_bytes::<32>());
    encoded[128..].copy_from_slice(escrow.into_word().as_slice());
    keccak256(encoded)
}

/// The part of a voucher digest that is the same for every voucher of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoucherDomain {
    protocol: SessionProtocol,
    channel_id: ChannelId,
    separator: B256,
}

/// The parts of a voucher's EIP-712 digest, for whoever hashes several at once.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) separator: B256,
    pub(super) type_hash: B256,
    pub(super) channel_id: ChannelId,
    /// In base units.
    pub(super) cumulative: u128,
}

impl VoucherDomain {
    /// Fixes the domain of a channel.
    #[must_use]
    pub fn new(terms: &ChannelTerms) -> Self {
        Self {
            protocol: terms.protocol,
            channel_id: terms.id(),
            separator: terms.domain_separator(),
        }
    }

    /// Version of the session protocol.
    #[must_use]
    pub const fn protocol(&self) -> SessionProtocol {
        self.protocol
    }

    /// The channel.
    #[must_use]
    pub const fn channel_id(&self) -> ChannelId {
        self.channel_id
    }

    /// Digest that the signer of a voucher signs.
    #[must_use]
    pub fn digest(&self, cumulative: Amount) -> B256 {
        self.typed_data(self.protocol.type_hash(), cumulative)
    }

    /// Digest that authorizes the payee to close with a cumulative amount.
    ///
    /// Not in the draft; recent peers require it (PROTOCOL 5.2). Its type is the same for both
    /// protocol versions.
    #[must_use]
    pub fn close_digest(&self, cumulative: Amount) -> B256 {
        self.typed_data(CLOSE_TYPE, cumulative)
    }

    /// What the digest of a voucher is made of.
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    pub(super) const fn message(&self, cumulative: Amount) -> Message {
        Message {
            separator: self.separator,
            type_hash: self.protocol.type_hash(),
            channel_id: self.channel_id,
            cumulative: cumulative.base_units(),
        }
    }

    fn typed_data(&self, type_hash: B256, cumulative: Amount) -> B256 {
        let mut message = [0; 96];
        message[..32].copy_from_slice(type_hash.as_slice());
        message[32..64].copy_from_slice(self.channel_id.as_slice());
        message[80..].copy_from_slice(&cumulative.base_units().to_be_bytes());
        let mut signed = [0; 66];
        signed[0] = 0x19;
        signed[1] = 0x01;
        signed[2..34].copy_from_slice(self.separator.as_slice());
        signed[34..].copy_from_slice(keccak256(message).as_slice());
        keccak256(signed)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::{field, golden};

    pub(crate) fn golden_domain(case: &serde_json::Value) -> VoucherDomain {
        let protocol = field(case, "protocol");
        let separator = domain_separator(
            protocol,
            case["chainId"].as_u64().unwrap(),
            field(case, "verifyingContract"),
        );
        VoucherDomain {
            protocol,
            channel_id: field(case, "channelId"),
            separator,
        }
    }

    #[test]
    fn type_hashes_are_the_hashes_of_the_types() {
        assert_eq!(
            DOMAIN_TYPE,
            keccak256(
                "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
            )
        );
        assert_eq!(
            CLOSE_TYPE,
            keccak256("CloseAuthorization(bytes32 channelId,uint96 cumulativeAmount)")
        );
    }

    // PROTOCOL 5.3: digest of both versions.
    #[test]
    fn separators_and_digests_equal_the_golden_values() {
        let golden = golden();
        let cases = golden["voucher"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        for case in cases {
            let domain = golden_domain(case);
            assert_eq!(domain.separator, field::<B256>(case, "domainSeparator"));
            let cumulative = field(case, "cumulativeAmount");
            assert_eq!(domain.digest(cumulative), field::<B256>(case, "digest"));
            assert_ne!(domain.close_digest(cumulative), domain.digest(cumulative));
        }
    }
}
