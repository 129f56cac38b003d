//! Proofs of identity: what answers a charge of zero (PROTOCOL 4).

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use mpp_core::Timestamp;
use mpp_tempo::{charge::ProofTerms, wire::ChargePayload};

use crate::{
    error::{Failure, Fault, Rejection},
    gate::{BoundCredential, Visit},
    session::BadSignatures,
    store::{ChannelStore, Claim, ClaimKey},
};

/// Takes proofs of identity, each once.
#[derive(Debug)]
pub(crate) struct ProofDesk<S> {
    store: Arc<S>,
    bad_signatures: Arc<BadSignatures>,
}

impl<S> Clone for ProofDesk<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            bad_signatures: Arc::clone(&self.bad_signatures),
        }
    }
}

impl<S: ChannelStore> ProofDesk<S> {
    pub(crate) fn new(store: Arc<S>, bad_signatures: Arc<BadSignatures>) -> Self {
        Self {
            store,
            bad_signatures,
        }
    }

    /// Verifies a proof, uses it up, and returns whose it is.
    ///
    /// # Cancel safety
    /// Dropped, the proof may be used up; another challenge is had for the
    /// asking.
    pub(crate) async fn take(
        &self,
        credential: &BoundCredential,
        chain_id: u64,
        visit: Visit,
    ) -> Result<Address, Failure> {
        let account = self.verify(credential, chain_id, visit)?;
        self.claim(credential, account, visit.now).await?;
        Ok(account)
    }

    /// The account that the credential's proof is of.
    fn verify(
        &self,
        credential: &BoundCredential,
        chain_id: u64,
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
        if source.chain_id != chain_id {
            return Err(failed("`source` is on another chain"));
        }
        // An account takes the place of a channel: nobody makes another one wait.
        let sender = account.into_word();
        if !self.bad_signatures.admits(sender, visit.peer, visit.now) {
            return Err(Rejection::TooManyProofs);
        }
        let challenge = credential.challenge();
        let proof = ProofTerms {
            account,
            chain_id,
            challenge_id: challenge.id.as_str(),
            realm: challenge.realm.as_str(),
        };
        proof.verify(&signature).map_err(|_| {
            self.bad_signatures.failed(sender, visit.peer, visit.now);
            failed("the proof is not one of `source`")
        })?;
        Ok(account)
    }

    /// A proof is good once, at whichever server of the store (PROTOCOL 4).
    async fn claim(
        &self,
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
        match self
            .store
            .claim(key, value, expires, now)
            .await
            .map_err(Fault::from)?
        {
            Claim::New => Ok(()),
            Claim::Existing(_) => Err(Rejection::ProofReplayed.into()),
        }
    }
}
