//! A paid stream over a WebSocket, whose vouchers go the same way.

mod connect;
mod line;
mod wire;

use std::fmt;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use mpp_client::exchange::{Exchange, Patience, Track};
use mpp_client::session::payment::Payment;
use mpp_client::{ClientError, Payer, Site, TransportError};
use mpp_core::SessionReceipt;
use mpp_tempo::ChannelId;
use mpp_tempo::wire::NeedVoucher;
use url::Url;

pub(super) use self::connect::http;
use self::line::Line;
use self::wire::SocketWire;
use super::Client;
use super::wire::Resource;

/// A paid stream over a WebSocket: yields the texts of its messages.
///
/// Vouchers and top-ups are signed and sent while the stream is read, so a reader that stops
/// reading stops paying. Dropped, what it may have cost stays covered until a later receipt tells.
pub struct WsStream {
    payer: Payer,
    site: Site,
    /// Where the channel can be managed without the socket.
    resource: Resource,
    state: State,
    channel: ChannelId,
    receipt: Option<SessionReceipt>,
    patience: Patience,
}

/// Who has the socket.
enum State {
    /// The reader, who pays.
    Reading(Box<Line>, Box<Payment>),
    /// A voucher that is being sent. A call that waits for it may be dropped: the next one goes on
    /// with it, so that every answer is taken for the voucher that it is about.
    Answering(BoxFuture<'static, Answered>),
    /// Nobody pays anymore: the stream has ended, or has failed. The socket may be left.
    Over(Option<Box<Line>>),
}

/// The socket after a voucher was sent over it.
type Answered = (Box<Line>, Box<Payment>, Result<(), ClientError>);

impl Client {
    /// Opens a paid WebSocket at an HTTP URL.
    pub(super) async fn socket(
        &self,
        url: Url,
        track: &Track<Url>,
    ) -> Result<WsStream, ClientError> {
        let site = Site::of(&url)?;
        let resource = self.resource(url);
        let mut wire = SocketWire::new(resource.clone(), track);
        let begun = Exchange::new(&self.payer, site.clone(), &mut wire)
            .run()
            .await?;
        match (wire.into_line(), begun.payment) {
            (Some(line), Some(payment)) => Ok(WsStream {
                payer: self.payer.clone(),
                site,
                resource,
                channel: payment.channel_id(),
                state: State::Reading(Box::new(line), Box::new(payment)),
                receipt: None,
                patience: Patience::default(),
            }),
            _ => Err(ClientError::Protocol("it does not ask for payment")),
        }
    }
}

impl WsStream {
    /// The next text; `None` after the stream has ended with its receipt.
    ///
    /// # Errors
    /// [`ClientError::Transport`] when the connection breaks, [`ClientError::Policy`] and
    /// [`ClientError::Discrepancy`] when the server asks for too much, [`ClientError::Problem`]
    /// when it refuses a voucher. Nothing comes after an error.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call goes on where this one was dropped, also with a voucher that
    /// was on its way.
    pub async fn next(&mut self) -> Option<Result<String, ClientError>> {
        loop {
            if let Some(text) = self.ready() {
                self.patience.on_content();
                return Some(Ok(text));
            }
            match self.step().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    drop(self.stop());
                    return Some(Err(error));
                }
            }
        }
    }

    /// A text that has come already.
    fn ready(&mut self) -> Option<String> {
        match &mut self.state {
            State::Reading(line, _) | State::Over(Some(line)) => line.ready(),
            State::Answering(_) | State::Over(None) => None,
        }
    }

    /// Reads on, or pays; tells whether the stream goes on.
    async fn step(&mut self) -> Result<bool, ClientError> {
        self.answered().await?;
        let State::Reading(line, payment) = &mut self.state else {
            return Ok(false);
        };
        if let Some(receipt) = line.ended.take() {
            if let Some(payment) = self.stop() {
                payment.confirm(&receipt)?;
            }
            self.receipt = Some(receipt);
        } else if let Some(need) = line.need.take() {
            self.patience.on_need()?;
            self.answer(need);
        } else if let Some(receipt) = line.read().await? {
            payment.observe(&receipt)?;
        }
        Ok(true)
    }

    /// Begins to answer a request for a voucher.
    fn answer(&mut self, need: NeedVoucher) {
        let (mut line, mut payment) = match std::mem::replace(&mut self.state, State::Over(None)) {
            State::Reading(line, payment) => (line, payment),
            other => {
                self.state = other;
                return;
            }
        };
        let (payer, site) = (self.payer.clone(), self.site.clone());
        let answer = async move {
            let answered = payer
                .feed_over(&site, &mut *line, &mut payment, &need)
                .await;
            (line, payment, answered)
        };
        self.state = State::Answering(answer.boxed());
    }

    /// Waits for the voucher that is being sent, if one is.
    async fn answered(&mut self) -> Result<(), ClientError> {
        let State::Answering(answer) = &mut self.state else {
            return Ok(());
        };
        let (line, payment, answered) = answer.await;
        let has_ended = line.ended.is_some();
        self.state = State::Reading(line, payment);
        // What became of the voucher does not matter to a stream that has ended meanwhile, and the
        // server may hang up then.
        if has_ended { Ok(()) } else { answered }
    }

    /// Stops paying, and gives the payment back if the reader has it.
    fn stop(&mut self) -> Option<Box<Payment>> {
        match std::mem::replace(&mut self.state, State::Over(None)) {
            State::Reading(line, payment) => {
                self.state = State::Over(Some(line));
                Some(payment)
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The channel that pays.
    #[must_use]
    pub const fn channel_id(&self) -> ChannelId {
        self.channel
    }

    /// The final receipt, once the stream has ended with one.
    #[must_use]
    pub const fn receipt(&self) -> Option<&SessionReceipt> {
        self.receipt.as_ref()
    }

    /// Asks the server to end the stream, and waits a minute at most for its receipt. What was
    /// charged by then can still be read with [`WsStream::next`].
    ///
    /// # Errors
    /// As [`WsStream::next`].
    ///
    /// # Cancel safety
    /// Dropped, the stream may end; it may be asked again.
    pub async fn finish(&mut self) -> Result<(), ClientError> {
        // A voucher on its way goes before. Whether it was accepted does not matter anymore.
        drop(self.answered().await);
        let State::Reading(line, _) = &mut self.state else {
            return Ok(());
        };
        line.finish().await?;
        self.step().await.map(drop)
    }

    /// Ends the stream and closes the channel over the same socket, or over HTTP when the stream
    /// does not end: the server settles what was spent, and the rest comes back.
    ///
    /// # Errors
    /// As [`WsStream::finish`] and [`Session::close`](super::Session::close).
    ///
    /// # Cancel safety
    /// As [`Session::close`](super::Session::close).
    pub async fn close(mut self) -> Result<SessionReceipt, ClientError> {
        match self.finish().await {
            // A socket that broke or stands still is left, and with it the stream ends.
            Err(ClientError::Transport(_)) => self.state = State::Over(None),
            finished => finished?,
        }
        let (payer, site) = (&self.payer, &self.site);
        let State::Over(Some(line)) = &mut self.state else {
            let mut resource = self.resource;
            return payer.close_over(site, &mut resource, self.channel).await;
        };
        let closed = payer.close_over(site, &mut **line, self.channel).await;
        line.hang_up().await;
        match closed {
            // The server has hung up meanwhile, as it may once a stream is over. Asked again, it
            // says whether it has closed the channel.
            Err(ClientError::Indeterminate { .. } | ClientError::Transport(_)) => {
                let mut resource = self.resource;
                payer.close_over(site, &mut resource, self.channel).await
            }
            closed => closed,
        }
    }
}

impl fmt::Debug for WsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsStream")
            .field("channel", &self.channel)
            .field("receipt", &self.receipt)
            .finish_non_exhaustive()
    }
}

/// A socket that broke.
fn broken(error: impl std::error::Error + Send + Sync + 'static) -> TransportError {
    TransportError::caused("the socket broke", error)
}
