//! The Tempo networks and the addresses that are the same on all of them.

use alloy_primitives::{Address, address};

use crate::channel::SessionProtocol;

/// Decimals of every TIP-20 token: one token is 10^6 base units.
pub const TIP20_DECIMALS: u8 = 6;

/// Seconds between `requestClose` and the first moment at which `withdraw` succeeds.
pub const CLOSE_GRACE_SECS: u64 = 900;

/// The v2 channel reserve, a precompile at the same address on every network (TIP-1034).
pub const CHANNEL_RESERVE: Address = address!("4d50500000000000000000000000000000000000");

/// pathUSD, the first TIP-20 token.
pub const PATH_USD: Address = address!("20c0000000000000000000000000000000000000");

/// The precompile that verifies signatures on chain.
pub const SIGNATURE_VERIFIER: Address = address!("5165300000000000000000000000000000000000");

/// The precompile that exchanges stablecoins, and so fee tokens.
pub const STABLECOIN_DEX: Address = address!("dec0000000000000000000000000000000000000");

/// The precompile that holds the access keys of accounts.
pub const ACCOUNT_KEYCHAIN: Address = address!("aaaaaaaa00000000000000000000000000000000");

/// The precompile that collects transaction fees.
pub const FEE_MANAGER: Address = address!("feec000000000000000000000000000000000000");

/// USDC.e on mainnet.
const USDC_E: Address = address!("20c000000000000000000000b9537d11c60e8b50");

/// The facts of one Tempo network (PROTOCOL 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Short lower-case name.
    pub name: &'static str,
    /// Public JSON-RPC endpoint.
    pub rpc_url: &'static str,
    /// The token that prices use unless the configuration names another.
    pub default_currency: Address,
    /// The v1 escrow contract (TempoStreamChannel).
    pub stream_channel: Address,
    /// The v2 escrow, always [`CHANNEL_RESERVE`].
    pub channel_reserve: Address,
}

impl Network {
    /// Tempo mainnet.
    pub const MAINNET: Self = Self {
        chain_id: 4217,
        name: "mainnet",
        rpc_url: "https://rpc.tempo.xyz",
        default_currency: USDC_E,
        stream_channel: address!("33b901018174ddabe4841042ab76ba85d4e24f25"),
        channel_reserve: CHANNEL_RESERVE,
    };

    /// The Moderato testnet.
    pub const MODERATO: Self = Self {
        chain_id: 42431,
        name: "moderato",
        rpc_url: "https://rpc.moderato.tempo.xyz",
        default_currency: PATH_USD,
        stream_channel: address!("e1c4d3dce17bc111181ddf716f75bae49e61a336"),
        channel_reserve: CHANNEL_RESERVE,
    };

    /// Every known network.
    pub const ALL: [Self; 2] = [Self::MAINNET, Self::MODERATO];

    /// The network with this chain id, if it is a known one.
    #[must_use]
    pub fn by_chain_id(chain_id: u64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|network| network.chain_id == chain_id)
    }

    /// The escrow that holds the channels of `protocol` on this network.
    #[must_use]
    pub const fn escrow(&self, protocol: SessionProtocol) -> Address {
        match protocol {
            SessionProtocol::V1 => self.stream_channel,
            SessionProtocol::V2 => self.channel_reserve,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    // PROTOCOL 3: the table of networks.
    #[test]
    fn networks_have_the_addresses_of_the_protocol_table() {
        let check = |network: Network, id: u64, currency: &str, escrow: &str| {
            assert_eq!(Network::by_chain_id(id), Some(network));
            assert_eq!(
                network.default_currency.to_string().to_lowercase(),
                currency
            );
            assert_eq!(network.stream_channel.to_string().to_lowercase(), escrow);
            assert_eq!(network.escrow(SessionProtocol::V1), network.stream_channel);
            assert_eq!(
                network
                    .escrow(SessionProtocol::V2)
                    .to_string()
                    .to_lowercase(),
                "0x4d50500000000000000000000000000000000000"
            );
        };
        check(
            Network::MAINNET,
            4217,
            "0x20c000000000000000000000b9537d11c60e8b50",
            "0x33b901018174ddabe4841042ab76ba85d4e24f25",
        );
        check(
            Network::MODERATO,
            42431,
            "0x20c0000000000000000000000000000000000000",
            "0xe1c4d3dce17bc111181ddf716f75bae49e61a336",
        );
    }

    #[test]
    fn an_unknown_chain_id_has_no_network() {
        assert_eq!(Network::by_chain_id(1), None);
    }
}
