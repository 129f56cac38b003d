//! Sending a request, and telling whether a failed one may have arrived.

use mpp_client::exchange::SendError;
use mpp_client::{BuildError, TransportError};
use reqwest::{Client, ClientBuilder, Request, Response, redirect::Policy};

/// An HTTP client that follows no redirect.
#[derive(Clone, Debug)]
pub(super) struct Transport(Client);

impl Transport {
    /// Builds the client.
    ///
    /// Redirects are never followed: a credential belongs to the URL it was made for
    /// (SECURITY-CASES A18). Whatever the configuration says about them is overruled.
    pub(super) fn new(config: ClientBuilder) -> Result<Self, BuildError> {
        let client = config
            .redirect(Policy::none())
            .referer(false)
            .build()
            .map_err(|error| BuildError::Http(Box::new(error.without_url())))?;
        Ok(Self(client))
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Cancel safety
    /// Dropped, the request may have arrived.
    pub(super) async fn send(&self, request: Request) -> Result<Response, SendError> {
        self.0.execute(request).await.map_err(|error| {
            // The URL may hold secrets in its query.
            let error = error.without_url();
            if error.is_connect() || error.is_builder() {
                SendError::NotSent(TransportError::caused("no connection was made", error))
            } else {
                SendError::MayHaveArrived(lost(error))
            }
        })
    }
}

/// A connection that broke, or took too long, after the request was begun.
fn lost(error: reqwest::Error) -> TransportError {
    let what = if error.is_timeout() {
        "the answer did not come in time"
    } else {
        "the connection broke"
    };
    TransportError::caused(what, error.without_url())
}
