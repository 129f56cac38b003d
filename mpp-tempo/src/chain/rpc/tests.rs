//! Reading and sending against scripted nodes.

use core::time::Duration;
use std::string::{String, ToString};
use std::sync::{Arc, Mutex};

use alloc::vec::Vec;
use alloy_primitives::keccak256;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::channel::Existence;

mod cosigning;
mod reading;
mod sending;
mod sending_for;
mod simulating;

/// Longer than an answer takes that does come.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what never comes.
const SOON: Duration = Duration::from_secs(1);

/// What a scripted node does with a request.
enum Reply {
    /// Answers with a result.
    Result(Value),
    /// Answers with a JSON-RPC error.
    Error(i64, &'static str),
    /// Answers with an HTTP status and no JSON.
    Status(u16),
    /// Takes the request and closes the connection.
    HangUp,
    /// Takes the request and never answers.
    Silence,
}

/// A node whose answers are a function of the method and of how often it was called before.
struct Node {
    url: String,
    methods: Arc<Mutex<Vec<String>>>,
}

impl Node {
    async fn start(script: impl Fn(&Value, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = alloc::format!("http://{}/?key=SECRET", listener.local_addr().unwrap());
        let methods = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&methods);
        let script = Arc::new(script);
        #[expect(
            clippy::disallowed_methods,
            reason = "the runtime of the test ends the task"
        )]
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                #[expect(clippy::disallowed_methods, reason = "as above")]
                tokio::spawn(serve(socket, seen, script));
            }
        });
        Self { url, methods }
    }

    /// A chain client of this node that waits for answers that do come.
    fn chain(&self) -> RpcChain {
        self.chain_within(PATIENCE, PATIENCE)
    }

    /// A chain client of this node that soon gives up.
    fn hasty(&self) -> RpcChain {
        self.chain_within(SOON, SOON)
    }

    fn chain_within(&self, answer: Duration, resolve: Duration) -> RpcChain {
        let timeouts = RpcTimeouts {
            request: answer,
            send: answer,
            resolve,
            poll: Duration::from_millis(20),
        };
        let url = Url::parse(&self.url).unwrap();
        let provider = ProviderBuilder::<_, _, TempoNetwork>::default().connect_http(url);
        RpcChain::new(provider, 42431).with_timeouts(timeouts)
    }

    fn calls(&self, method: &str) -> usize {
        self.methods
            .lock()
            .unwrap()
            .iter()
            .filter(|seen| *seen == method)
            .count()
    }
}

async fn serve(
    mut socket: TcpStream,
    seen: Arc<Mutex<Vec<String>>>,
    script: Arc<impl Fn(&Value, usize) -> Reply>,
) {
    while let Some(request) = read_request(&mut socket).await {
        let method = String::from(request["method"].as_str().unwrap());
        let before = {
            let mut seen = seen.lock().unwrap();
            let before = seen.iter().filter(|earlier| **earlier == method).count();
            seen.push(method);
            before
        };
        let id = &request["id"];
        let (status, body) = match script(&request, before) {
            Reply::Result(result) => (200, json!({"jsonrpc": "2.0", "id": id, "result": result})),
            Reply::Error(code, message) => {
                let error = json!({"code": code, "message": message});
                (200, json!({"jsonrpc": "2.0", "id": id, "error": error}))
            }
            Reply::Status(status) => (status, json!("no node here")),
            Reply::HangUp => return,
            Reply::Silence => std::future::pending().await,
        };
        let body = body.to_string();
        let head = alloc::format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(body.as_bytes()).await.unwrap();
    }
}

/// Reads one HTTP request and returns its JSON body.
async fn read_request(socket: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = socket
            .read(&mut chunk)
            .await
            .ok()
            .filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.trim().parse().ok())?;
        let body = &bytes[end..][4..];
        if body.len() >= length {
            return serde_json::from_slice(&body[..length]).ok();
        }
    }
}

fn raw() -> Bytes {
    Bytes::from_static(&[0x76, 1, 2, 3])
}

fn hash() -> B256 {
    keccak256(raw())
}

/// A receipt as anvil writes it: the sender as fee payer, a numeric time, members left out.
fn mined() -> Value {
    json!({
        "transactionHash": hash(),
        "status": "0x1",
        "blockNumber": "0x10",
        "blockTimestamp": 1_795_172_518,
        "gasUsed": "0x5208",
        "from": "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "logs": [{
            "address": "0x4d50500000000000000000000000000000000000",
            "topics": [hash()],
            "data": "0x",
            "logIndex": "0x0"
        }]
    })
}
