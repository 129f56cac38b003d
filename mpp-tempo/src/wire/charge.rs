//! Requests and payloads of charges (PROTOCOL 4).

use alloc::string::String;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes};
use mpp_core::Amount;
use serde::{Deserialize, Serialize};

use super::default_chain_id;
use crate::voucher::VoucherSignature;

/// `request` of a challenge with `method="tempo"` and `intent="charge"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChargeRequest {
    /// Total price in base units; zero asks for a proof of identity only.
    pub amount: Amount,
    /// TIP-20 token that is paid.
    pub currency: Address,
    /// Who gets what the splits leave.
    pub recipient: Address,
    /// Text for people; never interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The server's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// How it is paid.
    #[serde(default)]
    pub method_details: ChargeDetails,
}

/// `methodDetails` of a charge request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChargeDetails {
    /// EIP-155 chain id; mainnet if absent.
    #[serde(default = "default_chain_id")]
    pub chain_id: u64,
    /// Whether the server pays the fees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_payer: Option<bool>,
    /// Memo that the primary transfer must carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<B256>,
    /// Parts of the amount that go elsewhere: 1 to 10, each above zero, in sum below the amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splits: Option<Vec<Split>>,
    /// How the client may pay; all ways if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supported_modes: Option<Vec<ChargeMode>>,
}

impl Default for ChargeDetails {
    /// What a request without details means.
    fn default() -> Self {
        Self {
            chain_id: default_chain_id(),
            fee_payer: None,
            memo: None,
            splits: None,
            supported_modes: None,
        }
    }
}

/// A part of a charge that goes to another recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// Amount in base units.
    pub amount: Amount,
    /// Memo that the transfer must carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<B256>,
    /// Who gets it.
    pub recipient: Address,
}

/// Who broadcasts the payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChargeMode {
    /// The server broadcasts the client's transaction.
    Pull,
    /// The client broadcasts and shows the hash.
    Push,
}

/// Payload of a charge credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ChargePayload {
    /// A signed transaction, 0x76 or 0x78 (pull).
    Transaction {
        /// The transaction; the wire calls it `signature`.
        #[serde(rename = "signature")]
        transaction: Bytes,
    },
    /// The hash of a mined transaction (push).
    Hash {
        /// Transaction hash.
        hash: B256,
    },
    /// A proof of identity for an amount of zero.
    Proof {
        /// Signature as in [`crate::charge::ProofTerms`].
        signature: VoucherSignature,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // PROTOCOL 4: the request with everything in it.
    #[test]
    fn a_full_request_survives() {
        let request = json!({
            "amount": "10000",
            "currency": "0x20c0000000000000000000000000000000000000",
            "recipient": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
            "description": "two parts",
            "externalId": "order-1",
            "methodDetails": {
                "chainId": 42431,
                "feePayer": true,
                "memo": "0x00000000000000000000000000000000000000000000000000000000deadbeef",
                "splits": [{
                    "amount": "4000",
                    "recipient": "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"
                }],
                "supportedModes": ["pull", "push"]
            }
        });
        let read: ChargeRequest = serde_json::from_value(request.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), request);
        // What is not known yet is passed over, in each object.
        let mut newer = request;
        newer["later"] = json!(1);
        newer["methodDetails"]["later"] = json!(1);
        newer["methodDetails"]["splits"][0]["later"] = json!(1);
        assert_eq!(
            serde_json::from_value::<ChargeRequest>(newer).unwrap(),
            read
        );
    }

    #[test]
    fn details_may_be_absent() {
        let read: ChargeRequest = serde_json::from_value(json!({
            "amount": "1",
            "currency": "0x20c0000000000000000000000000000000000000",
            "recipient": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
        }))
        .unwrap();
        assert_eq!(read.method_details, ChargeDetails::default());
        assert_eq!(read.method_details.chain_id, 4217);
    }

    // PROTOCOL 4: the three payload types.
    #[test]
    fn payloads_survive() {
        let signature = crate::testing::golden()["proof"][0]["signature"].clone();
        for payload in [
            json!({"type": "transaction", "signature": "0x7601"}),
            json!({"type": "hash", "hash": B256::repeat_byte(0xAB)}),
            json!({"type": "proof", "signature": signature}),
        ] {
            let read: ChargePayload = serde_json::from_value(payload.clone()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), payload);
        }
        for broken in [
            json!({"type": "card"}),
            json!({"type": "transaction"}),
            json!({"type": "transaction", "hash": B256::repeat_byte(0xAB)}),
            json!({"type": "hash", "signature": "0x7601"}),
            json!({"type": "proof"}),
            json!({"signature": "0x7601"}),
        ] {
            let read = serde_json::from_value::<ChargePayload>(broken.clone());
            assert!(read.is_err(), "{broken}");
        }
    }
}
