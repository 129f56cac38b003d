//! Sockets whose frames pass through the hands of a test.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    RequestExt as _, Router,
    extract::{
        Request, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::Response,
};
use futures_util::{SinkExt as _, StreamExt as _};
use mpp_http::ws::Frame;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite;
use tower::ServiceExt as _;

use crate::{pair::Pair, shop::Socket};

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives after this time, and so does everything behind it.
    After(Duration),
    /// It is lost.
    Never,
}

/// Sells what `app` sells, and lets `judge` say what becomes of each frame in either direction.
pub(super) async fn serve_through<J>(pair: &Pair, app: Router, judge: J) -> Socket
where
    J: Fn(&Frame) -> Fate + Send + Sync + 'static,
{
    let shop = Socket::open().await;
    shop.serve(app.clone());
    let host = shop.url.trim_start_matches("http://").to_owned();
    let judge = Arc::new(judge);
    pair.socket.serve(Router::new().fallback(move |request| {
        let (app, host, judge) = (app.clone(), host.clone(), Arc::clone(&judge));
        async move { pass(request, app, host, judge).await }
    }));
    shop
}

async fn pass<J>(mut request: Request, app: Router, host: String, judge: Arc<J>) -> Response
where
    J: Fn(&Frame) -> Fate + Send + Sync + 'static,
{
    let path = request.uri().path().to_owned();
    match request.extract_parts::<WebSocketUpgrade>().await {
        Ok(upgrade) => upgrade.on_upgrade(move |client| async move {
            let stream = TcpStream::connect(&host).await.unwrap();
            let url = format!("ws://{host}{path}");
            let (server, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
            relay(client, server, judge).await;
        }),
        Err(_) => app.oneshot(request).await.unwrap(),
    }
}

/// Passes frames on until either side is gone.
async fn relay<J>(
    client: WebSocket,
    server: tokio_tungstenite::WebSocketStream<TcpStream>,
    judge: Arc<J>,
) where
    J: Fn(&Frame) -> Fate,
{
    let ((mut to_client, mut of_client), (mut to_server, mut of_server)) =
        (client.split(), server.split());
    let there = async {
        while let Some(Ok(message)) = of_client.next().await {
            if let Message::Text(text) = message
                && arrives(text.as_str(), &*judge).await
            {
                let message = tungstenite::Message::Text(text.as_str().into());
                drop(to_server.send(message).await);
            }
        }
    };
    let back = async {
        while let Some(Ok(message)) = of_server.next().await {
            if let tungstenite::Message::Text(text) = message
                && arrives(text.as_str(), &*judge).await
            {
                drop(to_client.send(Message::Text(text.as_str().into())).await);
            }
        }
    };
    first_of(there, back).await;
}

async fn first_of(there: impl Future<Output = ()>, back: impl Future<Output = ()>) {
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

async fn arrives(text: &str, judge: &impl Fn(&Frame) -> Fate) -> bool {
    match judge(&Frame::from_json(text.as_bytes()).unwrap()) {
        Fate::After(time) => {
            tokio::time::sleep(time).await;
            true
        }
        Fate::Never => false,
    }
}
