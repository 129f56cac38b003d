//! Asking a server for a channel that the book has lost (PROTOCOL 5.8).

use http::{HeaderMap, HeaderValue};
use mpp_client::flow::Probe;
use mpp_client::session::payment::CredentialField;
use mpp_client::session::resume::{Resume, SnapshotRefused};
use mpp_client::{ClientError, Offer, Site};
use mpp_core::header::{decode_bytes, names, session};
use reqwest::Response;
use serde_json::Value;
use url::Url;

use super::Client;
use super::answer::read;
use super::manage::request;

/// How many answers may be lost before a request fails.
const MAX_LOST: u32 = 3;

/// Who takes charges only, and buys nothing, asks to be recognized.
const ACCEPT_PROOF: HeaderValue = HeaderValue::from_static("tempo/charge");

impl Client {
    /// Asks for a channel, if the book may have lost it, before another one is opened.
    ///
    /// Nothing is paid. When the server can not say, this is an error: a second deposit would not
    /// bring the first one back.
    pub(super) async fn resume(
        &self,
        url: &Url,
        site: &Site,
        offer: &Offer,
    ) -> Result<(), ClientError> {
        let Some(resume) = self.payer.resume(site, offer).await? else {
            return Ok(());
        };
        let mut lost = 0;
        let answer = loop {
            match self.introduce(url, &resume).await {
                // Nothing is paid, so it can be asked again; a proof that was used is not.
                Err(ClientError::Transport(_)) if lost < MAX_LOST => lost = lost.saturating_add(1),
                answer => break answer?,
            }
        };
        match answer {
            Some(response) => settle(resume, &response).await,
            None => {
                resume.none();
                Ok(())
            }
        }
    }

    /// Proves who is asking, and returns the answer to that; `None` from a server that asks for
    /// something else, because it knows nothing of this.
    async fn introduce(&self, url: &Url, resume: &Resume) -> Result<Option<Response>, ClientError> {
        let response = self.ask_to_be_known(url, None).await?;
        if response.status() != 402 {
            return Ok(Some(response));
        }
        let (answer, _content) = read(response).await;
        let Some(proof) = resume.proof(&answer.challenges).await? else {
            return Ok(None);
        };
        let response = self.ask_to_be_known(url, Some(&proof)).await?;
        if response.status().is_success() {
            return Ok(Some(response));
        }
        Err(ClientError::Status {
            status: response.status().as_u16(),
        })
    }

    /// Asks to be known beside another transport, which has no way for that.
    #[cfg(feature = "ws")]
    pub(super) async fn introduce_by_head(
        &self,
        url: &Url,
        proof: Option<&CredentialField>,
    ) -> Result<mpp_client::exchange::Acquaintance, ClientError> {
        let response = self.ask_to_be_known(url, proof).await?;
        let snapshot = snapshot(response.headers());
        let (answer, _content) = read(response).await;
        Ok(mpp_client::exchange::Acquaintance { answer, snapshot })
    }

    async fn ask_to_be_known(
        &self,
        url: &Url,
        proof: Option<&CredentialField>,
    ) -> Result<Response, ClientError> {
        let mut request = request(url, Probe::Head, proof)?;
        let headers = request.headers_mut();
        headers.insert(names::ACCEPT_PAYMENT, ACCEPT_PROOF);
        Ok(self.transport.send(request).await?)
    }
}

/// Takes the channel over that an answer tells of.
async fn settle(resume: Resume, response: &Response) -> Result<(), ClientError> {
    let status = response.status();
    if status.is_server_error() && status != 501 {
        return Err(ClientError::Status {
            status: status.as_u16(),
        });
    }
    match snapshot(response.headers())? {
        Some(snapshot) if status.is_success() => resume.adopt(&snapshot).await.map(drop),
        _ => {
            resume.none();
            Ok(())
        }
    }
}

/// The snapshot in the header. Two of them are none that can be trusted.
fn snapshot(headers: &HeaderMap) -> Result<Option<Value>, SnapshotRefused> {
    let mut values = headers.get_all(names::PAYMENT_SESSION_SNAPSHOT).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(SnapshotRefused::Unreadable),
        (Some(value), None) => session::parse_snapshot(&decode_bytes(value.as_bytes()))
            .map(Some)
            .map_err(|_| SnapshotRefused::Unreadable),
    }
}
