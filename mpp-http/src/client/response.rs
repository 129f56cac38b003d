//! An answer, with its receipt if it was paid.

use std::fmt;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::{HeaderMap, StatusCode};
use mpp_client::exchange::Delivered;
use mpp_client::session::payment::Payment;
use mpp_client::{ClientError, TransportError};
use mpp_core::Receipt;
use reqwest::{Body, Response};
use serde::de::DeserializeOwned;

use super::answer::{Content, Rest};

/// An answer to a request, paid or not.
pub struct PaidResponse {
    content: Content,
    receipt: Option<Receipt>,
    /// Present while a stream runs that may cost more than is known.
    payment: Option<Payment>,
}

impl PaidResponse {
    pub(super) fn of(delivered: Delivered<Content>) -> Self {
        Self {
            content: delivered.content,
            receipt: delivered.receipt,
            payment: delivered.payment,
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.head().status()
    }

    /// The header fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.head().headers()
    }

    /// The receipt, if the request was paid and the server confirmed it. It has been checked
    /// against the client's own accounts.
    #[must_use]
    pub const fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`ClientError::Transport`] when the connection breaks. What the receipt says was charged
    /// stays charged.
    ///
    /// # Cancel safety
    /// Dropped, the body is lost.
    pub async fn bytes(self) -> Result<Bytes, ClientError> {
        match self.content {
            Content::Live(response) => response.bytes().await.map_err(broken),
            Content::Begun(_, body, Rest::Nothing) => Ok(body),
            content => {
                let pieces: Vec<_> = pieces(content).try_collect().await?;
                Ok(pieces.concat().into())
            }
        }
    }

    /// The whole body as text; what is not UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    /// As [`PaidResponse::bytes`].
    ///
    /// # Cancel safety
    /// As [`PaidResponse::bytes`].
    pub async fn text(self) -> Result<String, ClientError> {
        let body = self.bytes().await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The whole body as JSON.
    ///
    /// # Errors
    /// As [`PaidResponse::bytes`], also when the body is not JSON of this shape.
    ///
    /// # Cancel safety
    /// As [`PaidResponse::bytes`].
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let body = self.bytes().await?;
        serde_json::from_slice(&body).map_err(|error| {
            ClientError::Transport(TransportError::caused("the body is not as expected", error))
        })
    }

    /// The body in pieces, as it comes.
    pub fn bytes_stream(self) -> impl Stream<Item = Result<Bytes, ClientError>> + Send {
        pieces(self.content)
    }

    /// The answer as reqwest gives it, without payment.
    #[must_use]
    pub fn into_inner(self) -> Response {
        let (status, headers) = (self.status(), self.headers().clone());
        let body = match self.content {
            Content::Live(response) => return response,
            Content::Begun(_, body, Rest::Nothing) => Body::from(body),
            content => Body::wrap_stream(pieces(content)),
        };
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Response::from(response)
    }

    /// The parts that a paid stream goes on with: what is to be read, and how it was paid.
    pub(super) fn into_parts(
        self,
    ) -> (
        impl Stream<Item = Result<Bytes, ClientError>> + Send + use<>,
        Option<Receipt>,
        Option<Payment>,
    ) {
        (pieces(self.content), self.receipt, self.payment)
    }

    const fn head(&self) -> &Response {
        match &self.content {
            Content::Live(response) | Content::Begun(response, ..) => response,
        }
    }
}

impl fmt::Debug for PaidResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaidResponse")
            .field("status", &self.status())
            .field("receipt", &self.receipt)
            .finish_non_exhaustive()
    }
}

/// The body as it comes, after what was read of it.
fn pieces(content: Content) -> impl Stream<Item = Result<Bytes, ClientError>> + Send {
    let (begun, unread) = match content {
        Content::Live(response) => (Vec::new(), Some(response)),
        Content::Begun(response, body, Rest::Unread) => (vec![Ok(body)], Some(response)),
        Content::Begun(_, body, Rest::Nothing) => (vec![Ok(body)], None),
        Content::Begun(_, body, Rest::Broken(error)) => (vec![Ok(body), Err(broken(error))], None),
    };
    let unread = unread.map(|response| response.bytes_stream().map_err(broken));
    stream::iter(begun).chain(stream::iter(unread).flatten())
}

/// A connection that broke while a body was read.
fn broken(error: reqwest::Error) -> ClientError {
    let cause = error.without_url();
    ClientError::Transport(TransportError::caused("the body broke off", cause))
}
