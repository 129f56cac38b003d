//! A paid event stream, whose vouchers are sent beside it.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Stream, StreamExt};
use mpp_client::exchange::Patience;
use mpp_client::session::payment::Payment;
use mpp_client::{ClientError, Payer, Site};
use mpp_core::{Receipt, SessionReceipt};
use mpp_tempo::wire::NeedVoucher;
use url::Url;

use super::wire::Resource;
use super::{Client, PaidResponse};
use crate::sse::decode::Decoder;
use crate::sse::{NEED_VOUCHER, RECEIPT};

/// A paid event stream: yields the data of its events.
///
/// Vouchers are signed and sent while the stream is polled, so a reader that stops reading stops
/// paying. The stream ends with the server's receipt; dropped before, what it may have cost stays
/// covered until a later receipt tells.
pub struct SseStream {
    beside: Beside,
    body: BoxStream<'static, Result<Bytes, ClientError>>,
    decoder: Decoder,
    ready: VecDeque<String>,
    state: State,
    /// A further request for a voucher that came while the last one was answered.
    waiting: Option<NeedVoucher>,
    /// A receipt that came while a voucher was on its way.
    ending: Option<SessionReceipt>,
    receipt: Option<SessionReceipt>,
    patience: Patience,
}

/// Who has the payment.
enum State {
    /// The stream.
    Reading(Box<Payment>),
    /// A voucher that is being sent.
    Answering(BoxFuture<'static, (Box<Payment>, Result<(), ClientError>)>),
    /// Nobody: the stream is free, or over.
    Done,
}

impl SseStream {
    pub(super) fn new(
        client: &Client,
        url: Url,
        response: PaidResponse,
    ) -> Result<Self, ClientError> {
        if !response.status().is_success() {
            return Err(ClientError::Status {
                status: response.status().as_u16(),
            });
        }
        let (body, receipt, payment) = response.into_parts();
        let state = match (payment, receipt) {
            (Some(payment), _) => State::Reading(Box::new(payment)),
            // A receipt of a session finished the request: the answer is no stream. A charge pays
            // for a whole one.
            (None, Some(Receipt::Session(_))) => {
                return Err(ClientError::Protocol("it does not answer with a stream"));
            }
            (None, Some(Receipt::Charge(_)) | None) => State::Done,
        };
        let beside = Beside {
            payer: client.payer.clone(),
            site: Site::of(&url)?,
            resource: client.resource(url),
        };
        Ok(Self {
            beside,
            body: body.boxed(),
            decoder: Decoder::default(),
            ready: VecDeque::new(),
            state,
            waiting: None,
            ending: None,
            receipt: None,
            patience: Patience::default(),
        })
    }

    /// The final receipt, once the stream has ended with one.
    #[must_use]
    pub const fn receipt(&self) -> Option<&SessionReceipt> {
        self.receipt.as_ref()
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.decoder
            .push(bytes)
            .map_err(|_| ClientError::Protocol("one of its events is too large"))?;
        while let Some(event) = self.decoder.next_event() {
            match event.name.as_str() {
                NEED_VOUCHER => self.on_need(&event.data)?,
                RECEIPT => self.on_receipt(&event.data)?,
                // The name space of payment events is not for content.
                name if name.starts_with("payment-") => {}
                _ => {
                    self.patience.on_content();
                    self.ready.push_back(event.data);
                }
            }
        }
        Ok(())
    }

    fn on_need(&mut self, data: &str) -> Result<(), ClientError> {
        let need: NeedVoucher = serde_json::from_str(data)
            .map_err(|_| ClientError::Protocol("it asks for a voucher in no readable way"))?;
        match std::mem::replace(&mut self.state, State::Done) {
            State::Reading(payment) => self.answer(payment, need)?,
            State::Answering(answer) => {
                self.state = State::Answering(answer);
                // Requests beside the stream raise what it needs. A need that is overtaken here
                // costs no voucher.
                self.waiting = Some(need);
            }
            State::Done => return Err(ClientError::Protocol("it asks to pay for a free stream")),
        }
        Ok(())
    }

    fn on_receipt(&mut self, data: &str) -> Result<(), ClientError> {
        let receipt = Receipt::from_json(data.as_bytes());
        let Ok(Receipt::Session(receipt)) = receipt else {
            return Err(ClientError::Protocol("its receipt can not be read"));
        };
        match std::mem::replace(&mut self.state, State::Done) {
            State::Reading(payment) => {
                payment.confirm(&receipt)?;
                self.receipt = Some(receipt);
            }
            State::Answering(answer) => {
                self.state = State::Answering(answer);
                self.ending = Some(receipt);
            }
            State::Done => {}
        }
        Ok(())
    }

    /// Goes on after a voucher was sent.
    fn answered(
        &mut self,
        payment: Box<Payment>,
        result: Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        if let Some(receipt) = self.ending.take() {
            // The stream is over; whether its last voucher arrived does not matter anymore.
            payment.confirm(&receipt)?;
            self.receipt = Some(receipt);
            return Ok(());
        }
        result?;
        match self.waiting.take() {
            None => self.state = State::Reading(payment),
            Some(need) => self.answer(payment, need)?,
        }
        Ok(())
    }

    /// Begins to answer a request for a voucher.
    fn answer(&mut self, payment: Box<Payment>, need: NeedVoucher) -> Result<(), ClientError> {
        self.patience.on_need()?;
        let answer = self.beside.clone().answer(payment, need);
        self.state = State::Answering(answer.boxed());
        Ok(())
    }

    /// Ends the stream: nothing more is read, signed or sent.
    fn fail(&mut self, error: ClientError) -> ClientError {
        self.state = State::Done;
        self.waiting = None;
        self.body = futures_util::stream::empty().boxed();
        error
    }
}

impl Stream for SseStream {
    type Item = Result<String, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(data) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(data)));
            }
            let mut progress = false;
            if let State::Answering(answer) = &mut this.state
                && let Poll::Ready((payment, result)) = answer.poll_unpin(cx)
            {
                progress = true;
                this.state = State::Done;
                if let Err(error) = this.answered(payment, result) {
                    return Poll::Ready(Some(Err(this.fail(error))));
                }
            }
            match this.body.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(bytes))) => {
                    progress = true;
                    if let Err(error) = this.take_in(&bytes) {
                        return Poll::Ready(Some(Err(this.fail(error))));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(this.fail(error))));
                }
                // A voucher on its way is finished before the end.
                Poll::Ready(None) if matches!(this.state, State::Answering(_)) => {}
                Poll::Ready(None) if this.ready.is_empty() => {
                    this.state = State::Done;
                    return Poll::Ready(None);
                }
                Poll::Ready(None) => progress = true,
                Poll::Pending => {}
            }
            if !progress {
                return Poll::Pending;
            }
        }
    }
}

impl fmt::Debug for SseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseStream")
            .field("receipt", &self.receipt)
            .finish_non_exhaustive()
    }
}

/// Where vouchers go, beside the stream that asks for them.
#[derive(Clone)]
struct Beside {
    payer: Payer,
    site: Site,
    resource: Resource,
}

impl Beside {
    /// Answers a request for a voucher, with a top-up first if it needs one.
    async fn answer(
        mut self,
        mut payment: Box<Payment>,
        need: NeedVoucher,
    ) -> (Box<Payment>, Result<(), ClientError>) {
        let answered = self
            .payer
            .feed_over(&self.site, &mut self.resource, &mut payment, &need)
            .await;
        (payment, answered)
    }
}
