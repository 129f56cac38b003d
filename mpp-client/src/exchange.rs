//! Carrying a paid call out over any transport.
//!
//! [`flow`](crate::flow) decides, a [`Wire`] moves messages, and an
//! [`Exchange`] does with the one what the other says. So a binding writes
//! down how its transport carries credentials and answers, and nothing else.

mod close;
mod feed;
mod manage;
mod resume;
mod top_up;

use std::future::Future;
use std::time::Duration;

use mpp_core::Receipt;
use mpp_tempo::ChannelId;

pub use self::manage::{Manage, Managed, refusal};
use crate::error::{ClientError, TransportError};
use crate::flow::{Action, Answer, Booking, Flow, Probe, Repetition, Sent};
use crate::offer::Offer;
use crate::origin::Site;
use crate::payer::Payer;
use crate::session::payment::{CredentialField, Payment};
use crate::session::resume::SnapshotRefused;

/// How sending failed.
#[derive(Debug)]
pub enum SendError {
    /// The server has seen nothing.
    NotSent(TransportError),
    /// The server may have seen the request.
    MayHaveArrived(TransportError),
}

impl From<SendError> for ClientError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotSent(error) | SendError::MayHaveArrived(error) => Self::Transport(error),
        }
    }
}

/// An answer to somebody who asked to be known (PROTOCOL 5.8).
#[derive(Debug)]
pub struct Acquaintance {
    /// The answer.
    pub answer: Answer,
    /// The channel that it tells of.
    pub snapshot: Result<Option<serde_json::Value>, SnapshotRefused>,
}

/// A way to the server by which channels are managed.
pub trait ManageWire: Send {
    /// Sends a request that only manages a channel.
    ///
    /// # Cancel safety
    /// Dropped, the request may have arrived.
    fn manage(
        &mut self,
        probe: Probe,
        field: Option<&CredentialField>,
    ) -> impl Future<Output = Result<Answer, SendError>> + Send;
}

/// One call of a server, as its transport sends it.
///
/// # Cancel safety
/// Dropped, a request may have arrived.
pub trait Wire: ManageWire {
    /// What the caller gets in the end.
    type Content: Send;

    /// Sends the request for content, with a credential if there is one.
    fn send(
        &mut self,
        field: Option<&CredentialField>,
    ) -> impl Future<Output = Result<(Answer, Self::Content), SendError>> + Send;

    /// Asks the server which channel of ours it knows, with the proof of who
    /// we are once it has asked for that.
    fn introduce(
        &mut self,
        proof: Option<&CredentialField>,
    ) -> impl Future<Output = Result<Acquaintance, SendError>> + Send;

    /// Waits.
    fn pause(&mut self, time: Duration) -> impl Future<Output = ()> + Send;

    /// The bytes that a challenge's digest must match; `None` when there are
    /// none that server and client would agree on.
    fn body(&self) -> Option<&[u8]> {
        None
    }
}

/// Whether a call is sent again when its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// It is harmless, or has a key by which the server knows it again.
    Harmless,
    /// It might be carried out twice.
    Never,
}

/// The answer to a call, and how it was paid.
#[derive(Debug)]
pub struct Delivered<C> {
    /// What the transport got.
    pub content: C,
    /// The receipt, checked against the client's own accounts.
    pub receipt: Option<Receipt>,
    /// Present while a stream runs that may cost more than is known.
    pub payment: Option<Payment>,
    /// The channel that paid, if one did.
    pub channel: Option<ChannelId>,
}

/// A call on its way.
#[derive(Debug)]
pub struct Exchange<'a, W> {
    payer: &'a Payer,
    site: Site,
    wire: &'a mut W,
    repeats: Repeats,
    flow: Flow,
    payment: Option<Payment>,
    channel: Option<ChannelId>,
    /// What went out last, to be sent again just as it was.
    repeat: Option<CredentialField>,
    /// How the last answer was lost, while nothing has told what became of it.
    lost: Option<TransportError>,
}

impl<'a, W: Wire> Exchange<'a, W> {
    /// A call that was not sent yet.
    pub fn new(payer: &'a Payer, site: Site, wire: &'a mut W, repeats: Repeats) -> Self {
        Self {
            payer,
            site,
            wire,
            repeats,
            flow: Flow::new(),
            payment: None,
            channel: None,
            repeat: None,
            lost: None,
        }
    }

    /// Sends the call, and pays for it if the server asks for that.
    ///
    /// # Errors
    /// [`ClientError`]; only [`ClientError::Indeterminate`] means that money
    /// may have moved, and [`ClientError::AlreadyDelivered`] that it has.
    ///
    /// # Cancel safety
    /// Dropped before the answer, the call may have been served and charged.
    /// The accounts keep covering it.
    pub async fn run(mut self) -> Result<Delivered<W::Content>, ClientError> {
        // Answering a known offer in advance takes one round trip, not two.
        if let Some(offer) = self.payer.known_offer(&self.site) {
            self.pay(offer).await?;
        }
        loop {
            let Some((answer, content)) = self.send().await? else {
                continue;
            };
            let action = self.flow.on_answer(self.sent()?, &answer);
            if answer.repetition == Repetition::New {
                self.lost = None;
            }
            if !matches!(action, Action::Repeat(_)) {
                self.repeat = None;
            }
            match action {
                Action::Deliver(booking) => return self.deliver(booking, &answer, content),
                action => self.act(action).await?,
            }
        }
    }

    async fn pay(&mut self, offer: Offer) -> Result<(), ClientError> {
        offer.check_body(self.wire.body())?;
        resume::ask(self.payer, &self.site, self.wire, &offer).await?;
        let payment = self.payer.begin(&self.site, offer).await?;
        self.channel = Some(payment.channel_id());
        self.payment = Some(payment);
        Ok(())
    }

    fn sent(&self) -> Result<Sent, ClientError> {
        self.payment
            .as_ref()
            .map_or(Ok(Sent::Nothing), Payment::sent)
    }

    /// Sends the call; `None`: the answer was lost, and it is to be sent again.
    async fn send(&mut self) -> Result<Option<(Answer, W::Content)>, ClientError> {
        let field = self.field().await?;
        if let Some(payment) = &mut self.payment {
            payment.mark_sent();
        }
        match self.wire.send(field.as_ref()).await {
            Ok(answer) => Ok(Some(answer)),
            // Nothing was sent this time; what was before may have arrived.
            Err(SendError::NotSent(error)) if self.lost.is_none() => {
                if let Some(payment) = self.payment.take() {
                    payment.release();
                }
                Err(ClientError::Transport(error))
            }
            Err(SendError::NotSent(error) | SendError::MayHaveArrived(error)) => {
                self.lose(error).await.map(|()| None)
            }
        }
    }

    /// The credential: a new one, or the last one if that is to be sent again.
    async fn field(&mut self) -> Result<Option<CredentialField>, ClientError> {
        let Some(payment) = &mut self.payment else {
            return Ok(None);
        };
        if self.repeat.is_none() {
            let (payer, site) = (self.payer, &self.site);
            let field = payer.credential_over(site, self.wire, payment).await?;
            self.repeat = Some(field);
        }
        Ok(self.repeat.clone())
    }

    /// Waits before the call is sent again, unless it was often enough.
    async fn lose(&mut self, error: TransportError) -> Result<(), ClientError> {
        let Some(payment) = self.payment.take() else {
            return Err(ClientError::Transport(error));
        };
        let pause = match self.repeats {
            Repeats::Harmless => self.flow.on_lost(),
            Repeats::Never => None,
        };
        let Some(pause) = pause else {
            return Err(payment.lose(error));
        };
        self.payment = Some(payment);
        self.lost = Some(error);
        self.wire.pause(pause).await;
        Ok(())
    }

    /// Does what the flow says before the call is sent again.
    async fn act(&mut self, action: Action) -> Result<(), ClientError> {
        match action {
            Action::Deliver(_) => {}
            Action::Repeat(pause) => {
                let busy = || TransportError::new("the server was busy with the request");
                self.lost.get_or_insert_with(busy);
                self.wire.pause(pause).await;
            }
            Action::Pay(offer) => {
                self.payer.learn(&self.site, &offer);
                self.pay(offer).await?;
            }
            Action::Renew(offer) => {
                self.payer.learn(&self.site, &offer);
                offer.check_body(self.wire.body())?;
                if let Some(payment) = self.payment.take() {
                    self.take_up(payment.renew(offer).await?);
                }
            }
            Action::Again(raise) => {
                // The answer may bring a fresh challenge; the one that was accepted goes on.
                if let Some(payment) = &mut self.payment {
                    payment.raise(raise).await?;
                }
            }
            Action::ReplaceChannel { offer, reason } => {
                if let Some(offer) = &offer {
                    self.payer.learn(&self.site, offer);
                    offer.check_body(self.wire.body())?;
                }
                if let Some(payment) = self.payment.take() {
                    self.take_up(payment.replace(offer, reason).await?);
                }
            }
            Action::Fail(error) => {
                return Err(match self.payment.take() {
                    Some(payment) => payment.refuse(error),
                    None => error,
                });
            }
            Action::FailInDoubt(error) => return Err(self.fail_in_doubt(error)),
        }
        Ok(())
    }

    fn take_up(&mut self, payment: Payment) {
        self.channel = Some(payment.channel_id());
        self.payment = Some(payment);
    }

    /// What the server says does not tell what became of a lost call.
    fn fail_in_doubt(&mut self, error: ClientError) -> ClientError {
        match (self.payment.take(), self.lost.take()) {
            (None, _) => error,
            (Some(payment), Some(lost)) => payment.lose(lost),
            (Some(payment), None) => {
                payment.doubt();
                error
            }
        }
    }

    fn deliver(
        mut self,
        booking: Booking,
        answer: &Answer,
        content: W::Content,
    ) -> Result<Delivered<W::Content>, ClientError> {
        let channel = self.channel;
        let delivered = |content, receipt, payment| Delivered {
            content,
            receipt,
            payment,
            channel,
        };
        let Some(mut payment) = self.payment.take() else {
            return Ok(delivered(content, None, None));
        };
        let is_gone = answer.status == 204 && answer.repetition == Repetition::Replayed;
        match booking {
            Booking::Confirm(receipt) => {
                payment.confirm(&receipt)?;
                if is_gone {
                    return Err(ClientError::AlreadyDelivered { receipt });
                }
                Ok(delivered(content, Some(Receipt::Session(*receipt)), None))
            }
            Booking::Replayed(receipt) => {
                payment.confirm_open()?;
                payment.release();
                if is_gone {
                    return Err(ClientError::AlreadyDelivered { receipt });
                }
                Ok(delivered(content, Some(Receipt::Session(*receipt)), None))
            }
            Booking::Stream(receipt) => {
                payment.begin_stream()?;
                if let Some(receipt) = &receipt {
                    payment.observe(receipt)?;
                }
                let receipt = receipt.map(|receipt| Receipt::Session(*receipt));
                Ok(delivered(content, receipt, Some(payment)))
            }
            Booking::Dismiss => {
                payment.dismiss()?;
                Ok(delivered(content, None, None))
            }
            Booking::Unpaid | Booking::Doubt => {
                payment.doubt();
                Ok(delivered(content, None, None))
            }
        }
    }
}
