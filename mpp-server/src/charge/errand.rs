//! Following the transaction of a charge to its end, on a task of the server.

use std::{net::IpAddr, sync::Arc};

use alloy_primitives::{Address, B256};
use mpp_core::{Amount, ChallengeId, Realm, Timestamp};
use mpp_tempo::{
    chain::{ChainClient, TxReceipt},
    charge::{self, ChargeBinding, Transfers},
    tx::{SignedTx, Sponsorship},
};

use super::{
    ChargeContext,
    machine::{Attempt, ChargeCommand, apply},
    method::failed,
    record::{ChargeId, SentTx},
};
use crate::{
    broadcast::{Fate, Sending, Sighting, broadcast, look_up},
    error::{Failure, Fault, Rejection},
    store::ChannelStore,
};

pub(super) const NO_SPONSOR: Fault = Fault::Inconsistent("there is no fee payer");

/// One charge and what its receipt must show. Owned, since it outlives the
/// request that began it.
pub(super) struct Errand<S> {
    context: Arc<ChargeContext<S>>,
    challenge_id: ChallengeId,
    realm: Realm,
    transfers: Transfers,
    asked_by: AskedBy,
    payer: Address,
}

/// Which offer has asked for the transfers that a receipt is judged by.
#[derive(Clone, Copy, Debug)]
enum AskedBy {
    /// The one that the charge pays.
    ItsOffer,
    /// One like it, which may split the price otherwise.
    Another,
}

impl<S: ChannelStore> Errand<S> {
    pub(super) fn new(
        context: &Arc<ChargeContext<S>>,
        (challenge_id, realm): (ChallengeId, Realm),
        transfers: Transfers,
        payer: Address,
    ) -> Self {
        Self {
            context: Arc::clone(context),
            challenge_id,
            realm,
            transfers,
            asked_by: AskedBy::ItsOffer,
            payer,
        }
    }

    /// The same, for what another offer asks for.
    pub(super) fn asked_by_another(self) -> Self {
        Self {
            asked_by: AskedBy::Another,
            ..self
        }
    }

    fn id(&self) -> ChargeId {
        ChargeId::of(&self.challenge_id)
    }

    /// Has the fees paid by the sponsor, and sends the transaction. The claim
    /// counts `until` then.
    ///
    /// # Cancel safety
    /// Run it on a task of the server.
    pub(super) async fn sponsor(
        self,
        transaction: SignedTx,
        until: Timestamp,
        peer: Option<IpAddr>,
    ) -> Result<(), Failure> {
        let cosigned = match self.cosigned(transaction, peer).await {
            Ok(cosigned) => cosigned,
            Err(failure) => {
                // Nothing was sent: whoever comes next begins anew.
                self.fail(Attempt::Claim { until }).await?;
                return Err(failure);
            }
        };
        let sent = SentTx::of(&cosigned);
        self.record_sent(Attempt::Claim { until }, &sent).await?;
        self.follow(sent, Sending::First).await
    }

    /// The transaction with the sponsor's signature.
    async fn cosigned(
        &self,
        transaction: SignedTx,
        peer: Option<IpAddr>,
    ) -> Result<SignedTx, Failure> {
        let sponsor = self.context.sponsor.as_ref().ok_or(NO_SPONSOR)?;
        self.check_held().await?;
        let policy = sponsor.policy.for_transfers(self.transfers.count());
        let token = self.transfers.token();
        let cosigned = sponsor.sign_within(&policy, transaction, token, peer);
        let cosigned = cosigned.await?;
        self.check_unattributed(&cosigned).await?;
        Ok(cosigned)
    }

    /// A payer without the money would have the transaction reverted, and the fee
    /// would be ours. Not every node can try all calls.
    async fn check_held(&self) -> Result<(), Failure> {
        let mut amounts = self.transfers.iter().map(|one| one.amount);
        let asked = amounts.try_fold(Amount::ZERO, Amount::checked_add);
        let chain = &self.context.chain;
        let held = chain
            .token_balance(self.transfers.token(), self.payer)
            .await;
        let held = held.map_err(Fault::from)?;
        match asked.is_some_and(|asked| asked <= held) {
            true => Ok(()),
            false => {
                Err(failed("the payer does not hold the amount; no fees are sponsored").into())
            }
        }
    }

    /// As [`check_unmined`], where a payment is known by its transaction alone:
    /// its hash is known only now. One that was recorded before was sent from here.
    async fn check_unattributed(&self, cosigned: &SignedTx) -> Result<(), Failure> {
        if self.transfers.is_attributed() {
            return Ok(());
        }
        let hash = cosigned.hash();
        let found = self.context.desk.load(self.id()).await?;
        match found.is_some_and(|found| found.value.payment.hash == Some(hash)) {
            true => Ok(()),
            false => check_unmined(&self.context, hash).await,
        }
    }

    /// Records a transaction before it is sent, and that it pays this charge.
    async fn record_sent(&self, of: Attempt, sent: &SentTx) -> Result<(), Failure> {
        let context = &self.context;
        loop {
            let found = context.desk.load(self.id()).await?;
            let found = found.ok_or(Fault::Inconsistent("a charge's record is gone"))?;
            let now = context.clock.now();
            let command = ChargeCommand::Send {
                of,
                sent: sent.clone(),
                until: context.lease(now),
            };
            let next = apply(&found.value, command, now)?;
            let note = context.note_transaction(self.id(), sent.hash).await?;
            let beside = note.into_iter().collect();
            let put = context.desk.put(next, Some(found.version), beside).await?;
            if put.is_some() {
                return Ok(());
            }
        }
    }

    /// Sends a transaction that was recorded, and records what came of it.
    ///
    /// # Cancel safety
    /// Run it on a task of the server.
    pub(super) async fn follow(self, sent: SentTx, sending: Sending) -> Result<(), Failure> {
        let hash = sent.hash;
        let ended = match broadcast(&self.context.chain, sent.raw.clone()).await {
            Ok(Fate::Succeeded(receipt) | Fate::Reverted(receipt)) => Ok((Some(receipt), None)),
            // The same transaction may have been mined long ago.
            Ok(Fate::Refused(why)) => match (self.receipt(hash).await, sending) {
                (Ok(None), Sending::Again) => Err(Fault::OutcomeUnknown),
                (receipt, _) => receipt.map(|receipt| (receipt, Some(why))),
            },
            Err(fault) => Err(fault),
        };
        let (receipt, why) = match ended {
            Ok(ended) => ended,
            Err(fault) => {
                self.leave(hash).await?;
                return Err(fault.into());
            }
        };
        self.settle_fee(&sent, receipt.as_ref()).await;
        match receipt {
            Some(receipt) => self.settle(&receipt).await,
            None => {
                self.fail(Attempt::Sent { hash }).await?;
                Err(failed(why.unwrap_or_default()).into())
            }
        }
    }

    /// Finds out what became of a transaction that was left alone, and sends
    /// it again while it can still be mined.
    ///
    /// # Cancel safety
    /// Run it on a task of the server.
    pub(super) async fn resolve(self, sent: SentTx) -> Result<(), Failure> {
        let context = &self.context;
        let now = context.clock.now();
        match look_up(&context.chain, sent.hash, sent.valid_before, now).await? {
            Sighting::Mined(receipt) => {
                self.settle_fee(&sent, Some(&receipt)).await;
                self.settle(&receipt).await
            }
            Sighting::Never => {
                self.settle_fee(&sent, None).await;
                self.fail(Attempt::Sent { hash: sent.hash }).await?;
                Err(failed("the transaction was never mined; pay a new challenge").into())
            }
            Sighting::NotYet => {
                let until = context.lease(now);
                let follow = ChargeCommand::Follow { until };
                context.run(self.id(), follow).await?;
                self.follow(sent, Sending::Again).await
            }
        }
    }

    /// Books what the sponsor has really paid, if it is one of its
    /// transactions.
    async fn settle_fee(&self, sent: &SentTx, receipt: Option<&TxReceipt>) {
        let Some(sponsor) = &self.context.sponsor else {
            return;
        };
        if let Ok(transaction) = SignedTx::decode(&sent.raw)
            && matches!(transaction.sponsorship(), Sponsorship::Signed(_))
        {
            sponsor.settle(transaction.replay_id(), receipt).await;
        }
    }

    /// Whether the chain shows the payment; if so, that is recorded.
    ///
    /// # Cancel safety
    /// Dropped, it is recorded or not.
    pub(super) async fn look_up(&self, hash: B256) -> Result<bool, Failure> {
        match self.receipt(hash).await? {
            Some(receipt) => self.settle(&receipt).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, Fault> {
        Ok(self.context.chain.receipt(hash).await?)
    }

    async fn fail(&self, of: Attempt) -> Result<(), Failure> {
        let failed = self.context.run(self.id(), ChargeCommand::Fail { of });
        failed.await.map(drop)
    }

    async fn leave(&self, hash: B256) -> Result<(), Failure> {
        let left = self.context.run(self.id(), ChargeCommand::Leave { hash });
        left.await.map(drop)
    }

    /// Believes a receipt that shows the transfers (SECURITY-CASES A25).
    async fn settle(&self, receipt: &TxReceipt) -> Result<(), Failure> {
        let context = &self.context;
        let hash = receipt.hash;
        if !receipt.success {
            self.fail(Attempt::Sent { hash }).await?;
            return Err(failed("the transaction was reverted").into());
        }
        let binding = ChargeBinding {
            realm: self.realm.as_str(),
            challenge_id: self.challenge_id.as_str(),
        };
        let shows = charge::check_receipt(receipt, &self.transfers, binding);
        if shows.is_err() || receipt.from != self.payer {
            self.leave(hash).await?;
            let what = "a transaction succeeded without its transfers";
            return Err(match self.asked_by {
                AskedBy::ItsOffer => Fault::Inconsistent(what).into(),
                AskedBy::Another => Rejection::ChargeKeyReused.into(),
            });
        }
        context.confirm(self.id(), hash).await
    }
}

/// What somebody else has had mined pays nothing that is sent from here.
///
/// # Cancel safety
/// Reads only.
pub(super) async fn check_unmined<S>(
    context: &ChargeContext<S>,
    hash: B256,
) -> Result<(), Failure> {
    let receipt = context.chain.receipt(hash).await.map_err(Fault::from)?;
    match receipt {
        None => Ok(()),
        Some(_) => Err(Rejection::InvalidChallenge("the transaction was mined before").into()),
    }
}
