//! Paid WebSockets, from a server that says what a test wants.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use mpp_core::header::{challenge, credential};
use mpp_core::{ChallengeId, MethodName, SessionReceipt, Timestamp};
use mpp_http::client::WsStream;
use mpp_http::ws::Frame;
use mpp_tempo::ChannelId;
use mpp_tempo::wire::{NeedVoucher, SessionPayload};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::shop::{PRICE, Shop, policy, units};

type Peer = WebSocketStream<TcpStream>;

async fn say(peer: &mut Peer, frame: &Frame) {
    peer.send(Message::Text(frame.to_json().into()))
        .await
        .unwrap();
}

/// Waits for a credential, and returns its channel.
async fn hear(peer: &mut Peer) -> ChannelId {
    let Some(Ok(Message::Text(text))) = peer.next().await else {
        panic!("nothing is said");
    };
    let Ok(Frame::Authorization { authorization }) = Frame::from_json(text.as_bytes()) else {
        panic!("no credential: {text}");
    };
    let token = credential::find([authorization.as_str()]).unwrap();
    let credential = credential::parse(token.unwrap()).unwrap();
    let payload = SessionPayload::from_value(&credential.payload).unwrap();
    payload.channel_id()
}

fn receipt(channel: ChannelId) -> SessionReceipt {
    SessionReceipt::new(
        MethodName::tempo(),
        Timestamp::from_secs(1_800_000_000),
        ChallengeId::new("challenge-1").unwrap(),
        channel.to_string(),
        units(PRICE),
        units(PRICE),
    )
}

/// Delivers a text, asks for another voucher, and hangs up on it: the stream ends with what was paid
/// before.
async fn end_instead(mut peer: Peer) {
    let channel = hear(&mut peer).await;
    let data = receipt(channel);
    say(&mut peer, &Frame::Receipt { data: data.clone() }).await;
    let text = String::from("word");
    say(&mut peer, &Frame::Message { data: text }).await;
    let need = NeedVoucher {
        channel_id: channel,
        required_cumulative: units(2 * PRICE),
        accepted_cumulative: units(PRICE),
        deposit: units(10_000),
    };
    say(&mut peer, &Frame::NeedVoucher { data: need }).await;
    hear(&mut peer).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    say(&mut peer, &Frame::CloseReady { data }).await;
    // Nobody hears more of it.
    drop(peer);
}

/// A stream of a server that ends it while a voucher is on its way, and that server.
async fn stream(shop: &Shop) -> (WsStream, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let header = challenge::encode(&shop.challenge());
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut peers = JoinSet::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            if is_handshake(&socket).await {
                let peer = tokio_tungstenite::accept_async(socket).await.unwrap();
                peers.spawn(end_instead(peer));
                continue;
            }
            let answer = format!(
                "HTTP/1.1 402 Payment Required\r\nwww-authenticate: {header}\r\n\
                 content-length: 0\r\nconnection: close\r\n\r\n"
            );
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let session = shop.client_with(policy()).session(&url).unwrap();
    (session.ws("/").await.unwrap(), server)
}

/// Whether the request that comes is for a socket.
async fn is_handshake(socket: &TcpStream) -> bool {
    let mut head = [0; 4_096];
    loop {
        let length = socket.peek(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
        if head.contains("\r\n\r\n") {
            return head.contains("upgrade: websocket");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_stream_that_ends_while_a_voucher_is_on_its_way_ends_with_its_receipt() {
    let shop = Shop::open().await;
    let (mut stream, _server) = stream(&shop).await;
    assert_eq!(stream.next().await.unwrap().unwrap(), "word");
    let end = stream.next().await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(stream.receipt().unwrap().spent, units(PRICE));
}

#[tokio::test]
async fn a_stream_that_has_ended_already_is_finished() {
    let shop = Shop::open().await;
    let (mut stream, _server) = stream(&shop).await;
    assert_eq!(stream.next().await.unwrap().unwrap(), "word");
    // The voucher leaves, and nobody waits for what becomes of it.
    let waiting = tokio::time::timeout(Duration::from_millis(100), stream.next()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    stream.finish().await.unwrap();
    assert_eq!(stream.receipt().unwrap().spent, units(PRICE));
}
