//! The request of a session challenge and the event that asks for a voucher.

use alloc::string::String;
use alloy_primitives::Address;
use mpp_core::Amount;
use serde::{Deserialize, Serialize};

use super::{SessionSnapshot, default_chain_id};
use crate::channel::{ChannelId, SessionProtocol};

/// `request` of a challenge with `method="tempo"` and `intent="session"` (PROTOCOL 5.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRequest {
    /// Price of one unit, in base units.
    pub amount: Amount,
    /// TIP-20 token that is paid.
    pub currency: Address,
    /// The payee.
    pub recipient: Address,
    /// What one unit is, for example `word`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_type: Option<String>,
    /// Deposit that the server proposes, in base units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested_deposit: Option<Amount>,
    /// Text for people; never interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where and how the channel lives.
    pub method_details: SessionDetails,
}

/// `methodDetails` of a session request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionDetails {
    /// Escrow that holds the channel.
    pub escrow_contract: Address,
    /// EIP-155 chain id; mainnet if absent.
    #[serde(default = "default_chain_id")]
    pub chain_id: u64,
    /// Protocol version; absent means v1, see [`SessionDetails::protocol`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_protocol: Option<SessionProtocol>,
    /// Channel that the server proposes to resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<ChannelId>,
    /// Smallest increase between two vouchers, in base units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_voucher_delta: Option<Amount>,
    /// Whether the server pays the fees of open and topUp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_payer: Option<bool>,
    /// Operator that a v2 descriptor must name; zero if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Address>,
    /// State of the channel that the server proposes to resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_snapshot: Option<SessionSnapshot>,
}

impl SessionDetails {
    /// The protocol version: v1 unless the challenge says otherwise.
    #[must_use]
    pub fn protocol(&self) -> SessionProtocol {
        self.session_protocol.unwrap_or(SessionProtocol::V1)
    }

    /// Whether the server pays the fees of open and topUp.
    #[must_use]
    pub fn is_sponsored(&self) -> bool {
        self.fee_payer.unwrap_or(false)
    }
}

/// Data of a `payment-need-voucher` event (PROTOCOL 5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NeedVoucher {
    /// The channel that ran short.
    pub channel_id: ChannelId,
    /// Cumulative amount that lets the stream go on, in base units.
    pub required_cumulative: Amount,
    /// Cumulative amount of the highest accepted voucher, in base units.
    pub accepted_cumulative: Amount,
    /// Deposit of the channel, in base units.
    pub deposit: Amount,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    // PROTOCOL 5.1; the request of a recorded challenge of a deployed server.
    #[test]
    fn a_recorded_request_survives() {
        let recorded = json!({
            "amount": "1000",
            "currency": "0x20c0000000000000000000000000000000000000",
            "methodDetails": {
                "chainId": 42431,
                "escrowContract": "0x4d50500000000000000000000000000000000000",
                "feePayer": true,
                "sessionProtocol": "v2"
            },
            "recipient": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
            "suggestedDeposit": "10000",
            "unitType": "word"
        });
        let request: SessionRequest = serde_json::from_value(recorded.clone()).unwrap();
        assert_eq!(request.method_details.protocol(), SessionProtocol::V2);
        assert!(request.method_details.is_sponsored());
        let mut written = recorded;
        written["recipient"] = Value::from("0x70997970c51812dc3a010c7d01b50e0d17dc79c8");
        assert_eq!(serde_json::to_value(&request).unwrap(), written);
    }

    // PROTOCOL 5.1: `sessionProtocol` absent means v1.
    #[test]
    fn absent_details_have_their_defaults() {
        let details: SessionDetails = serde_json::from_value(json!({
            "escrowContract": "0xe1c4d3dce17bc111181ddf716f75bae49e61a336",
            "unknownMember": [1]
        }))
        .unwrap();
        assert_eq!(details.protocol(), SessionProtocol::V1);
        assert_eq!(details.chain_id, 4217);
        assert!(!details.is_sponsored());
    }

    fn need_voucher() -> Value {
        json!({
            "channelId": "0x0000000000000000000000000000000000000000000000000000000000000001",
            "requiredCumulative": "2000",
            "acceptedCumulative": "1000",
            "deposit": "1500"
        })
    }

    // Draft-tempo-session-00, Insufficient Balance During Streaming: four members, all required.
    #[test]
    fn need_voucher_has_its_four_members() {
        let event = need_voucher();
        let read: NeedVoucher = serde_json::from_value(event.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), event);
        for member in event.as_object().unwrap().keys() {
            let mut partial = event.clone();
            partial.as_object_mut().unwrap().remove(member);
            assert!(
                serde_json::from_value::<NeedVoucher>(partial).is_err(),
                "{member}"
            );
        }
    }

    // Case A32: amounts are decimal strings, never JSON numbers.
    #[test]
    fn numbers_are_not_amounts() {
        let event = need_voucher();
        for bad in [
            json!(1500),
            json!("0x10"),
            json!("-1"),
            json!("1e3"),
            json!("1.5"),
        ] {
            let mut broken = event.clone();
            broken["deposit"] = bad;
            assert!(serde_json::from_value::<NeedVoucher>(broken).is_err());
        }
    }
}
