//! Refilling a channel.
//!
//! The signed transaction is written into the book before it leaves, and stays there until its fate
//! is known. A top-up whose answer was lost is never repeated with a new transaction: the same one
//! is sent again while it may be mined, and also when it was, so that the server hears of it. Only
//! when it can not be mined anymore a new one is made. So a deposit is neither made twice nor
//! forgotten.

use alloy_primitives::B256;
use mpp_core::{Amount, SessionReceipt};
use mpp_tempo::chain::ChainError;
use mpp_tempo::tx::{build, gas};
use mpp_tempo::{ChannelId, ChannelTerms, Existence};

use super::book::{self, ChannelRecord, GateGuard, PendingTopUp};
use super::open::fee_mode;
use super::recover::{Fate, judge_top_up};
use super::transact::Packed;
use super::wire;
use crate::credential::CredentialField;
use crate::error::{ClientError, TransportError};
use crate::event::ClientEvent;
use crate::offer::Offer;
use crate::payer::Payer;

/// A top-up that is to be sent to the server.
#[derive(Debug)]
pub struct TopUp {
    payer: Payer,
    channel: ChannelId,
    terms: ChannelTerms,
    pending: PendingTopUp,
    is_repeat: bool,
    /// One top-up of a channel at a time.
    _gate: GateGuard,
}

impl TopUp {
    /// The channel.
    #[must_use]
    pub const fn channel_id(&self) -> ChannelId {
        self.channel
    }

    /// What is added, in base units.
    #[must_use]
    pub const fn additional(&self) -> Amount {
        self.pending.additional
    }

    /// Whether this is an earlier top-up, which the server never confirmed, once more.
    #[must_use]
    pub const fn is_repeat(&self) -> bool {
        self.is_repeat
    }

    /// The credential, under an offer of the same server.
    ///
    /// # Errors
    /// [`ClientError::Payment`] when it can not be written, [`ClientError::Misuse`] when the payer
    /// has begun to leave the channel.
    pub fn credential(&self, offer: &Offer) -> Result<CredentialField, ClientError> {
        check_in_use(&self.payer.book().read(&self.channel)?)?;
        wire::top_up(offer, &self.terms, self.channel, &self.pending)
    }

    /// The server confirms the top-up.
    ///
    /// # Errors
    /// [`ClientError::Discrepancy`] for a receipt that contradicts the accounts; whether the
    /// deposit grew is then asked from the chain before the next top-up.
    pub fn confirm(self, receipt: &SessionReceipt) -> Result<(), ClientError> {
        let totals = self.payer.totals(self.channel, receipt)?;
        let limit = self.payer.policy().unaccounted_limit();
        let deposit = self.pending.deposit_after();
        let seen = book::update(self.payer.book(), &self.channel, |record| {
            record.ledger.observe(None, totals, limit)?;
            // The chain may have shown more already.
            let deposit = deposit.max(record.ledger.deposit());
            record.ledger.set_deposit(deposit);
            record.top_up = None;
            Ok(deposit)
        })?;
        let deposit = seen.map_err(|discrepancy| self.payer.report(self.channel, discrepancy))?;
        self.payer.emit(&ClientEvent::ToppedUp {
            channel_id: self.channel,
            additional: self.pending.additional,
            deposit,
        });
        Ok(())
    }

    /// The server refused. It has the transaction, so its fate is settled with the next top-up.
    #[must_use]
    pub fn refuse(self, error: ClientError) -> ClientError {
        self.payer.emit(&ClientEvent::Rejected {
            channel_id: Some(self.channel),
            reason: error.to_string(),
        });
        error
    }

    /// The answer was lost: the deposit may grow yet.
    #[must_use]
    pub fn lose(self, source: TransportError) -> ClientError {
        ClientError::Indeterminate {
            channel_id: self.channel,
            tx_hash: Some(self.pending.tx_hash),
            cumulative: Amount::ZERO,
            cost: self.pending.additional,
            source,
        }
    }
}

impl Payer {
    /// Prepares a top-up by `additional` base units.
    ///
    /// An earlier top-up that the server never confirmed comes first, whatever its amount
    /// ([`TopUp::is_repeat`]): it may be mined, and the server may not know. Call again after it.
    ///
    /// # Errors
    /// [`ClientError::Policy`] when the deposit, or what lies at the origin, would exceed the policy;
    /// [`ClientError::Misuse`] for a channel that requests do not use any more; the errors of the
    /// chain, the signer and the book.
    ///
    /// # Cancel safety
    /// Dropped, nothing was sent. A transaction that was signed stays in the book and is used next
    /// time.
    pub async fn top_up(
        &self,
        id: ChannelId,
        offer: &Offer,
        additional: Amount,
    ) -> Result<TopUp, ClientError> {
        let gate = self.book().gate(&self.book().read(&id)?.key);
        let guard = gate.enter().await?;
        let (record, unfinished) = self.settle_top_up(&id).await?;
        check_in_use(&record)?;
        if let Some(pending) = unfinished {
            return Ok(self.order(&record, pending, true, guard));
        }
        let total = record
            .ledger
            .deposit()
            .checked_add(additional)
            .ok_or(ClientError::Payment("the deposit is out of range"))?;
        self.policy().check_deposit(total, record.terms.protocol)?;
        self.check_locked(&record.key.origin, additional).await?;
        self.sign_top_up(&record, offer, additional, guard).await
    }

    /// Prepares the top-up that a voucher for `required` base units needs, as far as the policy
    /// refills on its own; `None` when an earlier one turns out to be enough.
    pub(super) async fn refill(
        &self,
        offer: &Offer,
        id: ChannelId,
        required: Amount,
        guard: GateGuard,
    ) -> Result<Option<TopUp>, ClientError> {
        let (record, unfinished) = self.settle_top_up(&id).await?;
        check_in_use(&record)?;
        if let Some(pending) = unfinished {
            return Ok(Some(self.order(&record, pending, true, guard)));
        }
        let deposit = record.ledger.deposit();
        if required <= deposit {
            return Ok(None);
        }
        let additional = self
            .policy()
            .refill(deposit, record.opened_with(), required)?
            .ok_or(ClientError::InsufficientDeposit {
                channel_id: id,
                required,
                deposit,
            })?;
        // Rather less than usual than too much at one origin.
        let (origin, missing) = (&record.key.origin, required.saturating_sub(deposit));
        let additional = match self.may_lock(origin, additional)? {
            Ok(()) => additional,
            Err(_) => missing,
        };
        self.check_locked(origin, additional).await?;
        let top_up = self.sign_top_up(&record, offer, additional, guard).await?;
        Ok(Some(top_up))
    }

    async fn sign_top_up(
        &self,
        record: &ChannelRecord,
        offer: &Offer,
        additional: Amount,
        guard: GateGuard,
    ) -> Result<TopUp, ClientError> {
        let fee_mode = fee_mode(offer, record.terms.descriptor.token);
        let context = self.context(gas::TOP_UP, fee_mode).await?;
        let unsigned = build::top_up(&context, &record.terms, additional)?;
        let packed = Packed::from(&self.sign_tx(unsigned).await?);
        let pending = PendingTopUp {
            transaction: packed.bytes,
            tx_hash: packed.hash,
            valid_before: packed.valid_before,
            additional,
            deposit_before: record.ledger.deposit(),
        };
        book::update(self.book(), &record.id, |record| {
            // Whoever leaves the channel does not wait for the gate.
            check_in_use(record)?;
            record.grows_until = record.grows_until.max(pending.valid_before);
            record.top_up = Some(pending.clone());
            Ok::<_, ClientError>(())
        })??;
        // Another channel of the origin may have grown meanwhile: both count now, and neither
        // transaction has left.
        if let Err(violation) = self.may_lock(&record.key.origin, Amount::ZERO)? {
            book::update(self.book(), &record.id, |record| {
                let is_ours = |found: &PendingTopUp| found.tx_hash == pending.tx_hash;
                record.top_up = record.top_up.take().filter(|found| !is_ours(found));
            })?;
            return Err(violation.into());
        }
        Ok(self.order(record, pending, false, guard))
    }

    fn order(
        &self,
        record: &ChannelRecord,
        pending: PendingTopUp,
        is_repeat: bool,
        gate: GateGuard,
    ) -> TopUp {
        TopUp {
            payer: self.clone(),
            channel: record.id,
            terms: record.terms,
            pending,
            is_repeat,
            _gate: gate,
        }
    }

    /// Finds out what became of a top-up that is still in the book, and returns it if it is to be
    /// sent once more: because it may yet be mined, or because it was mined and the server, which
    /// has not confirmed it, may not know.
    async fn settle_top_up(
        &self,
        id: &ChannelId,
    ) -> Result<(ChannelRecord, Option<PendingTopUp>), ClientError> {
        let record = self.book().read(id)?;
        let Some(pending) = record.top_up.clone() else {
            return Ok((record, None));
        };
        let (chain_now, view) = self.look(&record).await?;
        let expected = pending.deposit_after();
        let fate = judge_top_up(view, expected, chain_now, pending.valid_before);
        if fate != Fate::Undecided {
            book::update(self.book(), id, |record| {
                record.top_up = None;
                if let Fate::Happened(view) = fate {
                    record.see_deposit(view.deposit, chain_now);
                }
            })?;
        }
        let unfinished = (fate != Fate::NeverHappens).then_some(pending);
        Ok((self.book().read(id)?, unfinished))
    }

    /// The server sees a smaller deposit than the book: the chain decides which.
    pub(super) async fn refresh_deposit(
        &self,
        id: &ChannelId,
        presented: Amount,
    ) -> Result<(), ClientError> {
        let record = self.book().read(id)?;
        let (chain_now, view) = self.look(&record).await?;
        if view.existence != Existence::Open || view.deposit >= presented {
            return Err(ClientError::Protocol(
                "it sees a smaller deposit than the chain",
            ));
        }
        let is_believed = book::update(self.book(), id, |record| {
            record.see_deposit(view.deposit, chain_now)
        })?;
        if !is_believed {
            let behind = "the node shows less than was deposited; it may be behind";
            return Err(ChainError::unreachable(behind).into());
        }
        Ok(())
    }

    /// Hash of a top-up that may still be mined, if there is one.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn pending_top_up(&self, id: &ChannelId) -> Result<Option<B256>, ClientError> {
        let pending = self.book().read(id)?.top_up;
        Ok(pending.map(|pending| pending.tx_hash))
    }
}

/// A top-up takes the close request of a payer back that is on its way out (PROTOCOL 5.3), and what
/// is put into a channel that was given up only waits for its end.
const fn check_in_use(record: &ChannelRecord) -> Result<(), ClientError> {
    if record.phase.is_usable() {
        Ok(())
    } else {
        Err(ClientError::Misuse("the channel takes no more payments"))
    }
}
