//! The HTTP side of the node.

use super::dispatch::{answer, envelope};
use super::error::RpcError;
use crate::devnet::Devnet;
use crate::faults::Outage;
use crate::tasks;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use core::time::Duration;
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often a hanging request looks whether the outage is over.
const OUTAGE_TICK: Duration = Duration::from_millis(10);

/// A listening node. Dropping it stops the listener; the chain lives on in its [`Devnet`].
#[derive(Debug)]
pub struct DevnetServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<io::Result<()>>,
}

impl DevnetServer {
    /// `http://` URL of the JSON-RPC endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bound address, with the port the system chose.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and waits for open requests.
    ///
    /// # Errors
    /// When the listener had failed.
    ///
    /// # Cancel safety
    /// Dropping the future stops the listener as well, without waiting for open requests.
    pub async fn shutdown(self) -> io::Result<()> {
        self.stop.send_replace(true);
        self.task.await.map_err(io::Error::other)?
    }
}

impl Devnet {
    /// Serves JSON-RPC over HTTP on `address`; port zero lets the system choose. Single and batch requests, any path.
    ///
    /// # Errors
    /// When the address can not be bound.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing listens.
    pub async fn serve(&self, address: SocketAddr) -> io::Result<DevnetServer> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let app = Router::new()
            .route("/", post(handle).options(preflight))
            .fallback(post(handle).options(preflight))
            .with_state(self.clone());
        let (stop, mut stopped) = watch::channel(false);
        let serving = async move {
            let until = async move {
                // An error means that the server handle was dropped, which stops as well.
                drop(stopped.wait_for(|stop| *stop).await);
            };
            axum::serve(listener, app)
                .with_graceful_shutdown(until)
                .await
        };
        Ok(DevnetServer {
            address,
            stop,
            task: tasks::spawn(serving),
        })
    }
}

async fn preflight() -> impl IntoResponse {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
    ];
    (StatusCode::NO_CONTENT, headers)
}

async fn handle(State(devnet): State<Devnet>, body: Bytes) -> Response {
    while devnet.faults().outage() == Outage::Hanging {
        tokio::time::sleep(OUTAGE_TICK).await;
    }
    if devnet.faults().outage() == Outage::Refusing {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let reply = match serde_json::from_slice::<Value>(&body) {
        Err(_) => Some(envelope(Value::Null, Err(RpcError::parse()))),
        Ok(Value::Array(batch)) if batch.is_empty() => {
            Some(envelope(Value::Null, Err(RpcError::invalid_request())))
        }
        Ok(Value::Array(batch)) => answer_batch(&devnet, batch).await,
        Ok(single) => answer(&devnet, single).await,
    };
    match reply {
        Some(value) => json_response(&value),
        // A lost answer looks to the caller like a gateway that gave up.
        None => StatusCode::GATEWAY_TIMEOUT.into_response(),
    }
}

async fn answer_batch(devnet: &Devnet, batch: Vec<Value>) -> Option<Value> {
    let mut replies = Vec::with_capacity(batch.len());
    for request in batch {
        replies.push(answer(devnet, request).await?);
    }
    Some(Value::Array(replies))
}

fn json_response(value: &Value) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    (headers, value.to_string()).into_response()
}
