//! A paid stream over a WebSocket, whose vouchers go the same way.

mod connect;
mod line;
mod wire;

use std::fmt;

use mpp_client::exchange::{Exchange, Patience, Track};
use mpp_client::session::payment::Payment;
use mpp_client::{ClientError, Payer, Site, TransportError};
use mpp_core::SessionReceipt;
use mpp_tempo::ChannelId;
use url::Url;

pub(super) use self::connect::http;
use self::line::Line;
use self::wire::SocketWire;
use super::Client;

/// A paid stream over a WebSocket: yields the texts of its messages.
///
/// Vouchers and top-ups are signed and sent while the stream is read, so a reader that stops
/// reading stops paying. Dropped, what it may have cost stays covered until a later receipt tells.
pub struct WsStream {
    payer: Payer,
    site: Site,
    line: Line,
    payment: Option<Box<Payment>>,
    channel: ChannelId,
    receipt: Option<SessionReceipt>,
    patience: Patience,
}

impl Client {
    /// Opens a paid WebSocket at an HTTP URL.
    pub(super) async fn socket(
        &self,
        url: Url,
        track: &Track<Url>,
    ) -> Result<WsStream, ClientError> {
        let site = Site::of(&url)?;
        let mut wire = SocketWire::new(self.resource(url), track);
        let begun = Exchange::new(&self.payer, site.clone(), &mut wire)
            .run()
            .await?;
        match (wire.into_line(), begun.payment) {
            (Some(line), Some(payment)) => Ok(WsStream {
                payer: self.payer.clone(),
                site,
                line,
                channel: payment.channel_id(),
                payment: Some(Box::new(payment)),
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
    /// Dropped while a voucher is on its way, the next call sends it again, which is harmless.
    pub async fn next(&mut self) -> Option<Result<String, ClientError>> {
        loop {
            if let Some(text) = self.line.ready.pop_front() {
                self.patience.on_content();
                return Some(Ok(text));
            }
            let step = self.step().await;
            match step {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.payment = None;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Reads on, or pays; tells whether the stream goes on.
    async fn step(&mut self) -> Result<bool, ClientError> {
        if let Some(receipt) = self.line.ended.take() {
            if let Some(payment) = self.payment.take() {
                payment.confirm(&receipt)?;
            }
            self.receipt = Some(receipt);
        }
        let Some(payment) = &mut self.payment else {
            return Ok(false);
        };
        let Some(need) = self.line.need else {
            if let Some(receipt) = self.line.read().await? {
                payment.observe(&receipt)?;
            }
            return Ok(true);
        };
        self.patience.on_need()?;
        self.payer
            .feed_over(&self.site, &mut self.line, payment, &need)
            .await?;
        // Another one may have come meanwhile.
        if self.line.need.as_ref() == Some(&need) {
            self.line.need = None;
        }
        Ok(true)
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

    /// Asks the server to end the stream, and waits for its receipt. What was charged by then can
    /// still be read with [`WsStream::next`].
    ///
    /// # Errors
    /// As [`WsStream::next`].
    ///
    /// # Cancel safety
    /// Dropped, the stream may end; it may be asked again.
    pub async fn finish(&mut self) -> Result<(), ClientError> {
        if self.payment.is_none() {
            return Ok(());
        }
        self.line.need = None;
        self.line.request_close().await?;
        while self.line.ended.is_none() {
            self.line.read().await?;
            // Nothing more is signed for a stream that is to end.
            self.line.need = None;
        }
        self.step().await.map(drop)
    }

    /// Ends the stream and closes the channel over the same socket: the server settles what was
    /// spent, and the rest comes back.
    ///
    /// # Errors
    /// As [`WsStream::finish`] and [`Session::close`](super::Session::close).
    ///
    /// # Cancel safety
    /// As [`Session::close`](super::Session::close).
    pub async fn close(mut self) -> Result<SessionReceipt, ClientError> {
        self.finish().await?;
        let closed = self
            .payer
            .close_over(&self.site, &mut self.line, self.channel)
            .await;
        self.line.hang_up().await;
        closed
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
