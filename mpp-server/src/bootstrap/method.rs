//! The charge of zero that is paid with a proof of identity.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use mpp_core::{
    Amount, EncodedJson, IntentName, MethodName, Timestamp,
    receipt::{ChargeReceipt, Receipt},
};
use mpp_tempo::{
    charge::ProofTerms,
    wire::{ChargeDetails, ChargePayload, ChargeRequest},
};

use super::{Recognized, Resumable, concerns, snapshot};
use crate::{
    error::{Failure, Fault, Rejection},
    gate::{BoundCredential, BoxFuture, PaymentMethod, Redeemed, Reuse, Visit},
    session::{Engine, SessionContext, SessionTerms},
    store::{ChannelStore, Claim, ClaimKey},
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
    let account = verify(&context, terms, &credential, visit)?;
    claim(&context, &credential, account, visit.now).await?;
    let wanted = Resumable::from(terms);
    let found = context.resolver.resolve(account, &wanted).await?;
    let snapshot = match found {
        Some(id) => {
            let found = context.driver.store().load(id).await?;
            let record = found.map(|found| found.record);
            // Never trust the resolver with somebody else's money.
            let record = record.filter(|record| wanted.fits(record) && concerns(record, account));
            record.as_ref().and_then(snapshot::of).map(Box::new)
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

/// The account that the credential's proof is of.
fn verify<S: ChannelStore>(
    context: &SessionContext<S>,
    terms: &SessionTerms,
    credential: &BoundCredential,
    visit: Visit,
) -> Result<Address, Rejection> {
    let malformed = |what: &str| Rejection::InvalidPayload(String::from(what));
    let payload = serde_json::from_value(credential.payload().clone())
        .map_err(|_| malformed("the payload is not one of a charge"))?;
    let ChargePayload::Proof { signature } = payload else {
        return Err(malformed("a charge of zero is answered with a proof"));
    };
    let source = credential
        .source()
        .ok_or_else(|| malformed("a proof needs a `source`"))?;
    let failed = |what: &str| Rejection::VerificationFailed(String::from(what));
    let account = Address::from(source.address);
    if source.chain_id != terms.chain_id {
        return Err(failed("`source` is on another chain"));
    }
    // An account takes the place of a channel: nobody makes another one wait.
    let sender = account.into_word();
    if !context.bad_signatures.admits(sender, visit.peer, visit.now) {
        return Err(Rejection::TooManyProofs);
    }
    let challenge = credential.challenge();
    let proof = ProofTerms {
        account,
        chain_id: terms.chain_id,
        challenge_id: challenge.id.as_str(),
        realm: challenge.realm.as_str(),
    };
    proof.verify(&signature).map_err(|_| {
        context.bad_signatures.failed(sender, visit.peer, visit.now);
        failed("the proof is not one of `source`")
    })?;
    Ok(account)
}

/// A proof is good once, at whichever server of the store (PROTOCOL 4).
async fn claim<S: ChannelStore>(
    context: &SessionContext<S>,
    credential: &BoundCredential,
    account: Address,
    now: Timestamp,
) -> Result<(), Failure> {
    let challenge = credential.challenge();
    // The gate has seen that it is there and in the future.
    let expires = challenge
        .expires_at()
        .map_err(|_| Rejection::ChallengeExpired)?;
    let key = ClaimKey::Proof(challenge.id.clone());
    let value: B256 = account.into_word();
    let store = context.driver.store();
    match store
        .claim(key, value, expires, now)
        .await
        .map_err(Fault::from)?
    {
        Claim::New => Ok(()),
        Claim::Existing(_) => Err(Rejection::ProofReplayed.into()),
    }
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
