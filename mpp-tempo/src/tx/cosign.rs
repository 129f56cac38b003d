//! The fee payer's signature.

use alloy_primitives::Address;
use tempo_primitives::AASigned;

use super::envelope::to_alloy;
use super::{CosignError, SignedTx, Sponsorship};
use crate::signer::Signer;

/// Signs as the fee payer and returns the final 0x76 transaction.
///
/// The fees come from the fee payer's balance of `fee_token`. Check the calls and apply the
/// [`super::SponsorPolicy`] before: from here on anybody can send the transaction (case A15).
///
/// # Errors
/// [`CosignError`] if no fee payer is wanted or the signer fails.
///
/// # Cancel safety
/// Dropping the future leaves nothing behind; a remote signer may still have signed.
pub async fn cosign(
    signed: SignedTx,
    fee_payer: &impl Signer,
    fee_token: Address,
) -> Result<SignedTx, CosignError> {
    if !signed.needs_fee_payer() {
        return Err(CosignError::NotRequested);
    }
    let sender = signed.sender();
    let (mut tx, signature, _) = signed.into_inner().into_parts();
    tx.fee_token = Some(fee_token);
    let own = fee_payer
        .sign_digest(&tx.fee_payer_signature_hash(sender))
        .await?;
    tx.fee_payer_signature = Some(to_alloy(&own));
    let inner = AASigned::new_unhashed(tx, signature);
    Ok(SignedTx::from_parts(
        inner,
        sender,
        Sponsorship::Signed(fee_payer.address()),
    ))
}
