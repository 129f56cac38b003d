//! A server that is paid for a while.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, header};
use mpp_client::session::book::StaleReason;
use mpp_client::{ClientError, Origin, TxHash};
use mpp_core::{Amount, ProblemKind, SessionReceipt};
use mpp_tempo::ChannelId;
use url::Url;

use super::manage::{Managed, refusal};
use super::{Client, RequestBuilder, SseStream};

/// Top-ups that one call may send: earlier ones that are not finished, and the one it asks for.
const MAX_TOP_UPS: u32 = 4;
/// Closes that one call may send: the first, and after a correction of the amount.
const MAX_CLOSES: u32 = 3;

/// A server that is paid for a while, over one channel.
///
/// Lazy: nothing happens until the first request. Cheap to clone; clones are the same session.
/// Dropping a session closes nothing: call [`Session::close`] to get the rest of the deposit back.
#[derive(Clone, Debug)]
pub struct Session {
    client: Client,
    url: Url,
    track: Track,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// The channel that pays.
    pub channel_id: ChannelId,
    /// What it holds on chain, in base units.
    pub deposit: Amount,
    /// The highest cumulative amount that was signed, in base units.
    pub signed: Amount,
    /// What receipts confirm as spent, in base units.
    pub spent: Amount,
}

impl Session {
    pub(super) fn new(client: Client, url: Url) -> Self {
        Self {
            client,
            url,
            track: Track::default(),
        }
    }

    /// Begins a `GET` request. A relative URL is taken relative to the session's.
    pub fn get(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Begins a `POST` request, as [`Session::get`].
    pub fn post(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// Begins a request, as [`Session::get`].
    pub fn request(&self, method: Method, url: impl AsRef<str>) -> RequestBuilder {
        let url = self.url.join(url.as_ref()).ok();
        RequestBuilder::new(self.client.clone(), method, url).tracked(self.track.clone())
    }

    /// Opens a paid event stream and yields the data of its events.
    ///
    /// While the stream is polled, it answers the server's requests for vouchers on another
    /// connection, and refills the channel if the policy allows.
    ///
    /// # Errors
    /// As [`RequestBuilder::send`]; [`ClientError::Status`] for an answer that is no success, and
    /// [`ClientError::Protocol`] for one that is no event stream.
    ///
    /// # Cancel safety
    /// As [`RequestBuilder::send`].
    pub async fn sse(&self, url: impl AsRef<str>) -> Result<SseStream, ClientError> {
        let url = self
            .url
            .join(url.as_ref())
            .map_err(|_| ClientError::Misuse("the URL can not be read"))?;
        let response = self
            .request(Method::GET, url.as_str())
            .header(header::ACCEPT, "text/event-stream")
            .send()
            .await?;
        SseStream::new(self.client.clone(), url, response)
    }

    /// Opens a paid stream over a WebSocket, and yields the texts of its messages.
    ///
    /// Vouchers and top-ups go over the same socket while the stream is read. The URL may begin
    /// with `ws`, `wss`, `http` or `https`.
    ///
    /// # Errors
    /// As [`RequestBuilder::send`]; [`ClientError::Status`] from a server that opens no socket.
    ///
    /// # Cancel safety
    /// As [`RequestBuilder::send`].
    #[cfg(feature = "ws")]
    pub async fn ws(&self, url: impl AsRef<str>) -> Result<super::WsStream, ClientError> {
        let url = self
            .url
            .join(url.as_ref())
            .map_err(|_| ClientError::Misuse("the URL can not be read"))?;
        let url = super::socket::http(url)?;
        let stream = self.client.socket(&url).await?;
        self.track.note(stream.channel_id(), &url);
        Ok(stream)
    }

    /// Adds `additional` base units to the channel.
    ///
    /// # Errors
    /// [`ClientError::Policy`] above the policy's largest deposit, [`ClientError::Misuse`] before
    /// the first request, [`ClientError::Indeterminate`] when the answer was lost. A top-up whose
    /// fate is not known is finished first.
    ///
    /// # Cancel safety
    /// Dropped, the top-up may happen; the next one finds out.
    pub async fn top_up(&self, additional: Amount) -> Result<SessionReceipt, ClientError> {
        let (channel, url) = self.channel()?;
        let offer = self.client.any_offer(&url).await?;
        for _ in 0..MAX_TOP_UPS {
            let payer = &self.client.payer;
            let top_up = payer.top_up(channel, &offer, additional).await?;
            let is_repeat = top_up.is_repeat();
            let receipt = self.client.top_up(&url, offer.clone(), top_up).await?;
            if !is_repeat {
                return Ok(receipt);
            }
        }
        Err(ClientError::Protocol("it never finishes a top-up"))
    }

    /// Closes the channel: the server settles what was spent, and the rest comes back.
    ///
    /// The receipt names the settlement transaction. Requests that still run may be refused.
    ///
    /// # Errors
    /// [`ClientError::Misuse`] before the first request, [`ClientError::Problem`] when the server
    /// refuses (see [`Session::request_close`]), [`ClientError::Indeterminate`] when its answer was
    /// lost: close again.
    ///
    /// # Cancel safety
    /// Dropped, the channel may be closed and takes no requests; close again to find out.
    pub async fn close(&self) -> Result<SessionReceipt, ClientError> {
        let (channel, url) = self.channel()?;
        let offer = self.client.any_offer(&url).await?;
        let mut close = self.client.payer.close(channel).await?;
        for _ in 0..MAX_CLOSES {
            match self.client.manage(&url, offer.clone(), &mut close).await? {
                Managed::Done(receipt) => {
                    close.confirm(&receipt)?;
                    return Ok(*receipt);
                }
                Managed::Lost(error) => return Err(close.lose(error)),
                Managed::Refused { status, problem } => {
                    let reason = problem.as_ref().and_then(|problem| match problem.kind {
                        ProblemKind::ChannelNotFound => Some(StaleReason::NotFound),
                        ProblemKind::ChannelFinalized => Some(StaleReason::Finalized),
                        _ => None,
                    });
                    if let Some(reason) = reason {
                        return Err(close.gone(reason, refusal(status, problem)));
                    }
                    let again = match &problem {
                        Some(problem) => close.adjust(problem)?,
                        None => false,
                    };
                    if !again {
                        return Err(close.refuse(refusal(status, problem)));
                    }
                }
            }
        }
        Err(close.refuse(ClientError::Protocol("no close voucher is right for it")))
    }

    /// Asks the chain for the rest of the deposit, without the server.
    ///
    /// Returns the Unix second of the chain from which [`Session::withdraw`] works.
    ///
    /// # Errors
    /// As [`Client::request_close`].
    ///
    /// # Cancel safety
    /// As [`Client::request_close`].
    pub async fn request_close(&self) -> Result<u64, ClientError> {
        let (channel, _) = self.channel()?;
        self.client.request_close(&channel).await
    }

    /// Takes the rest of the deposit back after the grace period.
    ///
    /// # Errors
    /// As [`Client::withdraw`].
    ///
    /// # Cancel safety
    /// As [`Client::request_close`].
    pub async fn withdraw(&self) -> Result<Option<TxHash>, ClientError> {
        let (channel, _) = self.channel()?;
        self.client.withdraw(&channel).await
    }

    /// Where the session stands; `None` before its first paid request.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn state(&self) -> Result<Option<SessionState>, ClientError> {
        let Some((channel_id, _)) = self.track.get() else {
            return Ok(None);
        };
        let summary = self.client.payer.channel(&channel_id)?;
        Ok(Some(SessionState {
            channel_id,
            deposit: summary.deposit,
            signed: summary.signed,
            spent: summary.spent,
        }))
    }

    /// The channel that the session has used, or one of its server in the book.
    fn channel(&self) -> Result<(ChannelId, Url), ClientError> {
        if let Some(used) = self.track.get() {
            return Ok(used);
        }
        let origin = Origin::of(&self.url)?;
        let known = self.client.payer.usable_channel(&origin)?;
        known
            .map(|channel| (channel, self.url.clone()))
            .ok_or(ClientError::Misuse("the session has no channel yet"))
    }
}

/// The channel that a session used last, and where.
#[derive(Clone, Debug, Default)]
pub(super) struct Track(Arc<Mutex<Option<(ChannelId, Url)>>>);

impl Track {
    pub(super) fn note(&self, channel: ChannelId, url: &Url) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((channel, url.clone()));
    }

    fn get(&self) -> Option<(ChannelId, Url)> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }
}
