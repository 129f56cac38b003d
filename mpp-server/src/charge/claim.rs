//! Claiming a charge: one write after which nobody else can pay with the same.

use alloy_primitives::{Address, B256};
use mpp_core::Timestamp;

use super::{
    desk::{self, Found},
    errand::Errand,
    grant,
    machine::{ChargeCommand, Todo, apply, look, release},
    method::Request,
    record::{
        Asked, Bill, ChargeDocument, ChargeId, ChargeRecord, ChargeState, Kept, PaymentId, SentTx,
        idempotency_key, transaction_key,
    },
};
use crate::{
    broadcast::{Sighting, look_up},
    error::{Failure, Fault, Rejection},
    gate::{Redeemed, Replay},
    store::{ChannelStore, DocumentWrite},
};

/// A payment that was checked against the offer.
pub(super) struct Shown {
    pub(super) payer: Address,
    pub(super) payment: PaymentId,
    pub(super) memo: B256,
    pub(super) asked: Option<Asked>,
    /// The transaction can not be mined at or after this Unix time, in seconds.
    pub(super) valid_before: Option<u64>,
}

/// How a claim went.
pub(super) enum Claimed {
    /// The charge is the caller's.
    Now,
    /// Somebody wrote first: look again.
    Conflict,
    /// The same idempotent request has been paid by another charge.
    Elsewhere(Box<Redeemed>),
}

impl<S: ChannelStore> Request<'_, S> {
    pub(super) fn id(&self) -> ChargeId {
        ChargeId::of(&self.credential.challenge().id)
    }

    /// What is to be done about the payment, with the record it rests on.
    pub(super) async fn look(
        &self,
        shown: &Shown,
    ) -> Result<(Todo, Option<Found<ChargeRecord>>), Failure> {
        let found = self.context.desk.load(self.id()).await?;
        let now = self.context.clock.now();
        let todo = match &found {
            None => Todo::Begin,
            Some(found) => look(&found.value, &shown.payment, shown.asked, now)?,
        };
        Ok((todo, found))
    }

    /// The answer that a served charge was given.
    pub(super) fn replay(
        &self,
        found: Option<Found<ChargeRecord>>,
        response: Option<Kept>,
    ) -> Result<Redeemed, Failure> {
        let record = found.ok_or(Fault::Inconsistent("a charge's record is gone"))?;
        Ok(replayed(&record.value, response))
    }

    /// Claims the charge for the payment, and the payment for the charge, in
    /// one write (SECURITY-CASES A1).
    ///
    /// # Cancel safety
    /// Dropped, the claim was made or not. One that was made lapses, and the
    /// same payment may then be shown again.
    pub(super) async fn claim(
        &self,
        shown: &Shown,
        before: Option<Found<ChargeRecord>>,
        state: ChargeState,
    ) -> Result<Claimed, Failure> {
        let mut beside = Vec::new();
        for transaction in [shown.payment.replay_id, shown.payment.hash] {
            let Some(transaction) = transaction else {
                continue;
            };
            beside.extend(self.note_transaction(transaction).await?);
        }
        if let Some(asked) = shown.asked {
            match self.note_request(asked).await? {
                Noted::Free(write) => beside.extend(write),
                Noted::Paid(redeemed) => return Ok(Claimed::Elsewhere(redeemed)),
                Noted::Changed => return Ok(Claimed::Conflict),
            }
        }
        let record = self.record(shown, before.as_ref(), state);
        let expected = before.map(|before| before.version);
        let put = self.context.desk.put(record, expected, beside).await?;
        let Some(durable) = put else {
            return Ok(Claimed::Conflict);
        };
        if durable.get().is_paid() {
            self.context.tell_paid(durable.get());
        }
        Ok(Claimed::Now)
    }

    /// Grants the charge, which is paid, unless another one has paid for the
    /// same idempotent request.
    ///
    /// # Cancel safety
    /// As [`ChargeContext::grant`](super::ChargeContext::grant).
    pub(super) async fn serve(&self, asked: Option<Asked>) -> Result<Redeemed, Failure> {
        let context = self.context;
        loop {
            let found = context.desk.load(self.id()).await?;
            let found = found.ok_or(Fault::Inconsistent("a charge's record is gone"))?;
            let mut beside = Vec::new();
            if let Some(asked) = asked.filter(|asked| found.value.asked != Some(*asked)) {
                match self.note_request(asked).await? {
                    Noted::Paid(redeemed) => return Ok(*redeemed),
                    Noted::Free(note) if found.value.asked.is_none() => beside.extend(note),
                    Noted::Free(_) => {}
                    Noted::Changed => continue,
                }
            }
            let now = context.clock.now();
            let until = context.keeper.until(now);
            let next = apply(&found.value, ChargeCommand::Serve { until, asked }, now)?;
            let put = context.desk.put(next, Some(found.version), beside).await?;
            if let Some(serving) = put {
                return Ok(context.granted(serving.get(), until));
            }
        }
    }

    /// The note that a transaction pays this charge; an error if it pays
    /// another.
    pub(super) async fn note_transaction(
        &self,
        transaction: B256,
    ) -> Result<Option<DocumentWrite>, Failure> {
        self.context.note_transaction(self.id(), transaction).await
    }

    /// The note that an idempotent request has paid this charge.
    ///
    /// Whatever became of another charge under the same key, the answer tells
    /// the request how it goes on: nothing blocks a key that nobody works on.
    async fn note_request(&self, asked: Asked) -> Result<Noted, Failure> {
        let context = self.context;
        let key = idempotency_key(asked.into());
        let belongs = ChargeDocument::Belongs(self.id());
        let owner = context.desk.owner(key).await?;
        let version = owner.as_ref().map(|owner| owner.version);
        let note = || desk::write(key, version, &belongs);
        let Some(owner) = owner else {
            return Ok(Noted::Free(vec![note()?]));
        };
        if owner.value == self.id() {
            return Ok(Noted::Free(Vec::new()));
        }
        let other = context.desk.load(owner.value).await?;
        let Some(Found { version, value }) = other else {
            // It may have been removed since, with its note. One that is still
            // there belongs to nobody.
            let again = context.desk.owner(key).await?;
            let is_left = again.is_some_and(|again| again == owner);
            return Ok(match is_left {
                true => Noted::Free(vec![note()?]),
                false => Noted::Changed,
            });
        };
        let now = context.clock.now();
        // The other one was paid for the same: nothing more is taken.
        match look(&value, &value.payment, Some(asked), now) {
            Ok(Todo::Replay(response)) => Ok(Noted::Paid(Box::new(replayed(&value, response)))),
            Ok(Todo::Serve) if value.asked == Some(asked) => {
                Ok(Noted::Paid(Box::new(context.grant(owner.value).await?)))
            }
            Ok(Todo::Serve) => Err(Rejection::ChargeKeyReused.into()),
            // Nothing was sent for it. It ends in the same write: who was slow to
            // prepare its transaction does not send that any more. If it ended
            // before, the write is there to fail when it was removed with its note.
            Ok(Todo::Begin) => {
                let over = ChargeDocument::Record(Box::new(release(&value, now)));
                let end = desk::write(owner.value.key(), Some(version), &over)?;
                Ok(Noted::Free(vec![note()?, end]))
            }
            Ok(Todo::Resolve(sent)) => {
                self.resolve_other(&value, sent).await?;
                Ok(Noted::Changed)
            }
            // What is kept of it has expired, or it was sent back.
            Err(Rejection::InvalidChallenge(_)) => Ok(Noted::Free(vec![note()?])),
            Err(rejection) => Err(rejection.into()),
        }
    }

    /// Finds out what became of the transaction of another charge under the same
    /// key, which nobody follows any more, and records that.
    async fn resolve_other(&self, other: &ChargeRecord, sent: SentTx) -> Result<(), Failure> {
        let context = self.context;
        let transfers = self.terms.transfers.as_ref();
        let transfers = transfers.ok_or(Fault::Inconsistent("nothing is asked for"))?;
        // The receipt of a payment for another offer can not be judged by this one.
        if !self.bill().is_like(&other.bill) {
            let now = context.clock.now();
            match look_up(&context.chain, sent.hash, sent.valid_before, now).await? {
                Sighting::Mined(receipt) if receipt.success => {
                    return Err(Rejection::ChargeKeyReused.into());
                }
                Sighting::NotYet => return Err(Rejection::ChargeInProgress.into()),
                Sighting::Mined(_) | Sighting::Never => {}
            }
        }
        let realm = self.credential.challenge().realm.clone();
        let names = (other.challenge_id.clone(), realm);
        let errand = Errand::new(context, names, transfers.clone(), other.payer);
        match self.resolve(errand.asked_by_another(), sent).await {
            // It has paid for other transfers of the same sum.
            Err(Failure::Rejected(Rejection::ChargeKeyReused)) => {
                Err(Rejection::ChargeKeyReused.into())
            }
            // It was not paid, or somebody else has begun to look.
            Ok(()) | Err(Failure::Rejected(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    fn bill(&self) -> Bill {
        let request = &self.terms.request;
        Bill {
            chain_id: request.method_details.chain_id,
            currency: request.currency,
            amount: request.amount,
            recipient: request.recipient,
            external_id: request.external_id.clone(),
        }
    }

    fn record(
        &self,
        shown: &Shown,
        before: Option<&Found<ChargeRecord>>,
        state: ChargeState,
    ) -> ChargeRecord {
        let now = self.context.clock.now();
        let paid = !matches!(
            state,
            ChargeState::Claimed { .. } | ChargeState::Sent { .. }
        );
        ChargeRecord {
            challenge_id: self.credential.challenge().id.clone(),
            bill: self.bill(),
            payer: shown.payer,
            payment: PaymentId {
                // What an earlier attempt may have sent is still looked for.
                hash: shown.payment.hash.or(earlier_hash(before, &shown.payment)),
                ..shown.payment
            },
            memo: shown.memo,
            asked: shown.asked,
            claimed_at: now,
            paid_at: paid.then_some(now),
            grants: before.map_or(0, |before| before.value.grants),
            refunded: mpp_core::Amount::ZERO,
            refunds: 0,
            state,
            ends_at: self.ends_at(shown.valid_before, before),
        }
    }

    /// When nothing can be paid for the charge any more, by this or an earlier
    /// transaction.
    fn ends_at(
        &self,
        valid_before: Option<u64>,
        before: Option<&Found<ChargeRecord>>,
    ) -> Option<Timestamp> {
        let valid_before = i64::try_from(valid_before?).ok()?;
        let expires = self.credential.challenge().expires_at().ok()?;
        let end = expires.max(Timestamp::from_secs(valid_before));
        match before {
            Some(before) => before.value.ends_at.map(|earlier| earlier.max(end)),
            None => Some(end),
        }
    }

    /// When its time is over, a payment counts only if it was sent before, and
    /// is found on the chain. Otherwise there is nothing but the refusal.
    pub(super) async fn find_late(
        &self,
        errand: &Errand<S>,
        shown: &PaymentId,
        found: Option<Found<ChargeRecord>>,
        refusal: Rejection,
    ) -> Result<(), Failure> {
        match earlier_hash(found.as_ref(), shown) {
            Some(hash) if errand.look_up(hash).await? => Ok(()),
            _ => Err(refusal.into()),
        }
    }
}

/// Whether an idempotent request may pay.
enum Noted {
    /// It may, once these are written together with its charge.
    Free(Vec<DocumentWrite>),
    /// Another charge has paid for it.
    Paid(Box<Redeemed>),
    /// It was found out what became of another charge: look again.
    Changed,
}

impl<S: ChannelStore> super::ChargeContext<S> {
    /// The note that a transaction pays a charge; an error if it pays another.
    pub(super) async fn note_transaction(
        &self,
        id: ChargeId,
        transaction: B256,
    ) -> Result<Option<DocumentWrite>, Failure> {
        let key = transaction_key(transaction);
        match self.desk.owner(key).await? {
            None => {
                let belongs = ChargeDocument::Belongs(id);
                Ok(Some(desk::write(key, None, &belongs)?))
            }
            Some(owner) if owner.value == id => Ok(None),
            Some(_) => Err(Rejection::InvalidChallenge(
                "the transaction has paid another challenge",
            )
            .into()),
        }
    }
}

/// The hash under which an earlier attempt may have sent the same transaction.
fn earlier_hash(found: Option<&Found<ChargeRecord>>, shown: &PaymentId) -> Option<B256> {
    let known = found.map(|found| found.value.payment);
    known.filter(|known| known.is(shown))?.hash
}

fn replayed(record: &ChargeRecord, response: Option<Kept>) -> Redeemed {
    Redeemed::Served(Box::new(Replay {
        receipt: grant::payment(record).receipt,
        response: response.map(Into::into),
    }))
}
