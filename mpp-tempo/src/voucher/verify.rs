//! Verification of vouchers against the terms of one channel. The hot path of a paid request.

#[cfg(feature = "std")]
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use mpp_core::Amount;

#[cfg(feature = "std")]
use super::digest;
#[cfg(feature = "std")]
use super::engine::{SignerState, VerifierEngine};
use super::{SignedVoucher, VerifiedVoucher, VoucherDomain, VoucherError, VoucherSignature};
use crate::channel::{ChannelId, ChannelTerms, SessionProtocol};

/// Verifies the vouchers of one channel.
///
/// Channel id, domain separator and signer are computed once. What it accepts is what the escrow
/// accepts on chain, so an accepted voucher can be settled. Verifying a secp256k1 voucher does
/// not allocate.
///
/// With the `std` feature the signer's public key is learnt from its first voucher, and from the
/// third one on a table of its multiples makes verification several times faster; clones share
/// both. See [`VerifierEngine`](super::VerifierEngine).
///
/// The verifier judges the signature only: order, deposit and delta are rules of the session
/// and cheaper, so they come first (PROTOCOL 5.4).
#[derive(Clone, Debug)]
pub struct VoucherVerifier {
    domain: VoucherDomain,
    signer: Address,
    #[cfg(feature = "std")]
    state: Arc<SignerState>,
}

impl VoucherVerifier {
    /// Fixes the verifier to a channel.
    #[must_use]
    pub fn new(terms: &ChannelTerms) -> Self {
        #[cfg(feature = "std")]
        return Self::with_engine(terms, VerifierEngine::global());
        #[cfg(not(feature = "std"))]
        Self {
            domain: VoucherDomain::new(terms),
            signer: terms.signer(),
        }
    }

    /// Fixes the verifier to a channel, with the tier and the table memory of `engine`.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn with_engine(terms: &ChannelTerms, engine: &Arc<VerifierEngine>) -> Self {
        let signer = terms.signer();
        Self {
            domain: VoucherDomain::new(terms),
            signer,
            state: Arc::new(SignerState::new(Arc::clone(engine), signer)),
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
        #[cfg(feature = "std")]
        return digest::of(self, cumulative).into();
        #[cfg(not(feature = "std"))]
        self.domain.digest(cumulative)
    }

    /// Verifies a voucher (draft-tempo-session-00, Voucher Verification 2 to 4).
    ///
    /// # Errors
    /// [`VoucherError`]; the checks run from cheap to dear.
    pub fn verify(&self, signed: &SignedVoucher) -> Result<VerifiedVoucher, VoucherError> {
        self.check_content(signed)?;
        let digest = self.digest(signed.voucher.cumulative);
        self.check_signature(&digest, &signed.signature)?;
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
        self.check_signature(&self.domain.close_digest(cumulative), signature)
    }

    /// The checks that need no hash and no curve.
    pub(super) fn check_content(&self, signed: &SignedVoucher) -> Result<(), VoucherError> {
        if signed.voucher.channel_id != self.domain.channel_id() {
            return Err(VoucherError::WrongChannel);
        }
        if signed.voucher.cumulative > self.domain.protocol().max_amount() {
            return Err(VoucherError::AmountTooLarge);
        }
        Ok(())
    }

    pub(super) fn check_signature(
        &self,
        digest: &B256,
        signature: &VoucherSignature,
    ) -> Result<(), VoucherError> {
        #[cfg(feature = "std")]
        if let VoucherSignature::Secp256k1(signature) = signature {
            return self.state.check(&digest.0, signature);
        }
        self.recover_and_compare(digest, signature)
    }

    fn recover_and_compare(
        &self,
        digest: &B256,
        signature: &VoucherSignature,
    ) -> Result<(), VoucherError> {
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

    #[cfg(feature = "std")]
    pub(super) const fn domain(&self) -> &VoucherDomain {
        &self.domain
    }

    #[cfg(feature = "std")]
    pub(super) fn state(&self) -> &SignerState {
        &self.state
    }
}

#[cfg(test)]
mod tests;
