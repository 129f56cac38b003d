//! Credentials of session actions (PROTOCOL 5.2).

use mpp_core::{Amount, Challenge};
use mpp_tempo::charge::ProofTerms;
use mpp_tempo::wire::{ChargePayload, SessionPayload};
use mpp_tempo::{
    ChannelDescriptor, ChannelId, ChannelTerms, SessionProtocol, SignedVoucher, VoucherSignature,
};

use super::book::{OpenAttempt, PendingTopUp};
use crate::credential::{self, CredentialField};
use crate::error::ClientError;
use crate::offer::Offer;

pub(super) fn open(
    offer: &Offer,
    terms: &ChannelTerms,
    id: ChannelId,
    open: &OpenAttempt,
) -> Result<CredentialField, ClientError> {
    let payload = SessionPayload::Open {
        channel_id: id,
        transaction: open.transaction.clone(),
        authorized_signer: Some(terms.signer()),
        descriptor: descriptor(terms),
        cumulative_amount: open.first_voucher.voucher.cumulative,
        signature: open.first_voucher.signature.clone(),
    };
    field(offer, terms, &payload)
}

pub(super) fn top_up(
    offer: &Offer,
    terms: &ChannelTerms,
    id: ChannelId,
    pending: &PendingTopUp,
) -> Result<CredentialField, ClientError> {
    let payload = SessionPayload::TopUp {
        channel_id: id,
        transaction: pending.transaction.clone(),
        descriptor: descriptor(terms),
        additional_deposit: pending.additional,
    };
    field(offer, terms, &payload)
}

pub(super) fn voucher(
    offer: &Offer,
    terms: &ChannelTerms,
    signed: &SignedVoucher,
) -> Result<CredentialField, ClientError> {
    let payload = SessionPayload::Voucher {
        channel_id: signed.voucher.channel_id,
        descriptor: descriptor(terms),
        cumulative_amount: signed.voucher.cumulative,
        signature: signed.signature.clone(),
    };
    field(offer, terms, &payload)
}

pub(super) fn close(
    offer: &Offer,
    terms: &ChannelTerms,
    signed: &SignedVoucher,
    close_signature: Option<VoucherSignature>,
) -> Result<CredentialField, ClientError> {
    let payload = SessionPayload::Close {
        channel_id: signed.voucher.channel_id,
        descriptor: descriptor(terms),
        cumulative_amount: signed.voucher.cumulative,
        signature: signed.signature.clone(),
        close_signature,
    };
    field(offer, terms, &payload)
}

/// v2 credentials carry the descriptor, because the reserve does not store it.
fn descriptor(terms: &ChannelTerms) -> Option<ChannelDescriptor> {
    (terms.protocol == SessionProtocol::V2).then_some(terms.descriptor)
}

fn field(
    offer: &Offer,
    terms: &ChannelTerms,
    payload: &SessionPayload,
) -> Result<CredentialField, ClientError> {
    let payer = (terms.chain_id, &terms.descriptor.payer);
    credential::field(&credential::of_account(
        offer.challenge(),
        payer,
        payload.to_value(),
    )?)
}

/// The proof of identity that answers a charge of zero (PROTOCOL 4).
pub(super) fn proof(
    challenge: &Challenge,
    terms: &ProofTerms<'_>,
    signature: VoucherSignature,
) -> Result<CredentialField, ClientError> {
    let payload = serde_json::to_value(ChargePayload::Proof { signature })
        .map_err(|_| ClientError::Payment("the proof can not be written"))?;
    let account = (terms.chain_id, &terms.account);
    credential::field(&credential::of_account(challenge, account, payload)?)
}

/// The cumulative amount of a signed voucher.
pub(super) const fn amount(signed: &SignedVoucher) -> Amount {
    signed.voucher.cumulative
}

#[cfg(test)]
mod tests;
