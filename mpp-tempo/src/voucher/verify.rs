//! Verification of vouchers against the terms of one channel. The hot path of a paid request.

use alloy_primitives::{Address, B256};
use mpp_core::Amount;

use super::{SignedVoucher, VerifiedVoucher, VoucherDomain, VoucherError, VoucherSignature};
use crate::channel::{ChannelId, ChannelTerms, SessionProtocol};

/// Verifies the vouchers of one channel.
///
/// Channel id, domain separator and signer are computed once. What it accepts is what the escrow
/// accepts on chain, so an accepted voucher can be settled. Verifying a secp256k1 voucher does
/// not allocate.
///
/// The verifier judges the signature only: order, deposit and delta are rules of the session
/// and cheaper, so they come first (PROTOCOL 5.4).
#[derive(Clone, Debug)]
pub struct VoucherVerifier {
    domain: VoucherDomain,
    signer: Address,
}

impl VoucherVerifier {
    /// Fixes the verifier to a channel.
    #[must_use]
    pub fn new(terms: &ChannelTerms) -> Self {
        Self {
            domain: VoucherDomain::new(terms),
            signer: terms.signer(),
        }
    }

    /// The channel whose vouchers verify here.
    #[must_use]
    pub const fn channel_id(&self) -> ChannelId {
        self.domain.channel_id()
    }

    /// The account whose vouchers verify here.
    #[must_use]
    pub const fn signer(&self) -> Address {
        self.signer
    }

    /// Digest that a voucher of this channel signs.
    #[must_use]
    pub fn digest(&self, cumulative: Amount) -> B256 {
        self.domain.digest(cumulative)
    }

    /// Verifies a voucher (draft-tempo-session-00, Voucher Verification 2 to 4).
    ///
    /// # Errors
    /// [`VoucherError`]; the checks run from cheap to dear.
    pub fn verify(&self, signed: &SignedVoucher) -> Result<VerifiedVoucher, VoucherError> {
        if signed.voucher.channel_id != self.domain.channel_id() {
            return Err(VoucherError::WrongChannel);
        }
        let cumulative = signed.voucher.cumulative;
        if cumulative > self.domain.protocol().max_amount() {
            return Err(VoucherError::AmountTooLarge);
        }
        self.check(&self.domain.digest(cumulative), &signed.signature)?;
        Ok(VerifiedVoucher(signed.clone()))
    }

    /// Verifies a `closeSignature` over `cumulative` (PROTOCOL 5.2).
    ///
    /// # Errors
    /// [`VoucherError`]; amounts above `2^96 - 1` do not fit the signed type.
    pub fn verify_close_authorization(
        &self,
        cumulative: Amount,
        signature: &VoucherSignature,
    ) -> Result<(), VoucherError> {
        if cumulative > SessionProtocol::V2.max_amount() {
            return Err(VoucherError::AmountTooLarge);
        }
        self.check(&self.domain.close_digest(cumulative), signature)
    }

    fn check(&self, digest: &B256, signature: &VoucherSignature) -> Result<(), VoucherError> {
        // The v1 contract recovers secp256k1 only.
        if self.domain.protocol() == SessionProtocol::V1
            && !matches!(signature, VoucherSignature::Secp256k1(_))
        {
            return Err(VoucherError::InvalidSignature);
        }
        let recovered = signature
            .recover(digest)
            .map_err(|_| VoucherError::InvalidSignature)?;
        if recovered != self.signer {
            return Err(VoucherError::SignerMismatch {
                expected: self.signer,
                recovered,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
