//! Carrying a paid call out over any transport.
//!
//! [`flow`](crate::flow) decides, a [`Wire`] moves messages, and an
//! [`Exchange`] does with the one what the other says. So a binding writes
//! down how its transport carries credentials and answers, and nothing else.

mod close;
mod feed;
mod manage;
mod once;
mod resume;
mod top_up;
mod track;

use std::future::Future;
use std::time::Duration;

use mpp_core::Receipt;
use mpp_tempo::ChannelId;

pub use self::feed::Patience;
pub use self::manage::{Manage, Managed, refusal};
pub use self::track::Track;
use crate::choice::Choice;
use crate::credential::CredentialField;
use crate::error::{ClientError, TransportError};
use crate::flow::{Action, Answer, Booking, Flow, Probe, Repetition, Sent};
use crate::offer::Unpayable;
use crate::once::Once;
use crate::origin::Site;
use crate::payer::Payer;
use crate::session::payment::Payment;
use crate::session::resume::SnapshotRefused;

/// How sending failed.
#[derive(Debug)]
pub enum SendError {
    /// The server has seen nothing; another time it may.
    NotSent(TransportError),
    /// The server may have seen the request.
    MayHaveArrived(TransportError),
    /// The server has seen nothing, and trying again would not change that.
    Unsendable(ClientError),
}

impl From<SendError> for ClientError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotSent(error) | SendError::MayHaveArrived(error) => Self::Transport(error),
            SendError::Unsendable(error) => error,
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

    /// Whether the call can be sent a single time, so that its challenge must
    /// be known before.
    fn goes_once(&self) -> bool {
        false
    }

    /// Hears which channel pays, before the call is sent with its credential:
    /// from here on the channel may have to be managed, whatever becomes of
    /// the call.
    fn paid_by(&mut self, channel: ChannelId);
}

/// Whether a call is sent again when its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// It is harmless, or has a key by which the server knows it again.
    Always,
    /// Only with a credential that a server takes once.
    WhenPaidOnce,
    /// Never.
    Never,
}

/// By what a server knows a call again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CallKey {
    /// By nothing.
    #[default]
    None,
    /// By a key that this client made for this call.
    OfCall(String),
    /// By a key that names a purchase, across calls and restarts.
    OfPurchase(String),
}

impl CallKey {
    /// The key itself.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::OfCall(key) | Self::OfPurchase(key) => Some(key),
        }
    }
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
}

/// A call on its way.
#[derive(Debug)]
pub struct Exchange<'a, W> {
    payer: &'a Payer,
    site: Site,
    wire: &'a mut W,
    repeats: Repeats,
    key: CallKey,
    flow: Flow,
    payment: Option<Payment>,
    /// A one-time payment, in place of one from a channel.
    once: Option<Once>,
    /// What went out last, to be sent again just as it was.
    repeat: Option<CredentialField>,
    /// How the last answer was lost, while nothing has told what became of it.
    lost: Option<TransportError>,
}

impl<'a, W: Wire> Exchange<'a, W> {
    /// A call that was not sent yet.
    pub fn new(payer: &'a Payer, site: Site, wire: &'a mut W) -> Self {
        Self {
            payer,
            site,
            wire,
            repeats: Repeats::Never,
            key: CallKey::None,
            flow: Flow::new(),
            payment: None,
            once: None,
            repeat: None,
            lost: None,
        }
    }

    /// Whether it is sent again when its answer was lost; by default never.
    #[must_use]
    pub fn repeats(mut self, repeats: Repeats) -> Self {
        self.repeats = repeats;
        self
    }

    /// By what the server knows the call again. The wire sends the key.
    #[must_use]
    pub fn key(mut self, key: CallKey) -> Self {
        self.key = key;
        self
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
        self.pay_in_advance().await?;
        loop {
            let Some((mut answer, content)) = self.send().await? else {
                continue;
            };
            if let Some(payment) = &self.payment {
                let challenges = &mut answer.challenges;
                self.payer.prefer(&self.site, payment.offer(), challenges)?;
            }
            let action = self.flow.on_answer(self.sent()?, &answer);
            if answer.repetition == Repetition::New {
                self.lost = None;
            }
            if !matches!(action, Action::Repeat(_)) {
                self.repeat = None;
            }
            match (action, self.once.take()) {
                (Action::Deliver(booking), Some(once)) => {
                    return once::deliver(once, booking, &answer, content);
                }
                (Action::Deliver(booking), None) => {
                    return self.deliver(booking, &answer, content);
                }
                (action, Some(once)) => self.act_once(once, action, &answer).await?,
                (action, None) => self.act(action, &answer).await?,
            }
        }
    }

    /// Pays before the server asks, when it is known what it will ask for, so
    /// that the call takes one round trip.
    async fn pay_in_advance(&mut self) -> Result<(), ClientError> {
        // A purchase that was begun before is never paid for twice.
        if let CallKey::OfPurchase(key) = &self.key
            && let Some(once) = self.payer.paid_before(&self.site, key).await?
        {
            self.once = Some(once);
            return Ok(());
        }
        if let Some(known) = self.payer.known_offer(&self.site) {
            match self.pay(Choice::Session(known)).await {
                // A lost channel was asked for meanwhile. The server has another challenge.
                Err(ClientError::Unpayable(Unpayable::Expired)) => {}
                paid => return paid,
            }
        }
        if self.wire.goes_once()
            && let Some(choice) = self.payer.ask(&self.site, self.wire).await?
        {
            self.pay(choice).await?;
        }
        Ok(())
    }

    async fn pay(&mut self, choice: Choice) -> Result<(), ClientError> {
        choice.check_body(self.wire.body())?;
        let offer = match choice {
            Choice::Session(offer) => offer,
            other => return self.pay_once(other).await,
        };
        resume::ask(self.payer, &self.site, self.wire, &offer).await?;
        self.payment = Some(self.payer.begin(&self.site, offer).await?);
        Ok(())
    }

    fn sent(&self) -> Result<Sent, ClientError> {
        match (&self.payment, &self.once) {
            (Some(payment), _) => payment.sent(),
            (None, Some(once)) => Ok(once.sent()),
            (None, None) => Ok(Sent::Nothing),
        }
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
                Err(self.release(ClientError::Transport(error)))
            }
            Err(SendError::Unsendable(error)) => Err(match self.lost.take() {
                None => self.release(error),
                Some(lost) => self.give_up(lost),
            }),
            Err(SendError::NotSent(error) | SendError::MayHaveArrived(error)) => {
                self.lose(error).await.map(|()| None)
            }
        }
    }

    /// The call was not sent, and will not be.
    fn release(&mut self, error: ClientError) -> ClientError {
        if let Some(payment) = self.payment.take() {
            payment.release();
        }
        match self.once.take() {
            Some(once) => once.release(error),
            None => error,
        }
    }

    /// The call can not be sent again, and what became of it is not known.
    fn give_up(&mut self, lost: TransportError) -> ClientError {
        match (self.payment.take(), self.once.take()) {
            (Some(payment), _) => payment.lose(lost),
            (None, Some(once)) => once.lose(lost),
            (None, None) => ClientError::Transport(lost),
        }
    }

    /// The credential: a new one, or the last one if that is to be sent again.
    async fn field(&mut self) -> Result<Option<CredentialField>, ClientError> {
        if let Some(once) = &self.once {
            return once.field().map(Some);
        }
        let Some(payment) = &mut self.payment else {
            return Ok(None);
        };
        if self.repeat.is_none() {
            let (payer, site) = (self.payer, &self.site);
            let field = payer.credential_over(site, self.wire, payment).await?;
            self.wire.paid_by(payment.channel_id());
            self.repeat = Some(field);
        }
        Ok(self.repeat.clone())
    }

    /// Waits before the call is sent again, unless it was often enough.
    async fn lose(&mut self, error: TransportError) -> Result<(), ClientError> {
        if let Some(once) = self.once.take() {
            return self.lose_once(once, error).await;
        }
        let Some(payment) = self.payment.take() else {
            return Err(ClientError::Transport(error));
        };
        let pause = match self.repeats {
            Repeats::Always => self.flow.on_lost(),
            Repeats::WhenPaidOnce | Repeats::Never => None,
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
    async fn act(&mut self, action: Action, answer: &Answer) -> Result<(), ClientError> {
        match action {
            Action::Deliver(_) => {}
            Action::Repeat(pause) => {
                let busy = || TransportError::new("the server was busy with the request");
                self.lost.get_or_insert_with(busy);
                self.wire.pause(pause).await;
            }
            Action::Pay => self.choose(answer).await?,
            Action::Renew(offer) => {
                self.payer.learn(&self.site, &offer);
                if let Some(payment) = self.payment.take() {
                    if let Err(reason) = offer.check_body(self.wire.body()) {
                        return Err(payment.refuse(reason.into()));
                    }
                    self.payment = Some(payment.renew(offer).await?);
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
                    self.payment = Some(payment.replace(offer, reason).await?);
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
        let delivered = |content, receipt, payment| Delivered {
            content,
            receipt,
            payment,
        };
        let Some(mut payment) = self.payment.take() else {
            return Ok(delivered(content, None, None));
        };
        let is_gone = answer.status == 204 && answer.repetition == Repetition::Replayed;
        match booking {
            Booking::Confirm(receipt) => {
                payment.confirm(&receipt)?;
                let receipt = Receipt::Session(*receipt);
                if is_gone {
                    return Err(already(receipt));
                }
                Ok(delivered(content, Some(receipt), None))
            }
            Booking::Replayed(receipt) => {
                payment.replayed(&receipt)?;
                let receipt = Receipt::Session(*receipt);
                if is_gone {
                    return Err(already(receipt));
                }
                Ok(delivered(content, Some(receipt), None))
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
            Booking::Unpaid | Booking::Doubt | Booking::Once(_) => {
                payment.doubt();
                Ok(delivered(content, None, None))
            }
        }
    }
}

/// The answer was delivered before, and is not there any more.
fn already(receipt: Receipt) -> ClientError {
    let receipt = Box::new(receipt);
    ClientError::AlreadyDelivered { receipt }
}
