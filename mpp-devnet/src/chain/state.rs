//! Everything the chain remembers: balances, nonces, channels.

use crate::chain::table::Table;
use alloy_primitives::{Address, B256, U256};

/// A TIP-20 token's own fields.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) name: String,
    pub(crate) symbol: String,
    pub(crate) paused: bool,
    pub(crate) total_supply: U256,
    /// Holder of the issuer, pause, unpause and burn roles.
    pub(crate) admin: Address,
}

/// A v1 channel as the contract stores it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StreamChannel {
    pub(crate) finalized: bool,
    pub(crate) close_requested_at: u64,
    pub(crate) payer: Address,
    pub(crate) payee: Address,
    pub(crate) token: Address,
    pub(crate) authorized_signer: Address,
    pub(crate) deposit: u128,
    pub(crate) settled: u128,
}

/// The single packed slot of a v2 channel; amounts fit 96 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReserveChannel {
    pub(crate) settled: u128,
    pub(crate) deposit: u128,
    pub(crate) close_requested_at: u32,
}

macro_rules! state {
    ($($(#[$doc:meta])* $field:ident: $key:ty => $value:ty),* $(,)?) => {
        /// The chain state, a set of undoable tables.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct State { $($(#[$doc])* pub(crate) $field: Table<$key, $value>,)* }

        /// A point in the state's history.
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct Mark { $($field: usize,)* }

        impl State {
            pub(crate) fn mark(&self) -> Mark {
                Mark { $($field: self.$field.mark(),)* }
            }

            /// Forgets every write made after `mark`.
            pub(crate) fn rollback(&mut self, mark: Mark) {
                $(self.$field.rollback(mark.$field);)*
            }
        }
    };
}

state! {
    /// By token address.
    tokens: Address => Token,
    /// By token and owner.
    balances: (Address, Address) => U256,
    /// By token, owner and spender.
    allowances: (Address, Address, Address) => U256,
    /// Accounts on the shared transfer blacklist.
    frozen: Address => (),
    /// By account and nonce key; key zero is the protocol nonce.
    nonces: (Address, U256) => u64,
    /// Replay set of expiring nonces: hash to expiry (unix seconds).
    seen: B256 => u64,
    /// Fee token preferences.
    fee_tokens: Address => Address,
    /// v1 channels.
    streams: B256 => StreamChannel,
    /// v2 channels that are open.
    reserves: B256 => ReserveChannel,
}

impl State {
    pub(crate) fn balance(&self, token: Address, owner: Address) -> U256 {
        self.balances
            .get(&(token, owner))
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn allowance(&self, token: Address, owner: Address, spender: Address) -> U256 {
        self.allowances
            .get(&(token, owner, spender))
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn nonce(&self, account: Address, key: U256) -> u64 {
        self.nonces
            .get(&(account, key))
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn is_frozen(&self, account: Address) -> bool {
        self.frozen.get(&account).is_some()
    }
}
