//! A 0x76 transaction that waits for the sender's signature.

use core::num::NonZeroU64;

use alloc::vec::Vec;
use alloy_consensus::SignableTransaction;
use alloy_primitives::{Address, B256, U256, keccak256};
use tempo_primitives::transaction::{Call, FEE_PAYER_SIGNATURE_MARKER, TEMPO_EXPIRING_NONCE_KEY};
use tempo_primitives::{AASigned, TempoTransaction};

use super::build::OpenParams;
use super::envelope::to_alloy;
use super::{BuildError, FeeMode, SignedTx, Sponsorship, TxContext};
use crate::channel::ChannelTerms;
use crate::signer::{Signer, SignerError};

/// A complete transaction without the sender's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsignedTx(TempoTransaction);

impl UnsignedTx {
    /// Puts calls into a transaction with an expiring nonce: replay protection by hash, so that
    /// several processes can share an account without counting nonces (PROTOCOL 4).
    pub(super) fn new(context: &TxContext, calls: Vec<Call>) -> Result<Self, BuildError> {
        if calls.is_empty() {
            return Err(BuildError::NoCalls);
        }
        let now = u64::try_from(context.now.as_secs()).map_err(|_| BuildError::Validity)?;
        let until = now
            .checked_add(context.valid_for.as_secs())
            .ok_or(BuildError::Validity)?;
        let (valid_before, valid_after) = (NonZeroU64::new(until), context.valid_after);
        if until <= now || valid_after.is_some_and(|after| until <= after) {
            return Err(BuildError::Validity);
        }
        let (fee_token, fee_payer_signature) = match context.fee_mode {
            FeeMode::SelfPaid { fee_token } => (Some(fee_token), None),
            FeeMode::Sponsored => (None, Some(FEE_PAYER_SIGNATURE_MARKER)),
        };
        Ok(Self(TempoTransaction {
            chain_id: context.chain_id,
            fee_token,
            max_priority_fee_per_gas: context.fees.max_priority_fee_per_gas,
            max_fee_per_gas: context.fees.max_fee_per_gas,
            gas_limit: context.fees.gas_limit,
            calls,
            nonce_key: TEMPO_EXPIRING_NONCE_KEY,
            nonce: 0,
            fee_payer_signature,
            valid_before,
            valid_after: valid_after.and_then(NonZeroU64::new),
            ..TempoTransaction::default()
        }))
    }

    /// Digest that the sender signs.
    #[must_use]
    pub fn signing_hash(&self) -> B256 {
        self.0.signature_hash()
    }

    /// Hash that the chain remembers for replay protection and that a v2 channel id contains:
    /// `keccak(encodeForSigning || sender)` (PROTOCOL 5.3).
    #[must_use]
    pub fn expiring_nonce_hash(&self, sender: Address) -> B256 {
        let mut encoded = Vec::with_capacity(self.0.payload_len_for_signature().saturating_add(20));
        self.0.encode_for_signing(&mut encoded);
        encoded.extend_from_slice(sender.as_slice());
        keccak256(encoded)
    }

    /// The terms of the channel that this open transaction makes when `payer` signs it.
    #[must_use]
    pub fn open_terms(&self, params: &OpenParams, payer: Address) -> ChannelTerms {
        params.terms(self.0.chain_id, payer, self.expiring_nonce_hash(payer))
    }

    /// End of validity in Unix seconds; the chain refuses the transaction from then on.
    #[must_use]
    pub fn valid_before(&self) -> Option<u64> {
        self.0.valid_before.map(NonZeroU64::get)
    }

    /// The most that the fees can be, in attodollars.
    #[must_use]
    pub fn max_total_fee(&self) -> U256 {
        max_total_fee(&self.0)
    }

    /// Lets the sender sign.
    ///
    /// # Errors
    /// [`SignerError`] of the signer.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind; a remote signer may still have signed.
    pub async fn sign(self, signer: &impl Signer) -> Result<SignedTx, SignerError> {
        let signature = signer.sign_digest(&self.signing_hash()).await?;
        let sponsorship = if self.0.fee_payer_signature.is_some() {
            Sponsorship::Requested
        } else {
            Sponsorship::None
        };
        let signed = AASigned::new_unhashed(self.0, to_alloy(&signature).into());
        Ok(SignedTx::from_parts(signed, signer.address(), sponsorship))
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> TempoTransaction {
        self.0
    }

    /// Changes the calls, however wrong they become.
    #[cfg(test)]
    pub(crate) fn with_calls(mut self, change: impl FnOnce(&mut Vec<Call>)) -> Self {
        change(&mut self.0.calls);
        self
    }

    #[cfg(test)]
    pub(crate) fn sign_now(self, signer: &crate::signer::LocalSigner) -> SignedTx {
        let signature = to_alloy(&signer.sign_digest_sync(&self.signing_hash()));
        let signed = AASigned::new_unhashed(self.0, signature.into());
        SignedTx::from_parts(signed, signer.address(), Sponsorship::None)
    }
}

/// Gas limit times fee limit.
pub(super) fn max_total_fee(tx: &TempoTransaction) -> U256 {
    U256::from(tx.gas_limit).saturating_mul(U256::from(tx.max_fee_per_gas))
}
