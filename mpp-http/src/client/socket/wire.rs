//! The beginning of a paid socket as a wire of `mpp-client`.

use std::time::Duration;

use mpp_client::credential::CredentialField;
use mpp_client::exchange::{Acquaintance, ManageWire, SendError, Wire};
use mpp_client::flow::{Answer, Probe};
use mpp_client::{ClientError, TransportError};
use url::Url;

use super::connect;
use super::line::{Line, get};
use crate::client::Client;

/// A socket that may not be open yet.
pub(super) struct SocketWire<'a> {
    client: &'a Client,
    url: &'a Url,
    line: Option<Line>,
}

impl<'a> SocketWire<'a> {
    pub(super) const fn new(client: &'a Client, url: &'a Url) -> Self {
        Self {
            client,
            url,
            line: None,
        }
    }

    /// The socket, once something was paid over it.
    pub(super) fn into_line(self) -> Option<Line> {
        self.line
    }

    async fn line(&mut self) -> Result<&mut Line, SendError> {
        let line = match self.line.take() {
            Some(line) => line,
            None => {
                let opened = connect::open(&self.client.transport, self.url).await;
                let socket = opened.map_err(unopened)?;
                Line::new(self.client.clone(), self.url.clone(), socket)
            }
        };
        Ok(self.line.insert(line))
    }
}

impl ManageWire for SocketWire<'_> {
    async fn manage(
        &mut self,
        probe: Probe,
        field: Option<&CredentialField>,
    ) -> Result<Answer, SendError> {
        self.line().await?.manage(probe, field).await
    }
}

impl Wire for SocketWire<'_> {
    type Content = ();

    async fn send(&mut self, field: Option<&CredentialField>) -> Result<(Answer, ()), SendError> {
        let Some(field) = field else {
            return Ok((get(self.client, self.url).await?, ()));
        };
        let mut answer = self.line().await?.manage(Probe::Head, Some(field)).await?;
        answer.is_stream = (200..300).contains(&answer.status);
        Ok((answer, ()))
    }

    async fn introduce(
        &mut self,
        proof: Option<&CredentialField>,
    ) -> Result<Acquaintance, SendError> {
        let met = self.client.introduce_by_head(self.url, proof).await;
        met.map_err(unopened)
    }

    async fn pause(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Nothing that pays is sent before the socket is open.
fn unopened(error: ClientError) -> SendError {
    let what = TransportError::caused("the socket was not opened", error);
    SendError::NotSent(what)
}
