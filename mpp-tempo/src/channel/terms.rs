//! The full terms of a channel and the id derived from them.

use alloy_primitives::{Address, B256, Keccak256, U256};
use serde::{Deserialize, Serialize};

use super::{ChannelDescriptor, ChannelId, SessionProtocol};
use crate::voucher::domain_separator;

/// Everything that fixes a channel: its descriptor and where it lives.
///
/// The terms never change during the life of a channel. The id and the voucher domain are derived
/// from them, so a voucher of another chain, contract or version never verifies (case A10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelTerms {
    /// Version of the session protocol.
    pub protocol: SessionProtocol,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The v1 contract or the v2 reserve.
    pub escrow: Address,
    /// The parties and parameters.
    pub descriptor: ChannelDescriptor,
}

impl ChannelTerms {
    /// The channel id: keccak over the ABI encoding of the terms (PROTOCOL 5.3).
    #[must_use]
    pub fn id(&self) -> ChannelId {
        let d = &self.descriptor;
        let mut hasher = Keccak256::new();
        hasher.update(d.payer.into_word());
        hasher.update(d.payee.into_word());
        if self.protocol == SessionProtocol::V2 {
            hasher.update(d.operator.into_word());
        }
        hasher.update(d.token.into_word());
        hasher.update(d.salt);
        hasher.update(d.authorized_signer.into_word());
        if self.protocol == SessionProtocol::V2 {
            hasher.update(d.expiring_nonce_hash);
        }
        hasher.update(self.escrow.into_word());
        hasher.update(U256::from(self.chain_id).to_be_bytes::<32>());
        hasher.finalize()
    }

    /// The address whose vouchers count: the authorized signer, or the payer if that is zero.
    #[must_use]
    pub fn signer(&self) -> Address {
        self.descriptor.signer()
    }

    /// EIP-712 domain separator of the vouchers of this channel.
    #[must_use]
    pub fn domain_separator(&self) -> B256 {
        domain_separator(self.protocol, self.chain_id, self.escrow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::golden;

    fn descriptor(case: &serde_json::Value) -> ChannelDescriptor {
        let mut filled = case.clone();
        let members = filled.as_object_mut().unwrap();
        for (member, zero) in [
            ("operator", serde_json::to_value(Address::ZERO).unwrap()),
            (
                "expiringNonceHash",
                serde_json::to_value(B256::ZERO).unwrap(),
            ),
        ] {
            members.entry(member).or_insert(zero);
        }
        serde_json::from_value(filled).unwrap()
    }

    // PROTOCOL 5.3: channelId of both versions.
    #[test]
    fn ids_equal_the_golden_values() {
        let golden = golden();
        let cases = golden["channel_id"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        for case in cases {
            let terms = ChannelTerms {
                protocol: serde_json::from_value(case["protocol"].clone()).unwrap(),
                chain_id: case["chainId"].as_u64().unwrap(),
                escrow: serde_json::from_value(case["escrow"].clone()).unwrap(),
                descriptor: descriptor(case),
            };
            let expected: B256 = serde_json::from_value(case["channelId"].clone()).unwrap();
            assert_eq!(terms.id(), expected, "{}", case["protocol"]);
        }
    }

    // Case A10: each term changes the id, so no id stands for two channels.
    #[test]
    fn every_term_changes_the_id() {
        let base = ChannelTerms {
            protocol: SessionProtocol::V2,
            chain_id: 1,
            escrow: Address::repeat_byte(9),
            descriptor: ChannelDescriptor::default(),
        };
        let other = Address::repeat_byte(1);
        let hash = B256::repeat_byte(1);
        let changes: [fn(&mut ChannelTerms, Address, B256); 9] = [
            |t, a, _| t.descriptor.payer = a,
            |t, a, _| t.descriptor.payee = a,
            |t, a, _| t.descriptor.operator = a,
            |t, a, _| t.descriptor.token = a,
            |t, _, h| t.descriptor.salt = h,
            |t, a, _| t.descriptor.authorized_signer = a,
            |t, _, h| t.descriptor.expiring_nonce_hash = h,
            |t, a, _| t.escrow = a,
            |t, _, _| t.chain_id = 2,
        ];
        for change in changes {
            let mut changed = base;
            change(&mut changed, other, hash);
            assert_ne!(changed.id(), base.id());
        }
        let v1 = ChannelTerms {
            protocol: SessionProtocol::V1,
            ..base
        };
        assert_ne!(v1.id(), base.id());
    }

    #[test]
    fn a_zero_authorized_signer_means_the_payer_signs() {
        let payer = Address::repeat_byte(1);
        let delegate = Address::repeat_byte(2);
        let own = ChannelDescriptor {
            payer,
            ..Default::default()
        };
        assert_eq!(own.signer(), payer);
        let delegated = ChannelDescriptor {
            authorized_signer: delegate,
            ..own
        };
        assert_eq!(delegated.signer(), delegate);
    }

    #[test]
    fn terms_survive_json() {
        let terms = ChannelTerms {
            protocol: SessionProtocol::V1,
            chain_id: 42431,
            escrow: Address::repeat_byte(0xAB),
            descriptor: ChannelDescriptor {
                payer: Address::repeat_byte(3),
                ..Default::default()
            },
        };
        let json = serde_json::to_value(terms).unwrap();
        assert_eq!(json["escrow"], "0xabababababababababababababababababababab");
        assert_eq!(serde_json::from_value::<ChannelTerms>(json).unwrap(), terms);
    }
}
