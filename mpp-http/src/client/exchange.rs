//! One request for content: sends, lets the flow decide, sends again.

mod once;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use mpp_client::flow::{Action, Answer, Booking, Flow, Repetition, Sent};
use mpp_client::session::payment::{CredentialField, Payment};
use mpp_client::{Choice, ClientError, Once, Site, TransportError, new_idempotency_key};
use mpp_core::header::names;
use mpp_core::{Receipt, SessionReceipt};
use reqwest::{Body, Request};
use url::Url;

use super::answer::{Content, read};
use super::session::Track;
use super::transport::SendError;
use super::{Client, PaidResponse};

/// What is to be sent.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: OrderBody,
    pub(super) timeout: Option<Duration>,
    pub(super) repeating: Repeating,
}

/// Whether the request is sent again when its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeating {
    /// When its method is idempotent, or the caller has chosen a key.
    WhenSafe,
    /// Never.
    Never,
}

/// When a request may be sent again without knowing what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeats {
    /// With whatever credential.
    Always,
    /// With a credential that servers take once, so that they carry the request out once.
    WhenPaidOnce,
    /// Not at all.
    Never,
}

/// Whose idempotency key a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyOf {
    /// The caller's, who may have used it before.
    Caller,
    /// Its own.
    Request,
}

/// A body, and whether it can be sent again.
#[derive(Debug)]
pub(super) enum OrderBody {
    /// None.
    Empty,
    /// Kept, and sent as often as it takes.
    Bytes(Bytes),
    /// Streamed once; gone after that.
    Once(Option<Body>),
}

impl Order {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: OrderBody::Empty,
            timeout: None,
            repeating: Repeating::WhenSafe,
        }
    }

    /// Gives the request a key, unless the caller has, and tells whether it may be sent again
    /// without knowing what became of it.
    ///
    /// A server that knows the key serves and charges it once in any case; one that does not might
    /// carry a `POST` out twice (RFC 9110, 9.2.2), so that takes the caller's own key.
    fn prepare_repeats(&mut self) -> (Repeats, KeyOf) {
        let chosen = self.headers.contains_key(names::IDEMPOTENCY_KEY);
        if !chosen && let Ok(key) = HeaderValue::from_str(&new_idempotency_key()) {
            self.headers.insert(names::IDEMPOTENCY_KEY, key);
        }
        let can_be_sent = !matches!(self.body, OrderBody::Once(_));
        let repeats = if self.repeating == Repeating::Never || !can_be_sent {
            Repeats::Never
        } else if chosen || self.method.is_idempotent() {
            Repeats::Always
        } else {
            Repeats::WhenPaidOnce
        };
        let key_of = if chosen {
            KeyOf::Caller
        } else {
            KeyOf::Request
        };
        (repeats, key_of)
    }

    /// The bytes that a challenge's digest must match; `None` when they are not known.
    fn known_body(&self) -> Option<&[u8]> {
        match &self.body {
            OrderBody::Empty => Some(&[]),
            OrderBody::Bytes(bytes) => Some(bytes),
            OrderBody::Once(_) => None,
        }
    }

    /// The idempotency key as it is sent.
    fn key(&self) -> Option<&str> {
        let value = self.headers.get(names::IDEMPOTENCY_KEY)?;
        value.to_str().ok()
    }

    /// `accept` is what the client pays with.
    fn request(
        &mut self,
        accept: &str,
        field: Option<CredentialField>,
    ) -> Result<Request, ClientError> {
        let mut request = Request::new(self.method.clone(), self.url.clone());
        *request.timeout_mut() = self.timeout;
        *request.body_mut() = match &mut self.body {
            OrderBody::Empty => None,
            OrderBody::Bytes(bytes) => Some(bytes.clone().into()),
            OrderBody::Once(body) => Some(
                body.take()
                    .ok_or(ClientError::Misuse("a streamed body can not be sent again"))?,
            ),
        };
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        if !headers.contains_key(names::ACCEPT_PAYMENT)
            && let Ok(accept) = HeaderValue::from_str(accept)
        {
            headers.insert(names::ACCEPT_PAYMENT, accept);
        }
        if let Some(field) = field {
            add_credential(headers, &field)?;
        }
        Ok(request)
    }
}

/// Adds a credential beside credentials of other schemes.
pub(super) fn add_credential(
    headers: &mut HeaderMap,
    field: &CredentialField,
) -> Result<(), ClientError> {
    let mut value = HeaderValue::from_str(&field.value)
        .map_err(|_| ClientError::Payment("the credential can not be written"))?;
    value.set_sensitive(true);
    headers.append(field.name, value);
    Ok(())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    // SECURITY-CASES A20: header tables and logs leave a sensitive value out.
    #[test]
    fn a_credential_is_sensitive_and_stays_beside_others() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer abc"));
        let field = CredentialField {
            name: "authorization",
            value: "Payment e30".to_owned(),
        };
        add_credential(&mut headers, &field).unwrap();
        let values: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(values[0], "Bearer abc");
        assert_eq!(values[1], "Payment e30");
        assert!(values[1].is_sensitive());
        assert!(!format!("{headers:?}").contains("e30"));
    }
}
