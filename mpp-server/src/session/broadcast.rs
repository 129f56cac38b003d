//! Sending a payer's transaction: sponsor it if promised, follow it to its end.

use alloy_primitives::{B256, Bytes};
use mpp_core::Amount;
use mpp_tempo::{
    Signer,
    chain::{ChainClient, ChainError, TxReceipt},
    tx::{self, SignedTx},
};

use super::{SessionContext, method::Request};
use crate::{
    error::{Failure, Fault, Rejection},
    store::{ChannelStore, Claim, ClaimKey},
};

/// How a transaction ended.
#[derive(Debug)]
pub(super) enum Fate {
    /// Mined and successful.
    Succeeded(TxReceipt),
    /// Mined and reverted, or refused by the node: it changed nothing.
    Refused(String),
}

impl<S: ChannelStore> Request<'_, S> {
    /// Makes a payer's transaction ready to send: as it is, or cosigned by
    /// the fee payer within the sponsor policy. `deposit` is what it locks.
    ///
    /// Everything else about the transaction and its voucher must have been
    /// verified before (SECURITY-CASES A15, A35).
    ///
    /// # Cancel safety
    /// Dropped, the challenge's one cosignature may be used up for this very
    /// transaction, which may still be presented again.
    pub(super) async fn prepare(
        &self,
        transaction: SignedTx,
        deposit: Amount,
    ) -> Result<SignedTx, Failure> {
        if !transaction.needs_fee_payer() {
            return Ok(transaction);
        }
        let (context, terms) = (&self.context, self.terms);
        let (true, Some(fee_payer)) = (terms.sponsored, &context.fee_payer) else {
            return Err(refused(
                "fees are not sponsored here; sign a transaction that pays them",
            ));
        };
        context
            .sponsor_policy
            .check(&transaction, self.visit.now)
            .map_err(|violation| Rejection::VerificationFailed(violation.to_string()))?;
        // It would revert, and the fee would be ours.
        let payer = transaction.sender();
        let balance = context.chain.token_balance(terms.currency, payer).await;
        if balance.map_err(Fault::from)? < deposit {
            return Err(refused("the payer does not hold the deposit"));
        }
        self.claim_cosignature(transaction.replay_id()).await?;
        let cosigned = tx::cosign(transaction, fee_payer, terms.currency)
            .await
            .map_err(|error| match error {
                tx::CosignError::Signer(error) => Failure::Fault(error.into()),
                error => refused(&error.to_string()),
            })?;
        tracing::debug!(fee_payer = %fee_payer.address(), "a transaction was sponsored");
        Ok(cosigned)
    }

    /// One transaction is sponsored per challenge (SECURITY-CASES A15).
    async fn claim_cosignature(&self, replay_id: B256) -> Result<(), Failure> {
        let challenge = self.credential.challenge();
        let expires = challenge
            .expires_at()
            .map_err(|_| Rejection::ChallengeExpired)?;
        let key = ClaimKey::Cosign(challenge.id.clone());
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
    /// Sends a transaction and follows it to its end.
    ///
    /// # Errors
    /// A [`Fault`] when its fate is not known: it may still be mined.
    ///
    /// # Cancel safety
    /// Dropped, the transaction may have been sent. Run it on the server's
    /// own tasks.
    pub(super) async fn broadcast(&self, raw: Bytes) -> Result<Fate, Fault> {
        match self.chain.send_and_wait(raw).await {
            Ok(receipt) if receipt.success => Ok(Fate::Succeeded(receipt)),
            Ok(_) => Ok(Fate::Refused(String::from("the transaction was reverted"))),
            Err(ChainError::Rejected { message }) => {
                tracing::debug!(%message, "the node refused a transaction");
                Ok(Fate::Refused(String::from(
                    "the node refused the transaction",
                )))
            }
            Err(ChainError::Unknown { .. }) => Err(Fault::OutcomeUnknown),
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) fn refused(why: &str) -> Failure {
    Rejection::VerificationFailed(String::from(why)).into()
}
