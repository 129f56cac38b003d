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
        let response = self.ask_to_be_known(url, None).await?;
        if response.status() != 402 {
            return settle(resume, &response).await;
        }
        let (answer, _content) = read(response).await;
        let Some(proof) = resume.proof(&answer.challenges).await? else {
            // It asks for something else: it knows nothing of this.
            resume.none();
            return Ok(());
        };
        let response = self.ask_to_be_known(url, Some(&proof)).await?;
        if response.status().is_success() {
            return settle(resume, &response).await;
        }
        Err(ClientError::Status {
            status: response.status().as_u16(),
        })
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
