//! What a transaction needs beside its calls: chain, time and fees.

use core::time::Duration;

use alloy_primitives::Address;
use mpp_core::Timestamp;

/// The fees that a transaction offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxFees {
    /// Upper limit for base fee plus tip, in attodollars per gas.
    pub max_fee_per_gas: u128,
    /// Tip, in attodollars per gas.
    pub max_priority_fee_per_gas: u128,
    /// Gas limit, for example from [`crate::tx::gas`].
    pub gas_limit: u64,
}

/// Who pays the fees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeeMode {
    /// The sender, in this token.
    SelfPaid {
        /// TIP-20 token that the fees are taken from.
        fee_token: Address,
    },
    /// A fee payer that signs later and chooses the token.
    Sponsored,
}

/// What a transaction needs beside its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxContext {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The present.
    pub now: Timestamp,
    /// How long the transaction may be mined; chains accept at most 30 s for expiring nonces.
    pub valid_for: Duration,
    /// Fees.
    pub fees: TxFees,
    /// Who pays them.
    pub fee_mode: FeeMode,
    /// Start of validity in Unix seconds. A random moment in the past makes two transactions
    /// with equal calls different, which an expiring nonce needs.
    pub valid_after: Option<u64>,
}
