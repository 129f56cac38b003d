//! A server that is paid for a while.

use http::{Method, header};
use mpp_client::exchange::Track;
use mpp_client::{ClientError, Origin, Site, TxHash};
use mpp_core::{Amount, SessionReceipt};
use mpp_tempo::ChannelId;
use url::Url;

use super::{Client, RequestBuilder, SseStream, wire::Resource};

/// A server that is paid for a while, over one channel.
///
/// Lazy: nothing happens until the first request. Cheap to clone; clones are the same session.
/// Dropping a session closes nothing: call [`Session::close`] to get the rest of the deposit back.
#[derive(Clone, Debug)]
pub struct Session {
    client: Client,
    url: Url,
    /// The channel that paid last, and for which URL.
    track: Track<Url>,
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
        RequestBuilder::new(self.client.clone(), method, self.at(url).ok())
            .tracked(self.track.clone())
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
        let url = self.at(url)?;
        let response = self
            .request(Method::GET, url.as_str())
            .header(header::ACCEPT, "text/event-stream")
            .send()
            .await?;
        SseStream::new(&self.client, url, response)
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
        let url = super::socket::http(self.at(url)?)?;
        self.client.socket(url, &self.track).await
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
        let (channel, site, mut resource) = self.managed()?;
        let payer = &self.client.payer;
        payer
            .top_up_over(&site, &mut resource, channel, additional)
            .await
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
        let (channel, site, mut resource) = self.managed()?;
        let payer = &self.client.payer;
        payer.close_over(&site, &mut resource, channel).await
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
        let Some((channel_id, _)) = self.track.last() else {
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

    fn at(&self, url: impl AsRef<str>) -> Result<Url, ClientError> {
        let url = self.url.join(url.as_ref());
        url.map_err(|_| ClientError::Misuse("the URL can not be read"))
    }

    /// The channel, and where it is managed.
    fn managed(&self) -> Result<(ChannelId, Site, Resource), ClientError> {
        let (channel, url) = self.channel()?;
        Ok((channel, Site::of(&url)?, self.client.resource(url)))
    }

    /// The channel that the session has used, or one of its server in the book.
    fn channel(&self) -> Result<(ChannelId, Url), ClientError> {
        if let Some(used) = self.track.last() {
            return Ok(used);
        }
        let origin = Origin::of(&self.url)?;
        let known = self.client.payer.usable_channel(&origin)?;
        known
            .map(|channel| (channel, self.url.clone()))
            .ok_or(ClientError::Misuse("the session has no channel yet"))
    }
}
