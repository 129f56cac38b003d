//! The handshake of a WebSocket, by the same HTTP client as every other request.

use http::{HeaderValue, Method, StatusCode, header};
use mpp_client::exchange::SendError;
use mpp_client::{ClientError, TransportError};
use reqwest::{Request, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use url::Url;

use crate::client::wire::Resource;
use crate::ws::MAX_CONTENT;

/// What is written before it must be sent, in bytes.
const MAX_UNSENT: usize = 256 * 1024;

/// A socket.
pub(super) type Socket = WebSocketStream<Upgraded>;

/// The URL by which a socket's challenge is asked for and its handshake made.
pub(in crate::client) fn http(mut url: Url) -> Result<Url, ClientError> {
    let scheme = match url.scheme() {
        "ws" => "http",
        "wss" => "https",
        _ => return Ok(url),
    };
    url.set_scheme(scheme)
        .map_err(|()| ClientError::Misuse("the URL can not be read"))?;
    Ok(url)
}

/// Opens a socket (RFC 6455, 4.1). Redirects are not followed.
pub(super) async fn open(resource: &Resource) -> Result<Socket, SendError> {
    let key = generate_key();
    let mut request = Request::new(Method::GET, resource.url.clone());
    let headers = request.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        header::SEC_WEBSOCKET_VERSION,
        HeaderValue::from_static("13"),
    );
    let value = HeaderValue::from_str(&key)
        .map_err(|_| SendError::Unsendable(ClientError::Payment("no key")))?;
    headers.insert(header::SEC_WEBSOCKET_KEY, value);
    let response = resource.transport.send(request).await.map_err(unopened)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(SendError::Unsendable(ClientError::Status {
            status: response.status().as_u16(),
        }));
    }
    let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    let expected = derive_accept_key(key.as_bytes());
    if accepted.is_none_or(|accepted| accepted.as_bytes() != expected.as_bytes()) {
        let what = ClientError::Protocol("its handshake does not fit");
        return Err(SendError::Unsendable(what));
    }
    let upgraded = response.upgrade().await.map_err(|error| {
        let cause = error.without_url();
        SendError::NotSent(TransportError::caused("the socket was not opened", cause))
    })?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_CONTENT))
        .max_frame_size(Some(MAX_CONTENT))
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_UNSENT);
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
}

/// The handshake carries nothing that pays.
fn unopened(error: SendError) -> SendError {
    match error {
        SendError::MayHaveArrived(error) => SendError::NotSent(error),
        error => error,
    }
}
