//! Errors of building, reading and cosigning transactions.

use crate::escrow::DescriptorRange;
use crate::signer::SignerError;

/// Why a transaction can not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An amount does not fit the integers of the protocol version.
    #[error(transparent)]
    AmountTooLarge(#[from] DescriptorRange),
    /// The validity window lies outside of what a transaction can express, or is empty.
    #[error("transaction validity is out of range")]
    Validity,
    /// The voucher belongs to another channel.
    #[error("voucher belongs to another channel")]
    WrongChannel,
    /// The capture exceeds the voucher, or differs from it where v1 has no capture argument.
    #[error("capture does not agree with the voucher")]
    Capture,
    /// There is nothing to do.
    #[error("transaction has no calls")]
    NoCalls,
}

/// Why bytes are not an acceptable signed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
    /// The first byte is neither 0x76 nor 0x78.
    #[error("transaction type is neither 0x76 nor 0x78")]
    Type,
    /// The rest is not the RLP of a transaction.
    #[error("transaction is not well-formed")]
    Malformed,
    /// The sender's signature does not verify.
    #[error("transaction signature is invalid")]
    Signature,
    /// The 0x78 envelope names another sender than the one that signed.
    #[error("fee-payer envelope names another sender")]
    SenderMismatch,
    /// The fee payer's signature does not verify.
    #[error("fee payer signature is invalid")]
    FeePayerSignature,
}

/// Why a transaction was not cosigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CosignError {
    /// The sender pays the fees itself, or somebody has signed for them.
    #[error("transaction does not ask for a fee payer")]
    NotRequested,
    /// The signer failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// A remote fee payer answered with something else than the transaction it was to sign.
    #[error("fee payer answered with another transaction")]
    Altered,
}
