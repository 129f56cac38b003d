//! Making a payer's transaction ready to send, and sending it.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes, keccak256};
use mpp_core::Amount;
use mpp_tempo::{chain::ChainClient, tx::SignedTx};

use super::{SessionContext, method::Request};
use crate::{
    broadcast::{self, Fate},
    error::{Failure, Fault, Rejection},
    sponsor::Sponsor,
    store::{ChannelStore, Claim, ClaimKey},
    trial::Trial,
};

/// A transaction that can be sent as it is.
pub(super) struct Prepared {
    pub(super) transaction: SignedTx,
    /// Its replay id, if the sponsor pays its fee.
    pub(super) sponsored: Option<B256>,
}

impl<S: ChannelStore> Request<'_, S> {
    /// Lets a transaction be tried that may come to nothing, and counts then.
    /// `deposit` is what it locks.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(super) async fn admit(
        &self,
        transaction: &SignedTx,
        deposit: Amount,
    ) -> Result<Trial, Failure> {
        let context = &self.context;
        let (limit, clock) = (&context.bad_signatures, &context.clock);
        let trial = Trial::new(limit, clock, transaction, self.visit.peer);
        let locked = (self.terms.currency, deposit);
        trial.check(&context.chain, locked).await?;
        Ok(trial)
    }

    /// Makes a payer's transaction ready to send: as it is, or cosigned by
    /// the fee payer within policy and budget. `deposit` is what it locks.
    ///
    /// Everything else about the transaction and its voucher must have been
    /// verified before (SECURITY-CASES A15, A35).
    ///
    /// # Cancel safety
    /// Dropped, the one cosignature that the challenge is good for to its signer may be
    /// used up for this very transaction, which may still be presented again.
    pub(super) async fn prepare(
        &self,
        transaction: SignedTx,
        deposit: Amount,
    ) -> Result<Prepared, Failure> {
        if !transaction.needs_fee_payer() {
            return Ok(Prepared {
                transaction,
                sponsored: None,
            });
        }
        let (context, terms) = (&self.context, self.terms);
        let sponsor = self.sponsor_of(&transaction)?;
        // It would revert, and the fee would be ours.
        let payer = transaction.sender();
        let balance = context.chain.token_balance(terms.currency, payer).await;
        if balance.map_err(Fault::from)? < deposit {
            return Err(refused("the payer does not hold the deposit"));
        }
        let replay_id = transaction.replay_id();
        self.claim_cosignature(&transaction).await?;
        let peer = self.visit.peer;
        let transaction = sponsor.sign(transaction, terms.currency, peer).await?;
        Ok(Prepared {
            transaction,
            sponsored: Some(replay_id),
        })
    }

    /// Who sponsors a transaction, if its policy allows that.
    pub(super) fn sponsor_of(&self, transaction: &SignedTx) -> Result<&Arc<Sponsor<S>>, Failure> {
        let (true, Some(sponsor)) = (self.terms.sponsored, &self.context.sponsor) else {
            return Err(refused(
                "fees are not sponsored here; sign a transaction that pays them",
            ));
        };
        sponsor.check_policy(transaction, self.visit.now)?;
        Ok(sponsor)
    }

    /// One transaction is sponsored per challenge and signer (SECURITY-CASES A15):
    /// whoever asks in the same moment is given the same challenge, and what one
    /// has signed takes nothing from the others.
    async fn claim_cosignature(&self, transaction: &SignedTx) -> Result<(), Failure> {
        let replay_id = transaction.replay_id();
        let challenge = self.credential.challenge();
        let expires = challenge
            .expires_at()
            .map_err(|_| Rejection::ChallengeExpired)?;
        let key = ClaimKey::CosignFor(challenge.id.clone(), transaction.signer());
        let store = self.context.driver.store();
        match store.claim(key, replay_id, expires, self.visit.now).await? {
            Claim::New => Ok(()),
            Claim::Existing(before) if before == replay_id => Ok(()),
            Claim::Existing(_) => Err(refused(
                "one transaction has been sponsored for this challenge",
            )),
        }
    }
}

impl<S: ChannelStore> SessionContext<S> {
    /// Sends a transaction, follows it to its end, and books what the sponsor
    /// has paid for the one of this replay id.
    ///
    /// # Errors
    /// As [`broadcast::broadcast`]; what was set aside then stays so.
    ///
    /// # Cancel safety
    /// As [`broadcast::broadcast`].
    pub(super) async fn broadcast(
        &self,
        raw: Bytes,
        sponsored: Option<B256>,
    ) -> Result<Fate, Fault> {
        let hash = keccak256(&raw);
        let fate = broadcast::broadcast(&self.chain, raw).await?;
        let (Some(sponsor), Some(replay_id)) = (&self.sponsor, sponsored) else {
            return Ok(fate);
        };
        match &fate {
            Fate::Succeeded(receipt) | Fate::Reverted(receipt) => {
                sponsor.settle(replay_id, Some(receipt)).await;
            }
            // It may have been mined when it was sent before.
            Fate::Refused(_) => {
                if let Ok(receipt) = self.chain.receipt(hash).await {
                    sponsor.settle(replay_id, receipt.as_ref()).await;
                }
            }
        }
        Ok(fate)
    }
}

/// Why a transaction that did not succeed did not.
pub(super) fn reason(fate: Fate) -> String {
    match fate {
        Fate::Refused(why) => why,
        Fate::Reverted(_) | Fate::Succeeded(_) => String::from("the transaction was reverted"),
    }
}

pub(super) fn refused(why: &str) -> Failure {
    Rejection::VerificationFailed(String::from(why)).into()
}
