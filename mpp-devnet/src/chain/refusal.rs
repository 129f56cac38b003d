//! Why the node does not take a transaction.

use alloy_primitives::{Address, U256};

/// A transaction the node refuses; it leaves no trace on chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are not a transaction. A 0x78 envelope is one of these: it is for fee payers, not for the chain.
    #[error("failed to decode signed transaction: {0}")]
    Undecodable(String),
    /// The sender's signature does not verify.
    #[error("invalid transaction signature")]
    InvalidSignature,
    /// The fee payer's signature does not verify, or is the placeholder.
    #[error("fee payer signature recovery failed")]
    InvalidFeePayerSignature,
    /// Sender and fee payer are one account.
    #[error("fee payer cannot resolve to sender")]
    SelfSponsored,
    /// Something the real chain has and this node does not.
    #[error("{0} is not supported by this node")]
    Unsupported(&'static str),
    /// Signed for another chain.
    #[error("invalid chain ID: expected {expected}")]
    WrongChain {
        /// This chain's id.
        expected: u64,
    },
    /// Tempo has no native value.
    #[error("value transfer in Tempo Transaction not allowed")]
    ValueTransfer,
    /// The structure is invalid.
    #[error("{0}")]
    Malformed(&'static str),
    /// The nonce was used.
    #[error("nonce too low: next nonce {expected}, tx nonce {found}")]
    NonceTooLow {
        /// The account's next nonce under this key.
        expected: u64,
        /// The transaction's nonce.
        found: u64,
    },
    /// The expiring nonce was used.
    #[error("expiring nonce replay: transaction already seen")]
    ExpiringNonceReplay,
    /// An expiring nonce without an end.
    #[error("expiring nonce transaction requires valid_before to be set")]
    ExpiringNonceWithoutEnd,
    /// An expiring nonce with a sequence number.
    #[error("expiring nonce transaction must have nonce == 0")]
    ExpiringNonceNotZero,
    /// `validBefore` lies too far ahead for an expiring nonce.
    #[error("expiring nonce valid_before {valid_before} exceeds max allowed {max}")]
    ExpiryTooFar {
        /// The transaction's bound, unix seconds.
        valid_before: u64,
        /// The latest bound the chain takes now.
        max: u64,
    },
    /// `validBefore` is past or too close.
    #[error("'valid_before' {valid_before} is too close to current time (min allowed: {min})")]
    Expired {
        /// The transaction's bound, unix seconds.
        valid_before: u64,
        /// The bound must be above this.
        min: u64,
    },
    /// `validAfter` lies too far ahead to be held.
    #[error("'valid_after' {valid_after} is too far in the future (max allowed: {max})")]
    NotYetValid {
        /// The transaction's bound, unix seconds.
        valid_after: u64,
        /// The latest bound the pool holds.
        max: u64,
    },
    /// The gas limit does not cover the transaction itself.
    #[error("intrinsic gas too low: {required} required, {limit} given")]
    IntrinsicGas {
        /// Gas needed before any call runs.
        required: u64,
        /// The transaction's limit.
        limit: u64,
    },
    /// The gas limit is above the block's.
    #[error("exceeds block gas limit")]
    BlockGasLimit,
    /// The fee cap is below the base fee.
    #[error("max fee per gas less than block base fee: {max_fee} < {base_fee}")]
    FeeCapTooLow {
        /// The transaction's cap.
        max_fee: u128,
        /// The chain's base fee.
        base_fee: u64,
    },
    /// The priority fee is above the fee cap.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFeeCap,
    /// The fee token is not a TIP-20 of this chain.
    #[error("fee token {0} is not a TIP-20 token; fee tokens must be TIP-20 tokens")]
    UnknownFeeToken(Address),
    /// The fee token is paused.
    #[error("fee token {0} is paused and cannot be used for fees")]
    FeeTokenPaused(Address),
    /// The transfer policy forbids the fee payer to pay.
    #[error("fee payer {0} is blocked by the fee token's transfer policy")]
    FeePayerBlocked(Address),
    /// The fee payer can not pay.
    #[error("insufficient funds for gas * price: balance {balance}, cost {cost}")]
    InsufficientFunds {
        /// The fee payer's balance of the fee token.
        balance: U256,
        /// The largest fee the transaction may cost.
        cost: U256,
    },
    /// The transaction waits in the pool already.
    #[error("already known")]
    AlreadyKnown,
}
