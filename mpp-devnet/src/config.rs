//! What a chain starts with.

use alloy_primitives::{Address, U256, address};
use core::time::Duration;
use tempo_contracts::precompiles::PATH_USD_ADDRESS;

/// The v1 escrow's address on the Moderato testnet, where deployed clients expect it.
pub const STREAM_CHANNEL: Address = address!("0xe1c4d3dce17bc111181ddf716f75bae49e61a336");

/// A token that exists from block zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisToken {
    /// TIP-20 address, `0x20c0...`.
    pub address: Address,
    /// Token name.
    pub name: String,
    /// Token symbol.
    pub symbol: String,
}

/// When transactions are mined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mining {
    /// Every transaction gets its own block at once.
    #[default]
    Automatic,
    /// Transactions wait for [`Devnet::mine`](crate::Devnet::mine) or `evm_mine`.
    Manual,
}

/// Where chain time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeSource {
    /// The wall clock plus an offset that [`Devnet::advance_time`](crate::Devnet::advance_time) moves.
    #[default]
    WallClock,
    /// Stands at these unix seconds until moved; runs are then reproducible.
    Fixed(u64),
}

/// Settings of a [`Devnet`](crate::Devnet); `default()` looks like the Moderato testnet.
#[derive(Debug, Clone)]
pub struct DevnetConfig {
    /// EIP-155 chain id, also part of channel ids and voucher domains.
    pub chain_id: u64,
    /// Address of the v1 escrow. The v2 reserve has its fixed precompile address.
    pub stream_channel: Address,
    /// Tokens of the genesis block; the first is the default fee token.
    pub tokens: Vec<GenesisToken>,
    /// Balance of every development account in every genesis token (base units).
    pub funds: U256,
    /// Base fee per gas in attodollars (10^-18 of a token); it never moves.
    pub base_fee: u64,
    /// Longest validity of an expiring nonce, counted from the block that takes it.
    pub max_expiry: Duration,
    /// Most calls of one transaction that the pool takes; 32 on the public networks.
    pub max_calls: usize,
    /// How long `eth_sendRawTransactionSync` waits for a receipt, and the in-process client too.
    pub sync_timeout: Duration,
    /// When transactions are mined.
    pub mining: Mining,
    /// Where chain time comes from.
    pub time: TimeSource,
}

impl Default for DevnetConfig {
    fn default() -> Self {
        let token = |last: u64, name: &str| GenesisToken {
            address: nth_token(last),
            name: name.to_owned(),
            symbol: name.to_owned(),
        };
        Self {
            chain_id: 42431,
            stream_channel: STREAM_CHANNEL,
            tokens: vec![
                token(0, "pathUSD"),
                token(1, "AlphaUSD"),
                token(2, "BetaUSD"),
                token(3, "ThetaUSD"),
            ],
            funds: U256::from(u64::MAX),
            base_fee: 1_000_000_000,
            max_expiry: Duration::from_secs(30),
            max_calls: 32,
            sync_timeout: Duration::from_secs(5),
            mining: Mining::default(),
            time: TimeSource::default(),
        }
    }
}

/// The genesis token with this number: pathUSD is 0, AlphaUSD 1, BetaUSD 2, ThetaUSD 3.
#[must_use]
pub fn nth_token(number: u64) -> Address {
    let base = U256::from_be_slice(PATH_USD_ADDRESS.as_slice());
    let sum = base.wrapping_add(U256::from(number));
    Address::from_word(sum.into())
}
