//! One paid request: from the reservation of its cost to the booking of its answer.

mod booking;
mod stream;

use mpp_core::{Amount, SessionReceipt};
use mpp_tempo::{ChannelId, ChannelTerms, SignedVoucher};

use super::book::{self, ChannelRecord, GateGuard, StaleReason};
use super::ledger::{Discrepancy, Margin, Need, Plan, Reservation, Totals};
use super::open::Channel;
use super::top_up::TopUp;
use super::wire;
pub use crate::credential::CredentialField;
use crate::error::ClientError;
use crate::flow::{Raise, Sent, Stake};
use crate::offer::Offer;
use crate::origin::Site;
use crate::payer::Payer;
use crate::policy::Policy;

/// A request that is being paid.
///
/// It holds a reservation in the channel's accounts until it is confirmed, released or lost.
/// Dropped after the request was sent, it counts as lost; dropped before, as released.
#[derive(Debug)]
pub struct Payment {
    payer: Payer,
    site: Site,
    offer: Offer,
    channel: ChannelId,
    terms: ChannelTerms,
    reservation: Option<Reservation>,
    /// Present while this request opens the channel.
    opening: Option<GateGuard>,
    need: Need,
    /// The voucher that was last sent beside the stream that this request began.
    beside: Amount,
    sent: bool,
}

/// What a payment needs before the request can be sent.
#[derive(Debug)]
pub enum Next {
    /// Nothing: send it with this credential, after [`Payment::mark_sent`].
    Send(CredentialField),
    /// A larger deposit: send this top-up, then prepare again.
    TopUp(Box<TopUp>),
}

impl Payer {
    /// Begins to pay for a request: checks the policy, finds or opens the channel, and reserves
    /// the price of one unit.
    ///
    /// # Errors
    /// [`ClientError::Policy`], and [`Unpayable::Expired`](crate::offer::Unpayable::Expired), before anything
    /// is signed; the errors of the signer, the chain and the book when a channel must be opened.
    ///
    /// # Cancel safety
    /// Dropped, nothing was sent. An open that was signed stays in the book and is used next time.
    pub async fn begin(&self, site: &Site, offer: Offer) -> Result<Payment, ClientError> {
        self.check_offer(site, &offer)?;
        offer.check_time(self.now())?;
        let (channel, opening) = match self.channel_for(&site.origin, &offer).await? {
            Channel::Ready(id) => (id, None),
            Channel::Opening(id, guard) => (id, Some(guard)),
        };
        let (terms, reservation) = book::update(self.book(), &channel, |record| {
            (record.terms, record.ledger.reserve(offer.price()))
        })?;
        Ok(Payment {
            payer: self.clone(),
            site: site.clone(),
            offer,
            channel,
            terms,
            reservation: Some(reservation?),
            opening,
            need: Need::Ordered,
            beside: Amount::ZERO,
            sent: false,
        })
    }
}

impl Payment {
    /// The channel that pays.
    #[must_use]
    pub const fn channel_id(&self) -> ChannelId {
        self.channel
    }

    /// The offer that is answered.
    #[must_use]
    pub const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Makes the credential: signs what is needed, within the policy.
    ///
    /// # Errors
    /// [`ClientError::Policy`] or [`ClientError::InsufficientDeposit`] before anything is signed;
    /// [`ClientError::Misuse`] when a channel that is closed or left meanwhile would need a top-up;
    /// the errors of the signer, the book, and of the chain when a top-up is needed.
    ///
    /// # Cancel safety
    /// Dropped, nothing was sent; call it again.
    pub async fn prepare(&mut self) -> Result<Next, ClientError> {
        if self.opening.is_some() {
            let record = self.payer.book().read(&self.channel)?;
            let open = record
                .open
                .as_ref()
                .ok_or(ClientError::Misuse("the channel's open is not in the book"))?;
            self.present(wire::amount(&open.first_voucher));
            let field = wire::open(&self.offer, &self.terms, self.channel, open)?;
            return Ok(Next::Send(field));
        }
        loop {
            if let Plan::Voucher(cumulative) = self.plan()? {
                return self.voucher_for(cumulative).await.map(Next::Send);
            }
            let gate = self.gate()?.enter().await?;
            // Whoever had the gate before may have refilled the channel.
            let Plan::TopUp(required) = self.plan()? else {
                continue;
            };
            let top_up = self
                .payer
                .refill(&self.offer, self.channel, required, gate)
                .await?;
            if let Some(top_up) = top_up {
                return Ok(Next::TopUp(Box::new(top_up)));
            }
        }
    }

    /// The request leaves now: from here on it may be charged.
    pub const fn mark_sent(&mut self) {
        self.sent = true;
    }

    /// What went out, for [`Flow::on_answer`](crate::flow::Flow::on_answer).
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn sent(&self) -> Result<Sent, ClientError> {
        let signed = book::update(self.payer.book(), &self.channel, |record| {
            record.ledger.signed()
        })?;
        let stake = Stake {
            presented: self.presented(),
            signed,
        };
        Ok(match self.opening {
            Some(_) => Sent::Open(stake),
            None => Sent::Voucher(stake),
        })
    }

    /// Takes a refusal in: the voucher is raised as the answer asks, as far as that is explained.
    ///
    /// # Errors
    /// [`ClientError::Policy`] and [`ClientError::Discrepancy`] when it asks for too much.
    ///
    /// # Cancel safety
    /// Dropped, nothing was signed or sent.
    pub async fn raise(&mut self, raise: Raise) -> Result<(), ClientError> {
        self.sent = false;
        // Whoever answers about amounts knows the channel.
        self.confirm_open()?;
        match raise {
            Raise::Best => Ok(()),
            Raise::Above(accepted) => {
                let step = self.offer.min_delta();
                let floor = accepted.checked_add(step).ok_or(Discrepancy::Overflow)?;
                if floor > self.presented() {
                    return self.step(floor);
                }
                // A credit that its receipts promise is not taken: it had charged before.
                let price = self.offer.price();
                let required = self.presented().checked_add(price);
                self.claim(required.ok_or(Discrepancy::Overflow)?)
            }
            Raise::Claim(required) => self.claim(required),
            Raise::Late => {
                if self.update(|record| record.ledger.claim_late())? {
                    Ok(())
                } else {
                    Err(ClientError::Protocol(
                        "it wants more than was ordered and does not say why",
                    ))
                }
            }
            Raise::Refill => {
                self.payer
                    .refresh_deposit(&self.channel, self.presented())
                    .await
            }
        }
    }

    /// Goes on under a fresh offer, after an answer that charged nothing.
    ///
    /// # Errors
    /// As [`Payer::begin`].
    ///
    /// # Cancel safety
    /// As [`Payer::begin`].
    pub async fn renew(mut self, offer: Offer) -> Result<Self, ClientError> {
        self.sent = false;
        if !self.offer.has_terms_of(&offer) {
            let (payer, site) = (self.payer.clone(), self.site.clone());
            // Gives the reservation and the gate back before others are asked for.
            drop(self);
            return payer.begin(&site, offer).await;
        }
        self.payer.check_offer(&self.site, &offer)?;
        offer.check_time(self.payer.now())?;
        self.offer = offer;
        Ok(self)
    }

    /// Goes on with another channel, since the server does not serve this one.
    ///
    /// # Errors
    /// As [`Payer::begin`]; the policy bounds how much may lie in such channels.
    ///
    /// # Cancel safety
    /// As [`Payer::begin`].
    pub async fn replace(
        mut self,
        offer: Option<Offer>,
        reason: StaleReason,
    ) -> Result<Self, ClientError> {
        self.sent = false;
        self.payer.set_stale(&self.channel, reason)?;
        // What it holds is for the chain to say; if that can not be asked now, the book remembers.
        if let Err(error) = self.payer.resolve(&self.channel).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(
                error,
                "a channel that the server gave up could not be looked up"
            );
        }
        let offer = offer.unwrap_or_else(|| self.offer.clone());
        let (payer, site) = (self.payer.clone(), self.site.clone());
        drop(self);
        payer.begin(&site, offer).await
    }

    fn gate(&self) -> Result<book::Gate, ClientError> {
        let record = self.payer.book().read(&self.channel)?;
        Ok(self.payer.book().gate(&record.key))
    }

    /// What to authorize, noted in the accounts as signed before it is.
    fn plan(&self) -> Result<Plan, ClientError> {
        let policy = self.payer.policy();
        let (need, margin) = (self.need, self.margin());
        let price = self.offer.price();
        self.update(|record| authorize(record, policy, price, (need, margin)))?
    }

    async fn voucher_for(&mut self, cumulative: Amount) -> Result<CredentialField, ClientError> {
        let signed: SignedVoucher = self
            .payer
            .voucher(&self.channel, &self.terms, cumulative)
            .await?;
        self.present(cumulative);
        wire::voucher(&self.offer, &self.terms, &signed)
    }

    /// Goes up to a total that the server names, as far as orders and policy explain it.
    fn claim(&mut self, required: Amount) -> Result<(), ClientError> {
        self.check_step(required)?;
        let policy = self.payer.policy();
        let (limit, most) = (policy.unaccounted_limit(), policy.request_limit());
        let mut reservation = self.reservation.take();
        let claimed = self.update(|record| {
            if let Some(reservation) = &mut reservation {
                record.ledger.grow(reservation, required, most);
            }
            record.ledger.claim(required, limit)
        });
        self.reservation = reservation;
        claimed??;
        self.need = Need::AtLeast(required);
        Ok(())
    }

    /// Goes up to the smallest total that the server takes, as far as orders and policy allow it.
    fn step(&mut self, floor: Amount) -> Result<(), ClientError> {
        self.check_step(floor)?;
        let (limit, margin) = (self.payer.policy().unaccounted_limit(), self.margin());
        self.update(|record| record.ledger.step(floor, margin, limit))??;
        self.need = Need::Step(floor);
        Ok(())
    }

    fn margin(&self) -> Margin {
        Margin {
            ahead: self.payer.policy().ahead(self.offer.price()),
            min_delta: self.offer.min_delta(),
        }
    }

    fn check_step(&self, cumulative: Amount) -> Result<(), ClientError> {
        let signed = self.update(|record| record.ledger.signed())?;
        let price = self.offer.price();
        Ok(self.payer.policy().check_step(price, signed, cumulative)?)
    }

    fn totals(&self, receipt: &SessionReceipt) -> Result<Totals, ClientError> {
        self.payer.totals(self.channel, receipt)
    }

    fn presented(&self) -> Amount {
        self.reservation
            .as_ref()
            .map_or(Amount::ZERO, Reservation::presented)
    }

    fn present(&mut self, cumulative: Amount) {
        if matches!(self.need, Need::Stream(_)) {
            // The stream may end before this voucher arrives, and its receipt need not confirm it.
            self.beside = cumulative;
        } else if let Some(reservation) = self.reservation.as_mut() {
            reservation.present(cumulative);
        }
    }

    fn update<T>(&self, change: impl FnOnce(&mut ChannelRecord) -> T) -> Result<T, ClientError> {
        Ok(book::update(self.payer.book(), &self.channel, change)?)
    }
}

fn authorize(
    record: &mut ChannelRecord,
    policy: &Policy,
    price: Amount,
    (need, margin): (Need, Margin),
) -> Result<Plan, ClientError> {
    let plan = record.ledger.plan(need, margin);
    if let Plan::Voucher(cumulative) = plan {
        policy.check_step(price, record.ledger.signed(), cumulative)?;
        record.ledger.sign(cumulative)?;
    }
    Ok(plan)
}
