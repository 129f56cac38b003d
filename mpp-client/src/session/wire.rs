//! Credentials of session actions (PROTOCOL 5.2).

use alloy_primitives::Address;
use mpp_core::{Amount, Challenge, Credential, CredentialHeader, DidPkh, header};
use mpp_tempo::charge::ProofTerms;
use mpp_tempo::wire::{ChargePayload, SessionPayload};
use mpp_tempo::{
    ChannelDescriptor, ChannelId, ChannelTerms, SessionProtocol, SignedVoucher, VoucherSignature,
};

use super::book::{OpenAttempt, PendingTopUp};
use crate::error::ClientError;
use crate::offer::{Offer, lower_hex};

/// A header field with a credential. `Debug` leaves the value out.
#[derive(Clone)]
pub struct CredentialField {
    /// The field's name in lower case.
    pub name: &'static str,
    /// The field's value: a secret until the server has it.
    pub value: String,
}

impl CredentialField {
    /// The credential itself, for transports that carry JSON in the place of
    /// header fields.
    ///
    /// # Errors
    /// [`ClientError::Payment`] when the value is not a credential.
    pub fn decode(&self) -> Result<Credential, ClientError> {
        let token = header::credential::find([self.value.as_str()]).ok().flatten();
        token
            .and_then(|token| header::credential::parse(token).ok())
            .ok_or(ClientError::Payment("the credential can not be read back"))
    }
}

impl std::fmt::Debug for CredentialField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialField")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

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
    credential(offer.challenge(), payer, payload.to_value())
}

/// The proof of identity that answers a charge of zero (PROTOCOL 4).
pub(super) fn proof(
    challenge: &Challenge,
    terms: &ProofTerms<'_>,
    signature: VoucherSignature,
) -> Result<CredentialField, ClientError> {
    let payload = serde_json::to_value(ChargePayload::Proof { signature })
        .map_err(|_| ClientError::Payment("the proof can not be written"))?;
    credential(challenge, (terms.chain_id, &terms.account), payload)
}

fn credential(
    challenge: &Challenge,
    (chain_id, payer): (u64, &Address),
    payload: serde_json::Value,
) -> Result<CredentialField, ClientError> {
    let source = DidPkh::new(chain_id, &lower_hex(payer))
        .map_err(|_| ClientError::Payment("the payer has no identifier"))?;
    let challenge = challenge.clone();
    let name = match challenge.header {
        None => header::names::AUTHORIZATION,
        Some(CredentialHeader::PaymentAuthorization) => header::names::PAYMENT_AUTHORIZATION,
    };
    let credential = Credential::new(challenge, payload).with_source(source.to_string());
    let value = header::credential::encode(&credential)
        .map_err(|_| ClientError::Payment("the credential is too large"))?;
    Ok(CredentialField { name, value })
}

/// The cumulative amount of a signed voucher.
pub(super) const fn amount(signed: &SignedVoucher) -> Amount {
    signed.voucher.cumulative
}

#[cfg(test)]
mod tests;
