//! Pull: the client signs the transaction, the server sends it.

use alloy_primitives::Address;
use mpp_tempo::{
    charge::{self, Transfers},
    tx::{SignedTx, TxError},
    wire::ChargeMode,
};

use super::{
    claim::{Claimed, Shown},
    errand::{self, Errand},
    machine::Todo,
    method::{Request, failed, invalid},
    record::{Asked, ChargeState, PaymentId, SentTx},
};
use crate::{
    broadcast::Sending,
    error::{Failure, Fault, Rejection},
    gate::Redeemed,
    sponsor::violated,
    store::ChannelStore,
    trial::Trial,
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
                        self.check_sponsored(&transaction, transfers)?;
                        let trial = self.admit(&transaction).await?;
                        if !transfers.is_attributed() {
                            let earlier = found.as_ref().map(|found| found.value.payment);
                            let is_known = earlier.is_some_and(|known| known.is(&shown.payment));
                            let checked = self.check_unattributed(&transaction, is_known).await;
                            trial.counted(checked)?;
                        }
                        let state = self.first_state(&transaction);
                        match self.claim(&shown, found, state.clone()).await? {
                            Claimed::Conflict => continue,
                            Claimed::Elsewhere(redeemed) => return Ok(*redeemed),
                            Claimed::Now => self.send(errand, transaction, state, trial).await?,
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
    fn check_sponsored(
        &self,
        transaction: &SignedTx,
        transfers: &Transfers,
    ) -> Result<(), Failure> {
        if transaction.needs_fee_payer() {
            let sponsor = self.context.sponsor.as_ref();
            let sponsor = sponsor.ok_or(errand::NO_SPONSOR)?;
            let policy = sponsor.policy.for_transfers(transfers.count());
            let now = self.context.clock.now();
            policy.check(transaction, now).map_err(violated)?;
        }
        Ok(())
    }

    /// A payment that carries nothing of its challenge is known by its transaction
    /// alone, and what was mined is there for everybody to show: it counts only if
    /// it was sent from here. One that is known here was not mined when it came.
    ///
    /// It is over when its challenge is, at the latest (PROTOCOL 4), and what the
    /// chain forgets then can not be sent once more.
    async fn check_unattributed(
        &self,
        transaction: &SignedTx,
        is_known: bool,
    ) -> Result<(), Failure> {
        let expires = self.credential.challenge().expires_at().ok();
        let expires = expires.and_then(|expires| u64::try_from(expires.as_secs()).ok());
        let until = transaction.valid_before();
        let ends = until.is_some_and(|until| expires.is_some_and(|expires| until <= expires));
        if !transaction.has_expiring_nonce() || !ends {
            let why = "the transaction needs an expiring nonce, and an end of validity within \
                       its challenge's";
            return Err(failed(why).into());
        }
        match is_known {
            true => Ok(()),
            false => errand::check_unmined(self.context, transaction.hash()).await,
        }
    }

    /// Lets a transaction be tried that may pay nothing, and counts then.
    async fn admit(&self, transaction: &SignedTx) -> Result<Trial, Failure> {
        let (context, request) = (self.context, &self.terms.request);
        let (limit, clock) = (&context.bad_signatures, &context.clock);
        let trial = Trial::new(limit, clock, transaction, self.visit.peer);
        let price = (request.currency, request.amount);
        trial.check(&context.chain, price).await?;
        Ok(trial)
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
        trial: Trial,
    ) -> Result<(), Failure> {
        let peer = self.visit.peer;
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
            trial.counted(ended)
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

fn unreadable(error: TxError) -> Rejection {
    match error {
        TxError::Type | TxError::Malformed => invalid(&error.to_string()),
        error => failed(error.to_string()),
    }
}
