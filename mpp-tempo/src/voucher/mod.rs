//! Vouchers: cumulative promises to pay, signed off chain and verified on every paid request.
//!
//! A voucher says "the payee may collect `cumulative` in total from this channel". The signer
//! never takes it back, so the highest voucher is money: [`VoucherVerifier`] decides whether the
//! chain would honor one, and only it makes a [`VerifiedVoucher`].

use core::fmt;

use alloy_primitives::Address;
use mpp_core::Amount;

use crate::channel::ChannelId;

#[cfg(feature = "std")]
mod batch;
#[cfg(feature = "std")]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "limbs of fixed size: every function states its bounds, and the tests run with \
              overflow checks"
)]
mod curve;
#[cfg(feature = "std")]
mod digest;
mod domain;
#[cfg(feature = "std")]
mod engine;
mod p256;
mod referee;
mod sign;
mod signature;
mod verify;
mod webauthn;

pub use crate::signer::SignatureFormatError;
#[cfg(feature = "std")]
pub use batch::{BatchLengthMismatch, verify_batch};
#[cfg(feature = "std")]
pub use curve::Tier;
pub use domain::{VoucherDomain, domain_separator};
#[cfg(feature = "std")]
pub use engine::{UnsupportedTier, VerifierEngine};
pub use p256::P256Signature;
pub use referee::second_opinion;
pub use sign::{SignVoucherError, sign_close_authorization, sign_voucher};
pub use signature::VoucherSignature;
pub use verify::VoucherVerifier;
pub use webauthn::WebAuthnSignature;

/// A cumulative amount on a channel, not yet signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Voucher {
    /// The channel that pays.
    pub channel_id: ChannelId,
    /// Total the payee may collect since the channel was opened, in base units.
    pub cumulative: Amount,
}

/// A voucher with a signature that nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignedVoucher {
    /// What was signed.
    pub voucher: Voucher,
    /// The well-formed but unverified signature.
    pub signature: VoucherSignature,
}

/// A voucher that the chain would pay; made by [`VoucherVerifier::verify`] only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VerifiedVoucher(SignedVoucher);

impl VerifiedVoucher {
    /// The voucher.
    #[must_use]
    pub const fn voucher(&self) -> &Voucher {
        &self.0.voucher
    }

    /// Total the payee may collect, in base units.
    #[must_use]
    pub const fn cumulative(&self) -> Amount {
        self.0.voucher.cumulative
    }

    /// The channel that pays.
    #[must_use]
    pub const fn channel_id(&self) -> ChannelId {
        self.0.voucher.channel_id
    }

    /// The signature, as needed for settlement.
    #[must_use]
    pub const fn signature(&self) -> &VoucherSignature {
        &self.0.signature
    }

    /// The voucher with its signature.
    #[must_use]
    pub const fn as_signed(&self) -> &SignedVoucher {
        &self.0
    }

    /// Gives up the mark of verification, for storage and settlement.
    #[must_use]
    pub fn into_signed(self) -> SignedVoucher {
        self.0
    }
}

impl fmt::Debug for VerifiedVoucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifiedVoucher")
            .field(&self.0.voucher)
            .finish()
    }
}

/// Why a voucher is not accepted. Crypto failures say only that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoucherError {
    /// The signature does not verify, or this protocol version does not know its kind.
    #[error("voucher signature is invalid")]
    InvalidSignature,
    /// A valid signature of another key.
    #[error("voucher is signed by another key")]
    SignerMismatch {
        /// The account that the channel expects.
        expected: Address,
        /// The account that signed (for an honest peer; an altered voucher yields a random one).
        recovered: Address,
    },
    /// The voucher belongs to another channel.
    #[error("voucher belongs to another channel")]
    WrongChannel,
    /// The amount does not fit the integers of the protocol version.
    #[error("voucher amount exceeds the protocol's range")]
    AmountTooLarge,
}
