//! An HTTP client that pays.
//!
//! [`Client::get`] and its relatives work like those of any HTTP client. When a server answers
//! `402`, the client pays within its [`Policy`](mpp_client::Policy): the first request opens a
//! payment channel, later ones only sign vouchers and take one round trip. [`Session`] is a server
//! that is paid for a while: it reads paid event streams and closes the channel at the end.

mod answer;
mod builder;
mod order;
mod request;
mod response;
mod session;
#[cfg(feature = "ws")]
mod socket;
mod stream;
mod transport;
mod wire;

use std::fmt;

use http::Method;
use mpp_client::{
    BuildError, ChannelSummary, ChargeId, ChargeState, ChargeSummary, ClientError, Payer, Phase,
    Subscription, TxHash,
};
use mpp_tempo::ChannelId;
use reqwest::{IntoUrl, Url};

#[cfg(feature = "ws")]
pub use self::socket::WsStream;
pub use self::{
    builder::ClientBuilder,
    request::RequestBuilder,
    response::PaidResponse,
    session::{Session, SessionState},
    stream::SseStream,
};
use self::{transport::Transport, wire::Resource};

/// An HTTP client that pays. Cheap to clone; clones share channels and connections.
///
/// Redirects are returned, never followed.
///
/// # Examples
///
/// ```
/// use mpp_client::Policy;
/// use mpp_core::Amount;
/// use mpp_devnet::{Devnet, DevnetConfig};
/// use mpp_http::client::Client;
/// use mpp_tempo::LocalSigner;
///
/// let chain = Devnet::new(DevnetConfig::default());
/// let key = LocalSigner::from_bytes(&[7; 32])?;
/// let client = Client::builder()
///     .signer(key)
///     .chain(chain)
///     // At most one dollar in a channel.
///     .policy(Policy::new(Amount::from_decimal("1", 6)?))
///     .build()?;
/// let request = client.get("https://photos.example/1").header("accept", "image/jpeg");
/// // `request.send().await?` pays if it must.
/// # drop(request);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    payer: Payer,
    transport: Transport,
}

impl Client {
    /// Begins to configure a client.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client of a payer that exists already.
    ///
    /// # Errors
    /// [`BuildError::Http`] when the HTTP client can not be set up.
    pub fn with_payer(payer: Payer, http: reqwest::ClientBuilder) -> Result<Self, BuildError> {
        let transport = Transport::new(http)?;
        Ok(Self { payer, transport })
    }

    /// Begins a `GET` request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Begins a `POST` request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// Begins a `PUT` request.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// Begins a `DELETE` request.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Begins a request. A URL that can not be read is reported when it is sent.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, url.into_url().ok())
    }

    /// Begins a session with the server of a URL. Nothing happens until it is used.
    ///
    /// # Errors
    /// [`ClientError::Misuse`] for a text that is not a URL.
    pub fn session(&self, url: impl IntoUrl) -> Result<Session, ClientError> {
        let url = url
            .into_url()
            .map_err(|_| ClientError::Misuse("the URL can not be read"))?;
        Ok(Session::new(self.clone(), url))
    }

    /// The place where a channel that pays for `url` is managed.
    fn resource(&self, url: Url) -> Resource {
        Resource {
            transport: self.transport.clone(),
            url,
        }
    }

    /// Begins to listen to what happens. A slow listener loses events and delays nothing.
    #[must_use]
    pub fn events(&self) -> Subscription {
        self.payer.events()
    }

    /// All channels in the book, those that ended included.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn channels(&self) -> Result<Vec<ChannelSummary>, ClientError> {
        self.payer.channels()
    }

    /// The charges in the book: those of the last days, and those whose fate is not known.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn charges(&self) -> Result<Vec<ChargeSummary>, ClientError> {
        self.payer.charges()
    }

    /// Asks the chain what became of a charge.
    ///
    /// # Errors
    /// As [`Payer::resolve_charge`].
    ///
    /// # Cancel safety
    /// Dropped, nothing has changed.
    pub async fn resolve_charge(&self, charge: &ChargeId) -> Result<ChargeState, ClientError> {
        self.payer.resolve_charge(charge).await
    }

    /// Asks the chain what became of a channel, and returns the phase it is in now.
    ///
    /// # Errors
    /// As [`Payer::resolve`].
    ///
    /// # Cancel safety
    /// Dropped before the end, nothing has changed.
    pub async fn resolve(&self, channel: &ChannelId) -> Result<Phase, ClientError> {
        self.payer.resolve(channel).await
    }

    /// Asks the chain for the rest of a deposit, without the server.
    ///
    /// Returns the Unix second of the chain from which [`Client::withdraw`] works.
    ///
    /// # Errors
    /// As [`Payer::request_close`].
    ///
    /// # Cancel safety
    /// Dropped, the transaction may have been sent; calling it again finds out.
    pub async fn request_close(&self, channel: &ChannelId) -> Result<u64, ClientError> {
        self.payer.request_close(channel).await
    }

    /// Takes the rest of a deposit back after the grace period. Returns the transaction, unless
    /// the payee has closed the channel meanwhile.
    ///
    /// # Errors
    /// As [`Payer::withdraw`].
    ///
    /// # Cancel safety
    /// As [`Client::request_close`].
    pub async fn withdraw(&self, channel: &ChannelId) -> Result<Option<TxHash>, ClientError> {
        self.payer.withdraw(channel).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("payer", &self.payer)
            .finish_non_exhaustive()
    }
}
