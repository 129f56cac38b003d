//! The charge of zero that is paid with a proof of identity.

use std::sync::Arc;

use mpp_core::{
    Amount, EncodedJson, IntentName, MethodName,
    receipt::{ChargeReceipt, Receipt},
};
use mpp_tempo::wire::{ChargeDetails, ChargeRequest};

use super::{Recognized, Resumable, concerns, snapshot};
use crate::{
    error::Failure,
    gate::{BoundCredential, BoxFuture, PaymentMethod, Redeemed, Reuse, Visit},
    session::{Engine, SessionContext, SessionTerms},
    store::ChannelStore,
};

/// `method="tempo"`, `intent="charge"` at a price of zero, beside a session.
#[derive(Debug)]
pub(crate) struct ProofMethod {
    engine: Arc<dyn Engine>,
    terms: SessionTerms,
    request: EncodedJson,
    method: MethodName,
    intent: IntentName,
}

impl ProofMethod {
    /// The proof that resumes channels of these terms; `None` if it can not be
    /// written, which does not happen.
    pub(crate) fn beside(engine: Arc<dyn Engine>, terms: SessionTerms) -> Option<Self> {
        let request = ChargeRequest {
            amount: Amount::ZERO,
            currency: terms.currency,
            recipient: terms.recipient,
            description: None,
            external_id: None,
            method_details: ChargeDetails {
                chain_id: terms.chain_id,
                fee_payer: None,
                memo: None,
                splits: None,
                supported_modes: None,
            },
        };
        Some(Self {
            engine,
            terms,
            request: EncodedJson::from_value(&request).ok()?,
            method: MethodName::tempo(),
            intent: IntentName::charge(),
        })
    }
}

impl PaymentMethod for ProofMethod {
    fn method(&self) -> &MethodName {
        &self.method
    }

    fn intent(&self) -> &IntentName {
        &self.intent
    }

    fn request(&self) -> &EncodedJson {
        &self.request
    }

    fn description(&self) -> Option<&str> {
        None
    }

    fn reuse(&self) -> Reuse {
        Reuse::Once
    }

    fn redeem(
        &self,
        credential: BoundCredential,
        visit: Visit,
    ) -> BoxFuture<'_, Result<Redeemed, Failure>> {
        Arc::clone(&self.engine).recognize(&self.terms, credential, visit)
    }
}

/// Verifies a proof, uses it up, and looks for the account's channel.
///
/// # Cancel safety
/// Dropped, the proof may be used up; another challenge is had for the asking.
pub(crate) async fn recognize<S: ChannelStore>(
    context: Arc<SessionContext<S>>,
    terms: &SessionTerms,
    credential: BoundCredential,
    visit: Visit,
) -> Result<Redeemed, Failure> {
    let proofs = &context.proofs;
    let account = proofs.take(&credential, terms.chain_id, visit).await?;
    let wanted = Resumable::from(terms);
    let found = context.resolver.resolve(account, &wanted).await?;
    let snapshot = match found {
        Some(id) => {
            let found = context.driver.store().load(id).await?;
            let record = found.map(|found| found.record);
            // Never trust the resolver with somebody else's money.
            let record = record.filter(|record| wanted.fits(record) && concerns(record, account));
            record.as_deref().and_then(snapshot::of).map(Box::new)
        }
        None => None,
    };
    let challenge_id = &credential.challenge().id;
    let mut receipt = ChargeReceipt::new(MethodName::tempo(), visit.now, challenge_id.as_str());
    receipt.challenge_id = Some(challenge_id.clone());
    Ok(Redeemed::Recognized(Recognized {
        receipt: Receipt::Charge(receipt),
        snapshot,
    }))
}

impl From<&SessionTerms> for Resumable {
    fn from(terms: &SessionTerms) -> Self {
        Self {
            chain_id: terms.chain_id,
            protocol: terms.protocol,
            escrow: terms.escrow,
            payee: terms.recipient,
            token: terms.currency,
            operator: terms.operator,
        }
    }
}
