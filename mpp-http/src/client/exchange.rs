//! One request for content: sends, lets the flow decide, sends again.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use mpp_client::flow::{Action, Answer, Booking, Flow, Sent};
use mpp_client::session::payment::{CredentialField, Payment};
use mpp_client::{ClientError, Offer, Site};
use mpp_core::header::names;
use mpp_core::{Receipt, SessionReceipt};
use reqwest::{Body, Request};
use url::Url;

use super::answer::{Content, read};
use super::session::Track;
use super::transport::SendError;
use super::{Client, PaidResponse};

/// What this client can pay with, for `Accept-Payment`.
const ACCEPT_PAYMENT: HeaderValue = HeaderValue::from_static("tempo/session");

/// What is to be sent.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: OrderBody,
    pub(super) timeout: Option<Duration>,
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
        }
    }

    /// The bytes that a challenge's digest must match; `None` when they are not known.
    fn known_body(&self) -> Option<&[u8]> {
        match &self.body {
            OrderBody::Empty => Some(&[]),
            OrderBody::Bytes(bytes) => Some(bytes),
            OrderBody::Once(_) => None,
        }
    }

    fn request(&mut self, field: Option<CredentialField>) -> Result<Request, ClientError> {
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
        headers
            .entry(names::ACCEPT_PAYMENT)
            .or_insert(ACCEPT_PAYMENT);
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
}

impl Exchange {
    pub(super) fn new(
        client: Client,
        order: Order,
        track: Option<Track>,
    ) -> Result<Self, ClientError> {
        let site = Site::of(&order.url)?;
        Ok(Self {
            client,
            order,
            site,
            track,
            flow: Flow::new(),
            payment: None,
        })
    }

    pub(super) async fn run(mut self) -> Result<PaidResponse, ClientError> {
        if let Some(offer) = self.offer_in_advance().await? {
            self.pay(offer).await?;
        }
        loop {
            let (answer, content) = self.send().await?;
            let action = self.flow.on_answer(self.sent()?, &answer);
            if let Some(response) = self.act(action, answer, content).await? {
                return Ok(response);
            }
        }
    }

    /// The offer to answer before it is made, so that the request takes one round trip.
    async fn offer_in_advance(&self) -> Result<Option<Offer>, ClientError> {
        let known = self.client.payer.known_offer(&self.site);
        match (&self.order.body, known) {
            (_, Some(offer)) => Ok(Some(offer)),
            // A body that can be sent once goes out when it can be paid for.
            (OrderBody::Once(_), None) => self.client.ask(&self.order.url).await,
            (OrderBody::Empty | OrderBody::Bytes(_), None) => Ok(None),
        }
    }

    async fn pay(&mut self, offer: Offer) -> Result<(), ClientError> {
        offer.check_body(self.order.known_body())?;
        let client = &self.client;
        client.resume(&self.order.url, &self.site, &offer).await?;
        let payment = client.payer.begin(&self.site, offer).await?;
        self.payment = Some(payment);
        Ok(())
    }

    fn sent(&self) -> Result<Sent, ClientError> {
        self.payment
            .as_ref()
            .map_or(Ok(Sent::Nothing), Payment::sent)
    }

    async fn send(&mut self) -> Result<(Answer, Content), ClientError> {
        let mut field = None;
        if let Some(payment) = &mut self.payment {
            let url = &self.order.url;
            field = Some(self.client.credential(url, payment).await?);
            if let Some(track) = &self.track {
                track.note(payment.channel_id(), url);
            }
        }
        let request = self.order.request(field)?;
        if let Some(payment) = &mut self.payment {
            payment.mark_sent();
        }
        match self.client.transport.send(request).await {
            Ok(response) => Ok(read(response).await),
            Err(SendError::NotSent(error)) => {
                if let Some(payment) = self.payment.take() {
                    payment.release();
                }
                Err(ClientError::Transport(error))
            }
            Err(SendError::MayHaveArrived(error)) => Err(match self.payment.take() {
                Some(payment) => payment.lose(error),
                None => ClientError::Transport(error),
            }),
        }
    }

    /// Does what the flow says; returns the answer when it is final.
    async fn act(
        &mut self,
        action: Action,
        answer: Answer,
        content: Content,
    ) -> Result<Option<PaidResponse>, ClientError> {
        match action {
            Action::Deliver(booking) => return self.deliver(booking, content).map(Some),
            Action::Pay(offer) => {
                self.client.payer.learn(&self.site, &offer);
                self.pay(offer).await?;
            }
            Action::Renew(offer) => {
                self.client.payer.learn(&self.site, &offer);
                offer.check_body(self.order.known_body())?;
                if let Some(payment) = self.payment.take() {
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
                if let Some(payment) = self.payment.take() {
                    payment.doubt();
                }
                return Err(error);
            }
        }
        drop((answer, content));
        Ok(None)
    }

    fn deliver(&mut self, booking: Booking, content: Content) -> Result<PaidResponse, ClientError> {
        let Some(mut payment) = self.payment.take() else {
            return Ok(PaidResponse::new(content, None, None));
        };
        match booking {
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
            Booking::Unpaid | Booking::Doubt => {
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
