//! Sending a payer's transaction: sponsor it if promised, follow it to its end.

use alloy_primitives::Bytes;
use mpp_core::{ChallengeId, Timestamp};
use mpp_tempo::{
    Signer,
    chain::{ChainClient, ChainError, TxReceipt},
    tx::{self, SignedTx},
};

use super::{SessionContext, SessionTerms};
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

impl<S: ChannelStore> SessionContext<S> {
    /// Makes a payer's transaction ready to send: as it is, or cosigned by
    /// the fee payer within the sponsor policy.
    ///
    /// Everything else about the transaction and its voucher must have been
    /// verified before (SECURITY-CASES A15, A35).
    ///
    /// # Cancel safety
    /// Dropped, the challenge's one cosignature may be used up for this very
    /// transaction, which may still be presented again.
    pub(super) async fn prepare(
        &self,
        terms: &SessionTerms,
        transaction: SignedTx,
        challenge_id: &ChallengeId,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<SignedTx, Failure> {
        if !transaction.needs_fee_payer() {
            return Ok(transaction);
        }
        let (true, Some(fee_payer)) = (terms.sponsored, &self.fee_payer) else {
            return Err(refused(
                "fees are not sponsored here; sign a transaction that pays them",
            ));
        };
        self.sponsor_policy
            .check(&transaction, now)
            .map_err(|violation| Rejection::VerificationFailed(violation.to_string()))?;
        let replay_id = transaction.replay_id();
        let claim = self.driver.store().claim(
            ClaimKey::Cosign(challenge_id.clone()),
            replay_id,
            expires,
            now,
        );
        match claim.await? {
            Claim::New => {}
            Claim::Existing(before) if before == replay_id => {}
            Claim::Existing(_) => {
                return Err(refused(
                    "one transaction has been sponsored for this challenge",
                ));
            }
        }
        let cosigned = tx::cosign(transaction, fee_payer, terms.currency)
            .await
            .map_err(|error| match error {
                tx::CosignError::Signer(error) => Failure::Fault(error.into()),
                error => refused(&error.to_string()),
            })?;
        tracing::debug!(fee_payer = %fee_payer.address(), "a transaction was sponsored");
        Ok(cosigned)
    }

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
