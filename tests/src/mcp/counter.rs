//! A counter behind which operations are sold, without rmcp.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use mpp_client::{ChannelBook, Origin, Policy, exchange::SendError};
use mpp_core::{Amount, Challenge, Credential, Receipt, SessionReceipt};
use mpp_mcp::{
    RpcError,
    client::{PayingClient, Reply, Transport},
    meta::{self, Members},
    native,
    server::{Catalog, Request},
};
use mpp_tempo::{SessionProtocol, wire::SessionPayload};
use serde_json::{Map, Value, json};

use crate::{
    pair::{PRICE, Pair},
    wallet::Wallet,
};

/// Sells `eth_paid`, the tools `add`, `other`, `broken`, `failing`, `metered`
/// and `forging`, everything under `data://`, and the prompt `ask`.
#[derive(Clone)]
pub(crate) struct Counter {
    pub(crate) catalog: Catalog,
    runs: Arc<AtomicU32>,
}

impl Counter {
    pub(crate) fn of(pair: &Pair, protocol: SessionProtocol) -> Self {
        Self {
            catalog: catalog(pair, protocol),
            runs: Arc::default(),
        }
    }

    /// How often a handler has run.
    pub(crate) fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    /// Answers a message as it would be after a way over a wire.
    pub(crate) async fn ask(&self, message: Value) -> Option<Value> {
        let message = serde_json::from_str(&message.to_string()).unwrap();
        self.catalog
            .serve(message, None, |request| self.run(request))
            .await
    }

    /// Answers a request.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let message = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let answer = self.ask(message).await.unwrap();
        assert_eq!(answer["id"], 7);
        answer
    }

    async fn run(&self, request: Request) -> Result<Value, RpcError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let params = request.params.unwrap_or_default();
        assert!(!params.to_string().contains("org.paymentauth"), "{params}");
        let name = params.get("name").and_then(Value::as_str);
        match (request.method.as_str(), name) {
            ("tools/call", Some("broken")) => Err(RpcError::new(-32_000, "no luck")),
            ("tools/call", Some("failing")) => {
                Ok(json!({"content": [], "isError": true, "_meta": forged()}))
            }
            ("tools/call", Some("waiting")) => {
                Ok(json!({"resultType": "input_required", "requestState": "x"}))
            }
            ("tools/call", Some("forging")) => Ok(json!({"content": [], "_meta": forged()})),
            ("tools/call", Some("metered")) => {
                let paid = request.paid.unwrap();
                let failed = |_| RpcError::new(-32_000, "the handler's own words");
                let reserved = paid.reserve(Amount::new(3 * PRICE)).await.map_err(failed)?;
                reserved.capture(Amount::new(2 * PRICE), 2).unwrap();
                Ok(json!({"content": []}))
            }
            ("tools/call", Some(_)) => Ok(json!({"content": [{"type": "text", "text": "5"}]})),
            ("resources/read", _) => Ok(json!({"contents": []})),
            ("prompts/get", _) => Ok(json!({"messages": []})),
            ("eth_paid" | "eth_free", _) => Ok(json!("0x10")),
            _ => Err(RpcError::method_not_found()),
        }
    }

    /// The challenge of an operation with one offer.
    pub(crate) async fn challenge(&self, method: &str, params: Value) -> Challenge {
        let answer = self.call(method, params).await;
        assert_eq!(answer["error"]["code"], -32_042, "{answer}");
        let challenges = answer["error"]["data"]["challenges"].as_array().unwrap();
        assert_eq!(challenges.len(), 1);
        native::read_challenge(challenges[0].clone()).unwrap()
    }

    /// A client that pays this counter.
    pub(crate) fn client(&self, pair: &Pair) -> PayingClient<Self> {
        let policy = Policy::new(Amount::new(1_000_000));
        self.client_with(pair, policy, Arc::clone(&pair.book) as _)
    }

    pub(crate) fn client_with(
        &self,
        pair: &Pair,
        policy: Policy,
        book: Arc<dyn ChannelBook>,
    ) -> PayingClient<Self> {
        let payer = pair.payer_with(policy, book);
        PayingClient::new(payer, Origin::process("counter").unwrap(), self.clone())
    }
}

impl Transport for Counter {
    async fn call(
        &self,
        method: &str,
        params: Option<Value>,
        meta: Members,
    ) -> Result<Reply, SendError> {
        let mut message = json!({"jsonrpc": "2.0", "id": 1, "method": method});
        if let Some(params) = params {
            message["params"] = params;
        }
        if !meta.is_empty() {
            message["_meta"] = Value::Object(meta);
        }
        Reply::read(self.ask(message).await.unwrap())
    }
}

fn catalog(pair: &Pair, protocol: SessionProtocol) -> Catalog {
    let offer = || [pair.offer(protocol).build().unwrap()];
    let mut catalog = Catalog::new(pair.server.clone())
        .method("eth_paid", offer())
        .unwrap()
        .resources_under("data://", offer())
        .unwrap()
        .prompt("ask", offer())
        .unwrap();
    for name in [
        "add", "other", "broken", "failing", "waiting", "metered", "forging",
    ] {
        catalog = catalog.tool(name, offer()).unwrap();
    }
    catalog
}

/// A receipt that nobody has earned.
fn forged() -> Value {
    json!({meta::RECEIPT: {"status": "success"}, "example.org/kept": 1})
}

/// Parameters of a call of a tool, with this credential.
pub(crate) fn tool(name: &str, credential: Option<Value>) -> Value {
    let mut params = json!({"name": name, "arguments": {"a": 2, "b": 3.5}});
    if let Some(credential) = credential {
        params["_meta"] = json!({meta::CREDENTIAL: credential});
    }
    params
}

/// A credential as an object.
pub(crate) fn credential(challenge: &Challenge, payload: &SessionPayload) -> Value {
    native::credential(&Credential::new(challenge.clone(), payload.to_value())).unwrap()
}

/// Opens a channel and pays with it for one call of a tool.
pub(crate) async fn open(counter: &Counter, wallet: &Wallet, name: &str) -> (Paying, Value) {
    let challenge = counter.challenge("tools/call", tool(name, None)).await;
    let (terms, payload) = wallet.opening(&challenge, PRICE).await;
    let params = tool(name, Some(credential(&challenge, &payload)));
    let answer = counter.call("tools/call", params).await;
    (Paying { challenge, terms }, answer)
}

/// An open channel and the challenge it was opened under.
pub(crate) struct Paying {
    pub(crate) challenge: Challenge,
    pub(crate) terms: mpp_tempo::ChannelTerms,
}

impl Paying {
    /// A voucher for so many calls in all.
    pub(crate) async fn voucher(&self, wallet: &Wallet, calls: u128) -> Value {
        let payload = wallet.pay(&self.terms, calls * PRICE).await;
        credential(&self.challenge, &payload)
    }
}

#[track_caller]
pub(crate) fn receipt(meta: &Value) -> SessionReceipt {
    let text = meta[meta::RECEIPT].to_string();
    match Receipt::from_json(text.as_bytes()).unwrap() {
        Receipt::Session(receipt) => receipt,
        Receipt::Charge(_) => panic!("a charge receipt"),
    }
}

/// The members of an object; none of anything else.
pub(crate) fn members(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
