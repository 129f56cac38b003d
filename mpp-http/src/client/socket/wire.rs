//! The beginning of a paid socket as a wire of `mpp-client`.

use std::time::Duration;

use mpp_client::TransportError;
use mpp_client::credential::CredentialField;
use mpp_client::exchange::{Acquaintance, ManageWire, SendError, Track, Wire};
use mpp_client::flow::{Answer, Probe};
use mpp_tempo::ChannelId;
use url::Url;

use super::connect;
use super::line::Line;
use crate::client::wire::{Resource, TIMEOUT};

/// A socket that may not be open yet.
pub(super) struct SocketWire<'a> {
    resource: Resource,
    track: &'a Track<Url>,
    line: Option<Line>,
}

impl<'a> SocketWire<'a> {
    pub(super) const fn new(resource: Resource, track: &'a Track<Url>) -> Self {
        Self {
            resource,
            track,
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
                let opened = tokio::time::timeout(TIMEOUT, connect::open(&self.resource)).await;
                // The handshake carries nothing that pays.
                let socket = opened.unwrap_or_else(|_| {
                    let late = TransportError::new("the socket was not opened in time");
                    Err(SendError::NotSent(late))
                })?;
                Line::new(self.resource.clone(), socket)
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
            return Ok((self.resource.get().await?, ()));
        };
        let mut answer = self.line().await?.manage(Probe::Head, Some(field)).await?;
        answer.is_stream = (200..300).contains(&answer.status);
        Ok((answer, ()))
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

    fn paid_by(&mut self, channel: ChannelId) {
        self.track.note(channel, self.resource.url.clone());
    }
}
