//! Opening a channel: once for a bunch of requests, with one transaction whatever happens.
//!
//! The first request that finds no channel takes the gate of its key, signs the open, writes it
//! into the book and sends it with its own request; the others wait. If it is dropped on the way,
//! the next one in line finds the record and sends *the same* transaction again, so that no second
//! deposit is made. Once the transaction can not be mined anymore, the chain decides.

use alloy_primitives::{Address, B256};
use mpp_core::Amount;
use mpp_tempo::tx::build::{self, OpenParams};
use mpp_tempo::tx::{FeeMode, gas};
use mpp_tempo::voucher::sign_voucher;
use mpp_tempo::{ChannelId, Existence, Signer};

use super::book::{self, ChannelKey, ChannelRecord, GateGuard, OpenAttempt, Phase, StaleReason};
use super::ledger::Ledger;
use super::locked;
use super::recover::{Fate, judge_open};
use super::transact::Packed;
use crate::error::ClientError;
use crate::event::ClientEvent;
use crate::offer::Offer;
use crate::origin::Origin;
use crate::payer::Payer;
use crate::random::random;

/// Seconds of validity that must be left for a transaction to be sent again.
const RESEND_SECS: u64 = 3;

/// The channel that a request is to use.
#[derive(Debug)]
pub(super) enum Channel {
    /// It is open.
    Ready(ChannelId),
    /// The request opens it; the guard keeps others from doing the same.
    Opening(ChannelId, GateGuard),
}

impl Payer {
    /// The channel for an offer that the policy allows.
    pub(super) async fn channel_for(
        &self,
        origin: &Origin,
        offer: &Offer,
    ) -> Result<Channel, ClientError> {
        let key = self.key(origin, offer);
        if let Some((id, Phase::Open)) = self.book().usable(&key)? {
            return Ok(Channel::Ready(id));
        }
        let guard = self.book().gate(&key).enter().await?;
        // Whoever had the gate before may have opened the channel. An open that never happened is
        // not usable anymore, and may have stood before another channel that is.
        while let Some((id, phase)) = self.book().usable(&key)? {
            if phase == Phase::Open {
                return Ok(Channel::Ready(id));
            }
            if self.take_over(&id).await? {
                return Ok(Channel::Opening(id, guard));
            }
        }
        self.start_open(key, offer, guard).await
    }

    pub(super) fn key(&self, origin: &Origin, offer: &Offer) -> ChannelKey {
        ChannelKey {
            origin: origin.to_string(),
            chain_id: offer.chain_id(),
            protocol: offer.protocol(),
            escrow: offer.escrow(),
            payer: self.signer().address(),
            payee: offer.recipient(),
            operator: offer.operator(),
            token: offer.currency(),
        }
    }

    /// Whether the open in the book is to be sent again; otherwise it never happened, or the channel
    /// has ended, and the book says so.
    async fn take_over(&self, id: &ChannelId) -> Result<bool, ClientError> {
        let record = self.book().read(id)?;
        let (chain_now, view) = self.look(&record).await?;
        let valid_before = record.open_valid_before();
        let deadline = valid_before.saturating_sub(RESEND_SECS);
        match judge_open(view, chain_now, valid_before) {
            // Mined: the server takes the same open again, idempotently (PROTOCOL 5.4).
            Fate::Happened(view) if view.existence == Existence::Open => Ok(true),
            ended @ (Fate::Happened(_) | Fate::NeverHappens) => {
                self.follow(id, ended, chain_now)?;
                Ok(false)
            }
            Fate::Undecided if self.unix_now(chain_now) < deadline => Ok(true),
            Fate::Undecided => Err(ClientError::OpenUndecided {
                channel_id: *id,
                tx_hash: record.open.map(|open| open.tx_hash).unwrap_or_default(),
            }),
        }
    }

    /// The later one of the chain's clock and ours, in Unix seconds.
    fn unix_now(&self, chain_now: u64) -> u64 {
        u64::try_from(self.now().as_secs())
            .unwrap_or(0)
            .max(chain_now)
    }

    async fn start_open(
        &self,
        key: ChannelKey,
        offer: &Offer,
        guard: GateGuard,
    ) -> Result<Channel, ClientError> {
        let deposit = self.policy().deposit(offer)?;
        self.check_locked(&key.origin, deposit).await?;
        let record = self.prepare_open(key, offer, deposit).await?;
        let id = record.id;
        // The payee is pinned and the record written before anything can leave the process. Another
        // request may have opened a channel meanwhile, or been given another payee.
        self.pin(&record.key.origin, &[record.key.payee])?;
        let (policy, origin) = (self.policy(), record.key.origin.clone());
        let mut admitted = Ok(());
        self.book().add_channel(record, &mut |others| {
            admitted = locked::admit(policy, &origin, others, deposit);
            admitted.is_ok()
        })?;
        admitted?;
        // A top-up that was signed between the look at the others and the writing has not seen this
        // channel, and looks again as this does: whoever comes last sees both.
        if let Err(violation) = self.may_lock(&origin, Amount::ZERO)? {
            // Its transaction has not left.
            book::update(self.book(), &id, |record| record.phase = Phase::NeverOpened)?;
            return Err(violation.into());
        }
        self.emit(&ClientEvent::VoucherSigned {
            channel_id: id,
            cumulative: offer.price(),
        });
        Ok(Channel::Opening(id, guard))
    }

    /// Signs the open transaction and the first voucher.
    async fn prepare_open(
        &self,
        key: ChannelKey,
        offer: &Offer,
        deposit: Amount,
    ) -> Result<ChannelRecord, ClientError> {
        let payer = self.signer().address();
        let params = OpenParams {
            protocol: key.protocol,
            escrow: key.escrow,
            payee: key.payee,
            token: key.token,
            operator: key.operator,
            deposit,
            salt: B256::from(random::<[u8; 32]>()),
            authorized_signer: payer,
        };
        let fee_mode = fee_mode(offer, key.token);
        let context = self.context(gas::open(key.protocol), fee_mode).await?;
        let unsigned = build::open(&context, &params)?;
        let terms = unsigned.open_terms(&params, payer);
        let packed = Packed::from(&self.sign_tx(unsigned).await?);
        // PROTOCOL 5.2: the first voucher is the price of one unit.
        let first_voucher = sign_voucher(self.signer(), &terms, offer.price()).await?;
        Ok(ChannelRecord {
            id: terms.id(),
            key,
            terms,
            phase: Phase::Opening,
            ledger: Ledger::new(deposit, offer.price()),
            open: Some(OpenAttempt {
                transaction: packed.bytes,
                tx_hash: packed.hash,
                valid_before: packed.valid_before,
                deposit,
                first_voucher: first_voucher.clone(),
                challenge: offer.challenge().clone(),
            }),
            best: first_voucher,
            top_up: None,
            grows_until: 0,
        })
    }

    /// The server has confirmed an open.
    pub(super) fn opened(&self, id: &ChannelId) -> Result<(), ClientError> {
        let opened = book::update(self.book(), id, |record| {
            let is_new = record.phase == Phase::Opening;
            if is_new {
                record.phase = Phase::Open;
            }
            is_new.then(|| record.ledger.deposit())
        })?;
        if let Some(deposit) = opened {
            self.emit(&ClientEvent::ChannelOpened {
                channel_id: *id,
                deposit,
            });
        }
        Ok(())
    }

    /// The server does not serve a channel; it stays in the book, since it may hold money.
    pub(super) fn set_stale(&self, id: &ChannelId, reason: StaleReason) -> Result<(), ClientError> {
        book::update(self.book(), id, |record| {
            if record.phase.is_usable() {
                record.phase = Phase::Stale { reason };
            }
        })?;
        Ok(())
    }
}

/// Who pays the fees (draft-tempo-session-00, Fee Payment): the server if it says so, otherwise
/// the client in the channel's own token.
pub(super) fn fee_mode(offer: &Offer, token: Address) -> FeeMode {
    if offer.is_sponsored() {
        FeeMode::Sponsored
    } else {
        FeeMode::SelfPaid { fee_token: token }
    }
}
