//! JSON-RPC messages to a server that sells, and answers to a client.

use std::cell::Cell;
use std::time::Duration;

use mpp_core::encoding::json;
use mpp_core::{Realm, SecretKey, Timestamp};
use mpp_devnet::{Devnet, DevnetConfig};
use mpp_mcp::client::Reply;
use mpp_mcp::server::Catalog;
use mpp_mcp::{Capability, Operation, meta, native};
use mpp_server::PaymentServer;
use mpp_server::clock::ManualClock;
use mpp_tempo::LocalSigner;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Stands in inputs for a challenge of the server, which no fuzzer can make.
const CHALLENGE: &str = "$challenge";

/// Checks a message to the server, which may name [`CHALLENGE`], and the same
/// bytes as an answer to a client.
pub fn check(data: &[u8]) {
    let Ok(message) = json::parse(data) else {
        return;
    };
    answer(message.clone());
    if let Some(capability) = Capability::read(&message) {
        let read = Capability::read(&Value::Object(capability.members()));
        assert_eq!(read, Some(capability));
    }
    SHOP.with(|shop| shop.serve(message));
}

/// What can be read as an answer has a result or an error, and not both.
fn answer(message: Value) {
    let both = (
        message.get("result").is_some(),
        message.get("error").is_some(),
    );
    let Ok(reply) = Reply::read(message.clone()) else {
        return;
    };
    match &reply.result {
        Ok(result) => assert!(both.0 && result == &message["result"]),
        Err(error) => {
            assert!(both.1);
            let written = serde_json::to_value(error).unwrap();
            let again = Reply::read(json!({"error": written})).unwrap();
            assert_eq!(again.result.as_ref(), Err(error));
        }
    }
}

struct Shop {
    runtime: Runtime,
    catalog: Catalog,
}

thread_local! {
    static SHOP: Shop = Shop::open();
}

impl Shop {
    fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let node = Devnet::new(DevnetConfig::default());
        let account = LocalSigner::from_hex(&node.accounts()[0].private_key).unwrap();
        let catalog = runtime.block_on(async {
            let server = PaymentServer::builder()
                .realm(Realm::new("shop.example").unwrap())
                .secret_key(secret())
                .testnet()
                .chain(node)
                .account(account)
                .clock(ManualClock::new(Timestamp::from_secs(1_800_000_000)))
                // Nothing is to happen but what messages ask for.
                .watch_every(Duration::from_secs(1_000_000_000))
                .build()
                .unwrap();
            let session = server.session().amount("0.001").build().unwrap();
            let charge = server.charge().amount("0.01").build().unwrap();
            Catalog::new(server)
                .tool("paid", [session.clone(), charge.clone()])
                .and_then(|catalog| catalog.resources_under("file:///paid/", [charge.clone()]))
                .and_then(|catalog| catalog.prompt("paid", [charge]))
                .and_then(|catalog| catalog.method("paid", [session]))
                .unwrap()
        });
        Self { runtime, catalog }
    }

    fn serve(&self, mut message: Value) {
        self.runtime.block_on(async {
            if mentions(&message) {
                let challenge = self.challenge().await;
                replace(&mut message, &challenge);
            }
            self.answer(message).await;
        });
    }

    async fn challenge(&self) -> Value {
        let asking = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "paid"},
        });
        let answer = self.catalog.serve(asking, None, nothing).await.unwrap();
        answer["error"]["data"]["challenges"][0].clone()
    }

    async fn answer(&self, message: Value) {
        let ran = Cell::new(0_usize);
        let handler = |request: mpp_mcp::server::Request| {
            ran.set(ran.get() + 1);
            let operation = Operation::of(&request.method, request.params.as_ref());
            let sold = self.catalog.sells(&operation);
            // Nobody has signed a voucher or a transfer, so nothing is paid.
            assert!(!sold && request.paid.is_none(), "{operation:?} for nothing");
            async { Ok(Value::Null) }
        };
        let asked = message.as_array().map_or(1, Vec::len);
        let answer = self.catalog.serve(message.clone(), None, handler).await;
        assert!(ran.get() <= asked);
        match (&message, answer) {
            (Value::Array(_), Some(Value::Array(answers))) => {
                assert!(answers.len() <= asked);
                answers.iter().for_each(one);
            }
            (_, Some(answer)) => {
                one(&answer);
                let asked = message
                    .get("id")
                    .filter(|id| id.is_string() || id.is_number());
                let told = answer.get("id").unwrap();
                assert!(told.is_null() || asked == Some(told));
            }
            (_, None) => assert!(message.get("id").is_none() || message.is_array()),
        }
    }
}

fn secret() -> SecretKey {
    let bytes: [u8; 32] = std::array::from_fn(|place| place as u8 ^ 0x5a);
    SecretKey::from_bytes(&bytes).unwrap()
}

/// An answer is one that a client reads, and its challenges are ours.
fn one(answer: &Value) {
    assert_eq!(answer["jsonrpc"], "2.0");
    assert!(Reply::read(answer.clone()).is_ok(), "{answer}");
    assert!(meta::of(answer).is_none_or(|meta| !meta.contains_key(meta::RECEIPT)));
    let Some(challenges) = answer["error"]["data"]["challenges"].as_array() else {
        return;
    };
    for challenge in challenges {
        assert!(native::read_challenge(challenge.clone()).is_ok());
    }
}

async fn nothing(_: mpp_mcp::server::Request) -> Result<Value, mpp_mcp::RpcError> {
    Ok(Value::Null)
}

fn mentions(value: &Value) -> bool {
    match value {
        Value::String(text) => text == CHALLENGE,
        Value::Array(items) => items.iter().any(mentions),
        Value::Object(members) => members.values().any(mentions),
        _ => false,
    }
}

fn replace(value: &mut Value, challenge: &Value) {
    match value {
        Value::String(text) if text == CHALLENGE => *value = challenge.clone(),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, challenge)),
        Value::Object(members) => members
            .values_mut()
            .for_each(|item| replace(item, challenge)),
        _ => {}
    }
}
