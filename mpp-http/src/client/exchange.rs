//! One request for content: sends, lets the flow decide, sends again.

mod once;

use mpp_client::flow::{Action, Answer, Booking, Flow, Repetition, Sent};
use mpp_client::session::payment::{CredentialField, Payment};
use mpp_client::{Choice, ClientError, Once, Site, TransportError};
use mpp_core::{Receipt, SessionReceipt};

use super::answer::{Content, read};
use super::order::{KeyOf, Order, OrderBody, Repeats};
use super::session::Track;
use super::transport::SendError;
use super::{Client, PaidResponse};

/// A request on its way.
pub(super) struct Exchange {
    client: Client,
    order: Order,
    site: Site,
    track: Option<Track>,
    flow: Flow,
    payment: Option<Payment>,
    /// A one-time payment, in place of one from a channel.
    once: Option<Once>,
    repeats: Repeats,
    key_of: KeyOf,
    /// What went out last, to be sent again just as it was.
    repeat: Option<CredentialField>,
    /// How the last answer was lost, while nothing has told what became of it.
    lost: Option<TransportError>,
}

impl Exchange {
    pub(super) fn new(
        client: Client,
        mut order: Order,
        track: Option<Track>,
    ) -> Result<Self, ClientError> {
        let site = Site::of(&order.url)?;
        let (repeats, key_of) = order.prepare_repeats();
        Ok(Self {
            client,
            order,
            site,
            track,
            flow: Flow::new(),
            payment: None,
            once: None,
            repeats,
            key_of,
            repeat: None,
            lost: None,
        })
    }

    pub(super) async fn run(mut self) -> Result<PaidResponse, ClientError> {
        self.pay_in_advance().await?;
        loop {
            let Some((answer, content)) = self.send().await? else {
                continue;
            };
            let action = self.flow.on_answer(self.sent()?, &answer);
            if answer.repetition == Repetition::New {
                self.lost = None;
            }
            if let Some(response) = self.act(action, answer, content).await? {
                return Ok(response);
            }
        }
    }

    /// Pays before the server asks, when it is known what it will ask for, so that the request
    /// takes one round trip.
    async fn pay_in_advance(&mut self) -> Result<(), ClientError> {
        let payer = &self.client.payer;
        // A purchase that was begun before is never paid for twice.
        if self.key_of == KeyOf::Caller
            && let Some(key) = self.order.key()
            && let Some(once) = payer.paid_before(&self.site, key).await?
        {
            self.once = Some(once);
            return Ok(());
        }
        let choice = match (&self.order.body, payer.known_offer(&self.site)) {
            (_, Some(offer)) => Some(Choice::Session(offer)),
            // A body that can be sent once goes out when it can be paid for.
            (OrderBody::Once(_), None) => self.client.ask(&self.order.url).await?,
            (OrderBody::Empty | OrderBody::Bytes(_), None) => None,
        };
        match choice {
            Some(choice) => self.pay(choice).await,
            None => Ok(()),
        }
    }

    async fn pay(&mut self, choice: Choice) -> Result<(), ClientError> {
        choice.check_body(self.order.known_body())?;
        let offer = match choice {
            Choice::Session(offer) => offer,
            other => return self.pay_once(other).await,
        };
        let client = &self.client;
        client.resume(&self.order.url, &self.site, &offer).await?;
        let payment = client.payer.begin(&self.site, offer).await?;
        self.payment = Some(payment);
        Ok(())
    }

    fn sent(&self) -> Result<Sent, ClientError> {
        match (&self.payment, &self.once) {
            (Some(payment), _) => payment.sent(),
            (None, Some(once)) => Ok(once.sent()),
            (None, None) => Ok(Sent::Nothing),
        }
    }

    /// Sends the request; `None`: the answer was lost, and it is to be sent again.
    async fn send(&mut self) -> Result<Option<(Answer, Content)>, ClientError> {
        let field = self.field().await?;
        let accept = self.client.payer.accept_payment();
        let request = self.order.request(accept, field)?;
        if let Some(payment) = &mut self.payment {
            payment.mark_sent();
        }
        match self.client.transport.send(request).await {
            Ok(response) => Ok(Some(read(response).await)),
            // Nothing was sent this time; what was before may have arrived.
            Err(SendError::NotSent(error)) if self.lost.is_none() => {
                if let Some(payment) = self.payment.take() {
                    payment.release();
                }
                let error = ClientError::Transport(error);
                Err(match self.once.take() {
                    Some(once) => once.release(error),
                    None => error,
                })
            }
            Err(SendError::NotSent(error) | SendError::MayHaveArrived(error)) => {
                self.lose(error).await.map(|()| None)
            }
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
        if let Some(field) = self.repeat.take() {
            self.repeat = Some(field.clone());
            return Ok(Some(field));
        }
        let url = &self.order.url;
        let field = self.client.credential(url, payment).await?;
        if let Some(track) = &self.track {
            track.note(payment.channel_id(), url);
        }
        self.repeat = Some(field.clone());
        Ok(Some(field))
    }

    /// Waits before the request is sent again, unless it was often enough.
    async fn lose(&mut self, error: TransportError) -> Result<(), ClientError> {
        if let Some(once) = self.once.take() {
            return self.lose_once(once, error).await;
        }
        let Some(payment) = self.payment.take() else {
            return Err(ClientError::Transport(error));
        };
        let pause = if self.repeats == Repeats::Always {
            self.flow.on_lost()
        } else {
            None
        };
        let Some(pause) = pause else {
            return Err(payment.lose(error));
        };
        self.payment = Some(payment);
        self.lost = Some(error);
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Does what the flow says; returns the answer when it is final.
    async fn act(
        &mut self,
        action: Action,
        answer: Answer,
        content: Content,
    ) -> Result<Option<PaidResponse>, ClientError> {
        if let Some(once) = self.once.take() {
            return self.act_once(once, action, (answer, content)).await;
        }
        let is_same = matches!(action, Action::Repeat(_));
        if !is_same {
            self.repeat = None;
        }
        match action {
            Action::Deliver(booking) => {
                return self.deliver(booking, &answer, content).map(Some);
            }
            Action::Repeat(pause) => {
                let busy = || TransportError::new("the server was busy with the request");
                self.lost.get_or_insert_with(busy);
                tokio::time::sleep(pause).await;
            }
            Action::Pay => self.choose(&answer).await?,
            Action::Renew(offer) => {
                self.client.payer.learn(&self.site, &offer);
                if let Some(payment) = self.payment.take() {
                    if let Err(reason) = offer.check_body(self.order.known_body()) {
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
                    self.client.payer.learn(&self.site, offer);
                    offer.check_body(self.order.known_body())?;
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
            Action::FailInDoubt(error) => {
                let Some(payment) = self.payment.take() else {
                    return Err(error);
                };
                // What the server says does not tell what became of the lost request.
                if let Some(lost) = self.lost.take() {
                    return Err(payment.lose(lost));
                }
                payment.doubt();
                return Err(error);
            }
        }
        drop((answer, content));
        Ok(None)
    }

    fn deliver(
        &mut self,
        booking: Booking,
        answer: &Answer,
        content: Content,
    ) -> Result<PaidResponse, ClientError> {
        let Some(mut payment) = self.payment.take() else {
            return Ok(PaidResponse::new(content, None, None));
        };
        let is_gone = answer.status == 204 && answer.repetition == Repetition::Replayed;
        match booking {
            Booking::Confirm(receipt) if is_gone => {
                payment.confirm(&receipt)?;
                let receipt = Box::new(session(*receipt));
                Err(ClientError::AlreadyDelivered { receipt })
            }
            Booking::Replayed(receipt) => {
                payment.confirm_open()?;
                payment.release();
                let receipt = session(*receipt);
                if is_gone {
                    let receipt = Box::new(receipt);
                    return Err(ClientError::AlreadyDelivered { receipt });
                }
                Ok(PaidResponse::new(content, Some(receipt), None))
            }
            Booking::Confirm(receipt) => {
                payment.confirm(&receipt)?;
                Ok(PaidResponse::new(content, Some(session(*receipt)), None))
            }
            Booking::Stream(receipt) => {
                payment.begin_stream()?;
                if let Some(receipt) = &receipt {
                    payment.observe(receipt)?;
                }
                let receipt = receipt.map(|receipt| session(*receipt));
                Ok(PaidResponse::new(content, receipt, Some(payment)))
            }
            Booking::Dismiss => {
                payment.dismiss()?;
                Ok(PaidResponse::new(content, None, None))
            }
            Booking::Unpaid | Booking::Doubt | Booking::Once(_) => {
                payment.doubt();
                Ok(PaidResponse::new(content, None, None))
            }
        }
    }
}

const fn session(receipt: SessionReceipt) -> Receipt {
    Receipt::Session(receipt)
}
