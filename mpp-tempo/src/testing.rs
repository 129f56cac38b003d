//! What the tests of several modules share.

use alloy_primitives::{Address, B256};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::channel::{ChannelDescriptor, ChannelTerms, SessionProtocol};
use crate::network::{CHANNEL_RESERVE, Network};

/// The golden values of `vectors/tempo/golden.json`.
pub(crate) fn golden() -> Value {
    serde_json::from_str(include_str!("../../vectors/tempo/golden.json")).unwrap()
}

/// A typed member of a JSON object.
#[track_caller]
pub(crate) fn field<T: DeserializeOwned>(object: &Value, member: &str) -> T {
    serde_json::from_value(object[member].clone()).unwrap()
}

/// Terms of a channel on the testnet whose payer signs.
pub(crate) fn terms_signed_by(protocol: SessionProtocol, payer: Address) -> ChannelTerms {
    let v2 = protocol == SessionProtocol::V2;
    ChannelTerms {
        protocol,
        chain_id: Network::MODERATO.chain_id,
        escrow: if v2 {
            CHANNEL_RESERVE
        } else {
            Network::MODERATO.stream_channel
        },
        descriptor: ChannelDescriptor {
            payer,
            payee: Address::repeat_byte(0x22),
            operator: Address::ZERO,
            token: crate::network::PATH_USD,
            salt: B256::repeat_byte(0x33),
            authorized_signer: Address::ZERO,
            expiring_nonce_hash: if v2 {
                B256::repeat_byte(0x44)
            } else {
                B256::ZERO
            },
        },
    }
}
