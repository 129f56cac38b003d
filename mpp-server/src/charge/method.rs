//! Charges as a payment method.

use std::sync::Arc;

use mpp_core::{EncodedJson, IntentName, MethodName};
use mpp_tempo::{
    charge::ChargeBinding,
    wire::{ChargeMode, ChargePayload},
};

use super::{ChargeContext, ChargeEngine, ChargeTerms, grant, record::Asked};
use crate::{
    error::{Failure, Fault, Rejection},
    gate::{
        BoundCredential, BoxFuture, Grant, Late, PaymentMethod, Purpose, Redeemed, Reuse, Visit,
    },
    store::ChannelStore,
};

/// `method="tempo"`, `intent="charge"`.
#[derive(Debug)]
pub(crate) struct ChargeMethod {
    engine: Arc<dyn ChargeEngine>,
    terms: ChargeTerms,
    request: EncodedJson,
    description: Option<String>,
    method: MethodName,
    intent: IntentName,
}

impl ChargeMethod {
    pub(super) fn new(
        engine: Arc<dyn ChargeEngine>,
        terms: ChargeTerms,
        request: EncodedJson,
        description: Option<String>,
    ) -> Self {
        Self {
            engine,
            terms,
            request,
            description,
            method: MethodName::tempo(),
            intent: IntentName::charge(),
        }
    }
}

impl PaymentMethod for ChargeMethod {
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
        self.description.as_deref()
    }

    fn reuse(&self) -> Reuse {
        Reuse::Once
    }

    /// A payment that was made in time and not served yet is not lost when
    /// its challenge expires.
    fn late(&self) -> Late {
        match self.terms.transfers {
            Some(_) => Late::Shown,
            None => Late::Refused,
        }
    }

    fn redeem(
        &self,
        credential: BoundCredential,
        visit: Visit,
    ) -> BoxFuture<'_, Result<Redeemed, Failure>> {
        Arc::clone(&self.engine).redeem(&self.terms, credential, visit)
    }
}

/// One credential on its way to a grant.
pub(super) struct Request<'a, S> {
    pub(super) context: &'a Arc<ChargeContext<S>>,
    pub(super) terms: &'a ChargeTerms,
    pub(super) credential: &'a BoundCredential,
    pub(super) visit: Visit,
}

/// Carries out the payment of a bound credential.
///
/// A shutdown waits for whoever has come this far: what is claimed here is
/// served, or given back.
///
/// # Cancel safety
/// Everything is recorded before it is done, and transactions are followed by
/// tasks of the server: repeating the request finds the result.
pub(super) async fn redeem<S: ChannelStore>(
    context: Arc<ChargeContext<S>>,
    terms: &ChargeTerms,
    credential: BoundCredential,
    visit: Visit,
) -> Result<Redeemed, Failure> {
    let served = context.service.enter();
    // Whoever entered after the end is not waited for.
    if visit.purpose == Purpose::Content && context.service.is_closed() {
        return Err(Fault::ShuttingDown.into());
    }
    let request = Request {
        context: &context,
        terms,
        credential: &credential,
        visit,
    };
    Ok(match request.redeem().await? {
        Redeemed::Serve(grant) => Redeemed::Serve(grant.counted(served)),
        other => other,
    })
}

impl<S: ChannelStore> Request<'_, S> {
    async fn redeem(&self) -> Result<Redeemed, Failure> {
        let credential = self.credential;
        let Some(transfers) = &self.terms.transfers else {
            let chain_id = self.terms.request.method_details.chain_id;
            let proofs = &self.context.proofs;
            let payer = proofs.take(credential, chain_id, self.visit).await?;
            let challenge = &credential.challenge().id;
            let payment = grant::proven(challenge, payer, self.visit.now);
            return Ok(Redeemed::Serve(Grant::paid(payment)));
        };
        let payload = serde_json::from_value(credential.payload().clone())
            .map_err(|_| invalid("the payload is not one of a charge"))?;
        match payload {
            ChargePayload::Transaction { transaction } => self.pull(transfers, &transaction).await,
            ChargePayload::Hash { hash } => self.push(transfers, hash).await,
            ChargePayload::Proof { .. } => {
                Err(invalid("a proof of identity pays nothing; send a transaction").into())
            }
        }
    }

    /// The mode must be one that the offer takes (PROTOCOL 4).
    pub(super) fn check_mode(&self, mode: ChargeMode) -> Result<(), Rejection> {
        if self.terms.modes.contains(&mode) {
            return Ok(());
        }
        Err(invalid(match mode {
            ChargeMode::Pull => "this charge is paid by the client; send the hash of a transaction",
            ChargeMode::Push if self.terms.sponsored => {
                "the fees of this charge are sponsored, so the server sends the transaction"
            }
            ChargeMode::Push => "this charge is sent by the server; send a signed transaction",
        }))
    }

    /// A claimed source must be the payer, on the chain of the charge.
    pub(super) fn check_source(&self, payer: alloy_primitives::Address) -> Result<(), Rejection> {
        let Some(source) = self.credential.source() else {
            return Ok(());
        };
        let chain_id = self.terms.request.method_details.chain_id;
        if source.chain_id == chain_id && source.address == payer {
            return Ok(());
        }
        Err(failed("`source` is not the sender of the transaction"))
    }

    /// What a payment must be bound to.
    pub(super) fn binding(&self) -> ChargeBinding<'_> {
        let challenge = self.credential.challenge();
        ChargeBinding {
            realm: challenge.realm.as_str(),
            challenge_id: challenge.id.as_str(),
        }
    }

    /// The idempotent request that this is, if it is one, of this payer.
    pub(super) fn asked(&self, payer: alloy_primitives::Address) -> Option<Asked> {
        let repeatable = self.visit.repeatable?;
        Some(repeatable.of_payer(payer).into())
    }

    /// After its expiry a challenge takes no new payment.
    pub(super) fn check_in_time(&self) -> Result<(), Rejection> {
        match self.credential.challenge().expires_at() {
            Ok(expires) if self.visit.now < expires => Ok(()),
            Ok(_) | Err(_) => Err(Rejection::ChallengeExpired),
        }
    }
}

pub(super) fn invalid(why: &str) -> Rejection {
    Rejection::InvalidPayload(String::from(why))
}

pub(super) fn failed(why: impl Into<String>) -> Rejection {
    Rejection::VerificationFailed(why.into())
}
