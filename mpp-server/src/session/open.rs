//! The open action: check everything, record, broadcast, then serve.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{B256, Bytes, keccak256};
use mpp_tempo::{
    ChannelId, SignedVoucher, VoucherVerifier,
    chain::ChainClient,
    channel::Existence,
    escrow::EscrowEvent,
    tx::{OpenCall, SignedTx, check},
    wire::SessionPayload,
};

use super::{
    SessionContext,
    command::Command,
    driver::Created,
    machine::{Screened, screen},
    method::Request,
    prepare::{Prepared, reason, refused},
    record::{ChannelRecord, PendingTx, Phase, Quarantine},
    voucher::missing_voucher,
};
use crate::{
    broadcast::{Fate, Sighting, look_up},
    error::{Failure, Fault, Rejection},
    gate::{Purpose, Redeemed},
    store::ChannelStore,
    trial::Trial,
};

/// A transaction with an expiring nonce is valid for no longer, in seconds
/// (PROTOCOL 4). Chains take less.
const LONGEST_VALIDITY_SECS: u64 = 900;

/// An attempt to open is given up after so many seconds, however long its
/// transaction is valid.
const LONGEST_ATTEMPT_SECS: u64 = 60 * 60;

/// How often a channel is looked for that a receipt says was opened: a node may
/// lag behind for so long.
const VIEWS: u32 = 8;

/// Pause between two such looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl<S: ChannelStore> Request<'_, S> {
    /// Opens a channel with the payer's signed transaction and first voucher.
    ///
    /// The order is PROTOCOL 5.4: nothing is broadcast before transaction and
    /// voucher were verified, and the attempt is recorded before it is sent
    /// (SECURITY-CASES A34, A35). Repeating an open is harmless.
    ///
    /// # Cancel safety
    /// Once the attempt is recorded, a task of the server follows the
    /// transaction to its end; repeating the request picks up the result.
    pub(super) async fn open(&self, payload: &SessionPayload) -> Result<Redeemed, Failure> {
        let signed = payload.voucher().ok_or_else(missing_voucher)?;
        let transaction = read_transaction(payload)?;
        let opened = self.check_open(payload, &transaction)?;
        let channel_id = opened.terms.id();

        let context = &self.context;
        let known = context.driver.store().load(channel_id).await?;
        let known = known.map(|known| known.record);
        let attempted = known
            .as_ref()
            .is_none_or(|record| is_attempt(&record.phase));
        if attempted {
            self.check_first_voucher(&opened, &signed)?;
            // An earlier attempt may have been mined although nobody heard of
            // it, and its transaction may have become invalid since.
            let mined = match &known {
                Some(record) => context.is_on_chain(record).await?,
                None => false,
            };
            if !mined {
                let trial = self.admit(&transaction, opened.deposit).await?;
                if known.is_none() {
                    let prospects = self.check_prospects(&opened, &transaction).await;
                    trial.counted(prospects)?;
                }
                self.establish(&opened, &signed, transaction, trial).await?;
            }
        }
        self.present(channel_id, &signed).await
    }

    /// The transaction must open exactly the channel that was offered.
    fn check_open(
        &self,
        payload: &SessionPayload,
        transaction: &SignedTx,
    ) -> Result<OpenCall, Failure> {
        let offered = self.terms;
        let opened = check::open(
            transaction,
            offered.protocol,
            offered.escrow,
            offered.chain_id,
        )
        .map_err(|error| refused(&error.to_string()))?;
        let parties = &opened.terms.descriptor;
        if parties.payee != offered.recipient {
            return Err(refused("the transaction pays another recipient"));
        }
        if parties.token != offered.currency {
            return Err(refused("the transaction deposits another currency"));
        }
        if parties.operator != offered.operator {
            return Err(refused("the transaction names another operator"));
        }
        if opened.deposit < offered.price {
            return Err(refused("the deposit is below the price"));
        }
        if payload.channel_id() != opened.terms.id() {
            return Err(refused("the transaction opens another channel"));
        }
        self.check_descriptor(payload.descriptor(), parties)?;
        if let SessionPayload::Open {
            authorized_signer: Some(claimed),
            ..
        } = payload
            && *claimed != opened.terms.signer()
            && *claimed != parties.authorized_signer
        {
            return Err(refused("`authorizedSigner` is not the transaction's"));
        }
        self.check_source(parties.payer)?;
        Ok(opened)
    }

    /// The first voucher must hold before the payer's deposit is locked.
    fn check_first_voucher(
        &self,
        opened: &OpenCall,
        signed: &SignedVoucher,
    ) -> Result<(), Rejection> {
        let channel_id = opened.terms.id();
        if signed.voucher.cumulative > opened.deposit {
            return Err(Rejection::AmountExceedsDeposit {
                channel_id,
                deposit: opened.deposit,
            });
        }
        VoucherVerifier::new(&opened.terms)
            .verify(signed)
            .map(drop)
            .map_err(|error| Rejection::from_voucher(&error, channel_id))
    }

    /// An attempt is recorded for good, so one that can not succeed is refused
    /// before: it would cost its sender nothing. What is sponsored is checked
    /// for that by its sponsor.
    ///
    /// A payer who can pay costs one call to the node. A transaction that was
    /// mined already needs neither time nor money any more.
    async fn check_prospects(
        &self,
        opened: &OpenCall,
        transaction: &SignedTx,
    ) -> Result<(), Failure> {
        if transaction.needs_fee_payer() {
            return Ok(());
        }
        let Some(why) = self.obstacle(opened, transaction).await? else {
            return Ok(());
        };
        let chain = &self.context.chain;
        match chain.receipt(transaction.hash()).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(refused(why)),
            Err(error) => Err(Fault::from(error).into()),
        }
    }

    /// What keeps a transaction from being mined.
    async fn obstacle(
        &self,
        opened: &OpenCall,
        transaction: &SignedTx,
    ) -> Result<Option<&'static str>, Fault> {
        let chain = &self.context.chain;
        let ends = match transaction.valid_before() {
            None if transaction.has_expiring_nonce() => Some(u64::MAX),
            ends => ends,
        };
        let outside = |now: u64| match ends? {
            ends if ends <= now => Some("the transaction's validity has ended"),
            ends if transaction.has_expiring_nonce()
                && ends > now.saturating_add(LONGEST_VALIDITY_SECS) =>
            {
                Some("the transaction is valid for longer than an expiring nonce may be")
            }
            _ => None,
        };
        let now = u64::try_from(self.visit.now.as_secs()).unwrap_or_default();
        if outside(now).is_some() {
            // The clock of the chain decides, and may differ from ours.
            let head = chain.block().await?;
            if let Some(why) = outside(head.timestamp) {
                return Ok(Some(why));
            }
        }
        let OpenCall { terms, deposit } = opened;
        let parties = &terms.descriptor;
        let balance = chain.token_balance(parties.token, parties.payer).await?;
        Ok((balance < *deposit).then_some("the payer does not hold the deposit"))
    }

    /// Brings the channel on chain, or learns that it is there.
    async fn establish(
        &self,
        opened: &OpenCall,
        signed: &SignedVoucher,
        transaction: SignedTx,
        trial: Trial,
    ) -> Result<(), Failure> {
        let context = &self.context;
        let prepared = self.prepare(transaction, opened.deposit).await;
        let Prepared {
            transaction,
            sponsored,
        } = trial.counted(prepared)?;
        let pending = PendingTx {
            hash: transaction.hash(),
            valid_before: transaction.valid_before().unwrap_or(u64::MAX),
        };
        let now = self.visit.now;
        let record = ChannelRecord::opening(opened.terms, pending, signed.clone(), now);
        let created = context.driver.create(record).await?;
        if let Created::Before(found) = created.get()
            && let Phase::Opening(other) = found.phase
            && other.hash != pending.hash
        {
            let resolved = context.resolve_open(found, other).await;
            return trial.counted(resolved);
        }
        let follower = Arc::clone(context);
        let (opened, raw) = (*opened, transaction.encode());
        // Counted there, since a client that has gone counts, too.
        let work = async move { trial.counted(follower.follow_open(opened, raw, sponsored).await) };
        context.tasks.run(work).await.map_err(Fault::from)?
    }

    /// Takes the voucher of a channel that is in service, and holds the price.
    async fn present(
        &self,
        channel_id: ChannelId,
        signed: &SignedVoucher,
    ) -> Result<Redeemed, Failure> {
        let context = &self.context;
        let (record, _) = context.driver.load(channel_id).await?;
        self.check_exposure(&record)?;
        let min_delta = self.terms.min_voucher_delta;
        let asked = self.asked(channel_id);
        let command = match screen(&record, signed, min_delta) {
            Ok(Screened::Known) => self.hold_balance(asked),
            Ok(Screened::NeedsCurve) => Command::Accept {
                voucher: context.verify(&record, signed, self.visit.peer).await?,
                min_delta,
                hold: self.hold(asked),
            },
            // A repeated open that later vouchers have overtaken finds its
            // channel. It buys nothing: its transaction is public by now, and
            // so is its voucher once that was settled, so neither shows that
            // the payer is asking.
            Err(Rejection::DeltaTooSmall { accepted, .. })
                if self.visit.purpose == Purpose::Management
                    && signed.voucher.cumulative < accepted =>
            {
                context.verify(&record, signed, self.visit.peer).await?;
                Command::Keep
            }
            Err(rejection) => return self.replay(&record, signed, rejection).await,
        };
        self.carry_out(signed, command).await
    }
}

impl<S: ChannelStore> SessionContext<S> {
    /// Sends an open transaction and records what came of it.
    async fn follow_open(
        &self,
        opened: OpenCall,
        raw: Bytes,
        sponsored: Option<B256>,
    ) -> Result<(), Failure> {
        let OpenCall { terms, deposit } = opened;
        let (channel_id, transaction) = (terms.id(), keccak256(&raw));
        match self.broadcast(raw, sponsored).await? {
            Fate::Succeeded(receipt) => {
                let shown = receipt.logs.iter().any(|log| {
                    log.address == terms.escrow
                        && matches!(
                            EscrowEvent::decode(log, terms.protocol),
                            Some(EscrowEvent::Opened { channel_id: id, deposit: locked, .. })
                                if id == channel_id && locked == deposit
                        )
                });
                if !shown {
                    return Err(Fault::Inconsistent(
                        "an open transaction succeeded without its ChannelOpened event",
                    )
                    .into());
                }
                self.note_receipt(&terms, &receipt).await?;
                let confirmed = self.confirm_open(channel_id, receipt.block_number).await;
                self.believed(channel_id, confirmed)
            }
            // The same transaction may have been mined long ago.
            fate @ (Fate::Reverted(_) | Fate::Refused(_)) => {
                let (record, _) = self.driver.load(channel_id).await?;
                if self.is_on_chain(&record).await? {
                    return Ok(());
                }
                self.run(channel_id, Command::OpenFailed { transaction })
                    .await?;
                Err(refused(&reason(fate)))
            }
        }
    }

    /// Puts a channel into service that a receipt says was opened, if the chain
    /// shows it.
    ///
    /// The transaction may be an old one, that its payer has sent itself: since
    /// then the channel may have been settled, asked to close, or withdrawn.
    async fn confirm_open(&self, id: ChannelId, opened_in: u64) -> Result<(), Failure> {
        for _ in 0..VIEWS {
            let (record, _) = self.driver.load(id).await?;
            let view = self.view(&record).await.map_err(Fault::from)?;
            if view.existence != Existence::Unknown {
                // Events after the open may have been read before the record was
                // there, and this view may be older than they are.
                if self.interest.has_read(opened_in) {
                    self.interest.doubt(id);
                }
                self.reach_views([(&record, &view)]).await?;
                self.observe(id, view).await?;
                return Ok(());
            }
            // A node that lags behind the one that has sent the receipt does not
            // show it either.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        match self.note_vanished(id).await? {
            true => Ok(()),
            false => Err(Fault::OutcomeUnknown.into()),
        }
    }

    /// Whether the chain shows the channel; if so, it goes into service.
    ///
    /// A node that lags behind can not tell.
    async fn is_on_chain(&self, record: &ChannelRecord) -> Result<bool, Failure> {
        // The head first: what is missing in a later view is missing.
        let seen = self.learn_seen().await?;
        let head = self.chain.block().await.map_err(Fault::from)?;
        let view = self.view(record).await.map_err(Fault::from)?;
        if view.existence != Existence::Open {
            seen.require_caught_up(head)?;
            return Ok(false);
        }
        self.reach_views([(record, &view)]).await?;
        // At which block nobody knows: it is read again.
        self.interest.doubt(record.id);
        self.observe(record.id, view).await?;
        Ok(true)
    }

    /// Another transaction for the same channel is under way: what became of
    /// it?
    async fn resolve_open(&self, record: &ChannelRecord, other: PendingTx) -> Result<(), Failure> {
        if self.is_on_chain(record).await? {
            return Ok(());
        }
        match self.give_up_open(record, other).await? {
            OpenFate::Failed => Err(refused(
                "the earlier open transaction has failed; send a new one",
            )),
            OpenFate::Opened if self.note_vanished(record.id).await? => Ok(()),
            OpenFate::Opened | OpenFate::Unknown => Err(Fault::OutcomeUnknown.into()),
        }
    }

    /// Ends an attempt to open a channel that the chain does not show, if its
    /// transaction has changed nothing and never will. Says what became of it.
    ///
    /// A transaction that is valid for long may still be mined after an hour.
    /// Nothing was sold until then, and the channel is in service as soon as the
    /// chain shows it.
    ///
    /// # Errors
    /// When chain or store fail, or the node is behind what was seen before:
    /// then the attempt goes on.
    ///
    /// # Cancel safety
    /// Dropped, the attempt has ended or goes on.
    pub(crate) async fn give_up_open(
        &self,
        record: &ChannelRecord,
        open: PendingTx,
    ) -> Result<OpenFate, Failure> {
        let channel_id = record.id;
        let before = self.learn_seen().await?;
        let head = self.chain.block().await.map_err(Fault::from)?;
        let begun = u64::try_from(record.opened_at.as_secs()).unwrap_or_default();
        let given_up = begun.saturating_add(LONGEST_ATTEMPT_SECS);
        let valid_before = Some(open.valid_before.min(given_up));
        let seen = look_up(&self.chain, open.hash, valid_before, self.clock.now()).await?;
        match seen {
            Sighting::Never => {}
            Sighting::Mined(receipt) if !receipt.success => {}
            Sighting::Mined(_) => return Ok(OpenFate::Opened),
            Sighting::NotYet => return Ok(OpenFate::Unknown),
        }
        before.require_caught_up(head)?;
        let transaction = open.hash;
        self.run(channel_id, Command::OpenFailed { transaction })
            .await?;
        Ok(OpenFate::Failed)
    }
}

/// What became of an open transaction whose channel the chain does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenFate {
    /// It has changed nothing and never will.
    Failed,
    /// It has opened the channel, which has ended since: the chain's history
    /// tells how.
    Opened,
    /// It may still be mined.
    Unknown,
}

/// Whether the chain may have to be brought to know the channel.
fn is_attempt(phase: &Phase) -> bool {
    matches!(
        phase,
        Phase::Opening(_)
            | Phase::Failed
            | Phase::Quarantined {
                reason: Quarantine::OpenReverted,
                ..
            }
    )
}

/// Decodes the payload's transaction.
pub(super) fn read_transaction(payload: &SessionPayload) -> Result<SignedTx, Rejection> {
    let (SessionPayload::Open { transaction, .. } | SessionPayload::TopUp { transaction, .. }) =
        payload
    else {
        return Err(Rejection::InvalidPayload(String::from(
            "the payload carries no transaction",
        )));
    };
    SignedTx::decode(transaction).map_err(|error| {
        Rejection::InvalidPayload(format!("the transaction is malformed: {error}"))
    })
}
