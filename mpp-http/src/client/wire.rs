//! HTTP requests as a wire of `mpp-client`.

use std::future::Future;
use std::time::Duration;

use http::{HeaderValue, Method, header};
use mpp_client::ClientError;
use mpp_client::credential::CredentialField;
use mpp_client::exchange::{Acquaintance, ManageWire, SendError, Track, Wire};
use mpp_client::flow::{Answer, Probe};
use mpp_core::header::names;
use mpp_tempo::ChannelId;
use reqwest::Request;
use url::Url;

use super::answer::{Content, read, snapshot};
use super::order::{Order, add_credential};
use super::transport::Transport;

/// How long one management request may take: a top-up or a close waits for the chain. What goes
/// over a socket may take as long.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);
/// Who takes charges only, and buys nothing, asks to be recognized.
const ACCEPT_PROOF: HeaderValue = HeaderValue::from_static("tempo/charge");

/// Something that is paid for, as the place where its channel is managed (PROTOCOL 5.5).
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) transport: Transport,
    pub(super) url: Url,
}

impl Resource {
    /// Sends a request without content. By `POST` it goes without the query (see [`Probe::Post`]).
    fn request(
        &self,
        probe: Probe,
        field: Option<&CredentialField>,
    ) -> Result<Request, ClientError> {
        let mut url = self.url.clone();
        let method = match probe {
            Probe::Head => Method::HEAD,
            Probe::Post => {
                url.set_query(None);
                Method::POST
            }
        };
        let mut request = Request::new(method, url);
        *request.timeout_mut() = Some(TIMEOUT);
        if probe == Probe::Post {
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if let Some(field) = field {
            add_credential(request.headers_mut(), field)?;
        }
        Ok(request)
    }

    /// Gets the challenges of a socket, by a plain `GET` of the same URL (PROTOCOL 5.7).
    #[cfg(feature = "ws")]
    pub(super) async fn get(&self) -> Result<Answer, SendError> {
        let mut request = Request::new(Method::GET, self.url.clone());
        *request.timeout_mut() = Some(TIMEOUT);
        let response = self.transport.send(request).await?;
        Ok(read(response).await.0)
    }

    /// Asks which channel of ours the server knows (PROTOCOL 5.8).
    pub(super) async fn introduce(
        &self,
        proof: Option<&CredentialField>,
    ) -> Result<Acquaintance, SendError> {
        let request = self.request(Probe::Head, proof);
        let mut request = request.map_err(SendError::Unsendable)?;
        let headers = request.headers_mut();
        headers.insert(names::ACCEPT_PAYMENT, ACCEPT_PROOF);
        let response = self.transport.send(request).await?;
        let snapshot = snapshot(response.headers());
        let (answer, _content) = read(response).await;
        Ok(Acquaintance { answer, snapshot })
    }
}

impl ManageWire for Resource {
    async fn manage(
        &mut self,
        probe: Probe,
        field: Option<&CredentialField>,
    ) -> Result<Answer, SendError> {
        let request = self.request(probe, field).map_err(SendError::Unsendable)?;
        let response = self.transport.send(request).await?;
        Ok(read(response).await.0)
    }
}

/// One request for content.
pub(super) struct OrderWire<'a> {
    pub(super) resource: Resource,
    pub(super) order: Order,
    /// What the client pays with.
    pub(super) accept: &'a str,
    pub(super) track: Option<&'a Track<Url>>,
}

impl ManageWire for OrderWire<'_> {
    fn manage(
        &mut self,
        probe: Probe,
        field: Option<&CredentialField>,
    ) -> impl Future<Output = Result<Answer, SendError>> + Send {
        self.resource.manage(probe, field)
    }
}

impl Wire for OrderWire<'_> {
    type Content = Content;

    async fn send(
        &mut self,
        field: Option<&CredentialField>,
    ) -> Result<(Answer, Content), SendError> {
        let request = self.order.request(self.accept, field);
        let request = request.map_err(SendError::Unsendable)?;
        let response = self.resource.transport.send(request).await?;
        Ok(read(response).await)
    }

    async fn introduce(
        &mut self,
        proof: Option<&CredentialField>,
    ) -> Result<Acquaintance, SendError> {
        self.resource.introduce(proof).await
    }

    async fn pause(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn body(&self) -> Option<&[u8]> {
        self.order.known_body()
    }

    fn goes_once(&self) -> bool {
        self.order.goes_once()
    }

    fn paid_by(&mut self, channel: ChannelId) {
        if let Some(track) = self.track {
            track.note(channel, self.resource.url.clone());
        }
    }
}
