//! Pull: the client signs the transaction, the server sends it.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use mpp_tempo::{
    chain::ChainClient,
    charge::{self, Transfers},
    tx::{SignedTx, TxError},
    wire::ChargeMode,
};

use super::{
    claim::{Claimed, Shown},
    errand::Errand,
    machine::Todo,
    method::{Request, failed, invalid},
    record::{Asked, ChargeState, PaymentId, SentTx},
};
use crate::{
    broadcast::Sending,
    error::{Failure, Fault, Rejection},
    gate::Redeemed,
    store::ChannelStore,
};

impl<S: ChannelStore> Request<'_, S> {
    /// Pays with a signed transaction that nobody has sent yet.
    ///
    /// Nothing is sent before the transaction was checked and the charge
    /// claimed (SECURITY-CASES A1, A35).
    pub(super) async fn pull(
        &self,
        transfers: &Transfers,
        raw: &[u8],
    ) -> Result<Redeemed, Failure> {
        self.check_mode(ChargeMode::Pull)?;
        let transaction = SignedTx::decode(raw).map_err(unreadable)?;
        let matched = charge::check(&transaction, transfers, self.binding())
            .map_err(|error| failed(error.to_string()))?;
        let payer = transaction.sender();
        self.check_source(payer)?;
        let wants_sponsor = transaction.needs_fee_payer();
        if wants_sponsor && !self.terms.sponsored {
            return Err(
                failed("fees are not sponsored here; sign a transaction that pays them").into(),
            );
        }
        let shown = Shown {
            payer,
            payment: PaymentId {
                replay_id: Some(transaction.replay_id()),
                hash: (!wants_sponsor).then(|| transaction.hash()),
            },
            memo: matched.memo,
            asked: self.asked_by(&transaction),
            valid_before: transaction.valid_before(),
        };
        loop {
            let (todo, found) = self.look(&shown).await?;
            let errand = self.errand(transfers, payer);
            match todo {
                Todo::Replay(response) => return self.replay(found, response),
                Todo::Serve => {}
                Todo::Resolve(sent) => self.resolve(errand, sent).await?,
                Todo::Begin => match self.check_valid(&transaction) {
                    Err(over) => self.find_late(&errand, &shown.payment, found, over).await?,
                    Ok(()) => {
                        self.check_sponsored(&transaction)?;
                        self.check_rate(payer).await?;
                        let state = self.first_state(&transaction);
                        match self.claim(&shown, found, state.clone()).await? {
                            Claimed::Conflict => continue,
                            Claimed::Elsewhere(redeemed) => return Ok(*redeemed),
                            Claimed::Now => self.send(errand, transaction, state).await?,
                        }
                    }
                },
            }
            return self.serve(shown.asked).await;
        }
    }

    /// What makes the request idempotent, bound to who has signed: that an
    /// access key acts for the sender is what it says, until the chain has taken
    /// the transaction (SECURITY-CASES A16).
    fn asked_by(&self, transaction: &SignedTx) -> Option<Asked> {
        let payer = transaction.sender();
        match transaction.access_key() {
            None => self.asked(payer),
            Some(key) => {
                let repeatable = self.visit.repeatable?;
                Some(repeatable.of_access_key(key, payer).into())
            }
        }
    }

    pub(super) fn errand(&self, transfers: &Transfers, payer: Address) -> Errand<S> {
        let challenge = self.credential.challenge();
        let names = (challenge.id.clone(), challenge.realm.clone());
        Errand::new(self.context, names, transfers.clone(), payer)
    }

    /// Neither the challenge nor the transaction may be over.
    fn check_valid(&self, transaction: &SignedTx) -> Result<(), Rejection> {
        self.check_in_time()?;
        let now = self.context.clock.now();
        let expired = |until: u64| i64::try_from(until).is_ok_and(|until| until <= now.as_secs());
        match transaction.valid_before().is_some_and(expired) {
            true => Err(failed("the transaction is not valid any more")),
            false => Ok(()),
        }
    }

    /// What a sponsor knows of a transaction before it is claimed and signed.
    fn check_sponsored(&self, transaction: &SignedTx) -> Result<(), Failure> {
        if transaction.needs_fee_payer() {
            let sponsor = self.context.sponsor.as_ref();
            let sponsor = sponsor.ok_or(Fault::Inconsistent("there is no fee payer"))?;
            sponsor.check_policy(transaction, self.context.clock.now())?;
        }
        Ok(())
    }

    /// Whoever shows many transactions that pay nothing has to wait: each leaves
    /// a record, and costs calls to the node (SECURITY-CASES A8).
    ///
    /// Accounts are made for nothing, so those of one address count together.
    /// It may be that of a proxy, with others behind it: who holds what is asked
    /// for waits only for itself.
    async fn check_rate(&self, payer: Address) -> Result<(), Failure> {
        let (limit, peer) = (&self.context.bad_signatures, self.visit.peer);
        let now = self.context.clock.now();
        if !limit.admits(pulls_of(payer), peer, now) {
            return Err(Rejection::TooManyProofs.into());
        }
        if limit.admits(ALL_PULLS, peer, now) {
            return Ok(());
        }
        let request = &self.terms.request;
        let chain = &self.context.chain;
        let held = chain.token_balance(request.currency, payer).await;
        match held.map_err(Fault::from)? >= request.amount {
            true => Ok(()),
            false => Err(Rejection::TooManyProofs.into()),
        }
    }

    /// A complete transaction is recorded in the same write that claims the
    /// charge; one that a sponsor has to sign is recorded after that.
    fn first_state(&self, transaction: &SignedTx) -> ChargeState {
        let until = self.context.lease(self.context.clock.now());
        if transaction.needs_fee_payer() {
            return ChargeState::Claimed { until };
        }
        ChargeState::Sent {
            sent: SentTx::of(transaction),
            until,
        }
    }

    /// Sends the transaction on a task of the server and waits for its end.
    async fn send(
        &self,
        errand: Errand<S>,
        transaction: SignedTx,
        claimed: ChargeState,
    ) -> Result<(), Failure> {
        let peer = self.visit.peer;
        let payer = transaction.sender();
        let context = Arc::clone(self.context);
        let work = async move {
            let ended = match claimed {
                ChargeState::Claimed { until } => errand.sponsor(transaction, until, peer).await,
                _ => {
                    errand
                        .follow(SentTx::of(&transaction), Sending::First)
                        .await
                }
            };
            // Counted here, since a client that has gone counts, too.
            if ended.as_ref().is_err_and(is_worthless) {
                let (limit, now) = (&context.bad_signatures, context.clock.now());
                limit.failed(pulls_of(payer), peer, now);
                limit.failed(ALL_PULLS, peer, now);
            }
            ended
        };
        let tasks = &self.context.tasks;
        tasks.run(work).await.map_err(Fault::from)??;
        Ok(())
    }

    /// Finds out what became of a transaction that was left alone.
    pub(super) async fn resolve(&self, errand: Errand<S>, sent: SentTx) -> Result<(), Failure> {
        let work = async move { errand.resolve(sent).await };
        let tasks = &self.context.tasks;
        tasks.run(work).await.map_err(Fault::from)??;
        Ok(())
    }
}

impl SentTx {
    /// A transaction that nobody has to sign any more.
    pub(crate) fn of(transaction: &SignedTx) -> Self {
        Self {
            hash: transaction.hash(),
            valid_before: transaction.valid_before(),
            raw: transaction.encode(),
        }
    }
}

/// Counts for all pulls of one address.
const ALL_PULLS: B256 = B256::ZERO;

/// Counts for the pulls of one payer. Bad proofs count for its word as it is,
/// and anybody can send those.
fn pulls_of(payer: Address) -> B256 {
    alloy_primitives::keccak256(payer)
}

/// Whether a pull has come to nothing, and so has cost its payer nothing; its
/// end may not be known.
fn is_worthless(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Rejected(Rejection::VerificationFailed(_)) | Failure::Fault(Fault::OutcomeUnknown)
    )
}

fn unreadable(error: TxError) -> Rejection {
    match error {
        TxError::Type | TxError::Malformed => invalid(&error.to_string()),
        error => failed(error.to_string()),
    }
}
