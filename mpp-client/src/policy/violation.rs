//! What a policy refuses.

use alloy_primitives::Address;
use mpp_core::Amount;

/// A request of a server, or of the caller, that the policy does not allow.
///
/// Nothing was signed for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyViolation {
    /// The URL is not plain `http` or `https` with a host and without a password.
    #[error("only http and https URLs without credentials can be paid")]
    UnsupportedUrl,
    /// A credential would travel unencrypted.
    #[error("credentials are sent over https or to this machine only")]
    InsecureTransport,
    /// Another chain.
    #[error("payments on chain {chain_id} are not allowed")]
    ChainNotAllowed {
        /// The chain of the challenge.
        chain_id: u64,
    },
    /// Another token.
    #[error("payments in token {currency} are not allowed")]
    CurrencyNotAllowed {
        /// The token of the challenge.
        currency: Address,
    },
    /// A payee that is not on the list.
    #[error("payments to {recipient} are not allowed")]
    RecipientNotAllowed {
        /// The payee of the challenge.
        recipient: Address,
    },
    /// Another payee than the one this origin was paid to before.
    #[error("this server was paid at {pinned} before and now names {recipient}")]
    RecipientChanged {
        /// The payee so far.
        pinned: Address,
        /// The payee of the challenge.
        recipient: Address,
    },
    /// A split of a charge to somebody whom the first payment to this origin did not name.
    #[error("this server was not paid with splits to {recipient} before")]
    SplitNotExpected {
        /// Who would get the split.
        recipient: Address,
    },
    /// An escrow that is neither canonical nor on the list.
    #[error("deposits at escrow {escrow} are not allowed")]
    EscrowNotAllowed {
        /// The escrow of the challenge.
        escrow: Address,
    },
    /// One unit costs too much.
    #[error("a unit costs {price}, allowed is {limit}")]
    PriceTooHigh {
        /// The price of the challenge, in base units.
        price: Amount,
        /// The limit, in base units.
        limit: Amount,
    },
    /// The channel would hold too much.
    #[error("a deposit of {required} is needed, allowed is {limit}")]
    DepositTooLarge {
        /// What the channel would have to hold, in base units.
        required: Amount,
        /// The limit, in base units.
        limit: Amount,
    },
    /// One voucher would rise too far above the last.
    #[error("a voucher would rise by {step}, allowed is {limit}")]
    VoucherStepTooLarge {
        /// The increase, in base units.
        step: Amount,
        /// The limit, in base units.
        limit: Amount,
    },
    /// One stream would cost too much.
    #[error("the stream would cost {cost}, allowed is {limit}")]
    StreamTooExpensive {
        /// What it would have cost, in base units.
        cost: Amount,
        /// The limit, in base units.
        limit: Amount,
    },
    /// Too much lies in channels of this server already.
    #[error("{locked} would be locked in channels of this server, allowed is {limit}")]
    TooMuchLocked {
        /// What would be locked, in base units.
        locked: Amount,
        /// The limit, in base units.
        limit: Amount,
    },
    /// The policy takes sessions only.
    #[error("charges are not allowed")]
    ChargesNotAllowed,
    /// One charge is too high.
    #[error("a charge is {amount}, allowed is {limit}")]
    ChargeTooHigh {
        /// The amount of the challenge, in base units.
        amount: Amount,
        /// The limit, in base units.
        limit: Amount,
    },
    /// Too much was paid by charges within a day, to this server or to all.
    #[error("{charged} would be paid by charges within a day, allowed is {limit}")]
    ChargedTooMuch {
        /// What would have been paid, in base units.
        charged: Amount,
        /// The limit, in base units.
        limit: Amount,
    },
    /// Gas is too expensive.
    #[error("gas costs {quoted} attodollars, allowed is {limit}")]
    FeeTooHigh {
        /// The quote.
        quoted: u128,
        /// The limit.
        limit: u128,
    },
}
