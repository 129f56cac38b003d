//! What the tests of several modules share.

use alloy_primitives::{Address, B256};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::channel::{ChannelDescriptor, ChannelTerms, SessionProtocol};
use crate::network::{CHANNEL_RESERVE, Network};
use crate::signer::LocalSigner;

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

/// What deployed peers sent, from `vectors/tempo/recorded.json`.
#[cfg(feature = "tx")]
pub(crate) fn recorded() -> Value {
    serde_json::from_str(include_str!("../../vectors/tempo/recorded.json")).unwrap()
}

/// Dev account 2 of the well-known mnemonic, the payer of the recordings.
pub(crate) fn payer() -> LocalSigner {
    key("0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a")
}

/// Dev account 9, the sponsor of the recordings.
#[cfg(feature = "tx")]
pub(crate) fn sponsor() -> LocalSigner {
    key("0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6")
}

fn key(hex: &str) -> LocalSigner {
    LocalSigner::from_hex(hex).unwrap()
}
