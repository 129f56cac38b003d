//! Tools that are paid by charges, over messages and over rmcp.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use mpp_client::{IntentPolicy, Origin, Payer, Policy, exchange::SendError};
use mpp_core::{Amount, ChargeReceipt, Receipt};
use mpp_mcp::{
    RpcError,
    client::{CallOptions, PayingClient, Reply, Transport},
    meta::{self, Members},
    rmcp::{PaidServer, PayingPeer},
    server::Catalog,
};
use rmcp::{
    ServiceExt as _,
    model::{CallToolRequestParams, ClientConfig},
};
use serde_json::{Value, json};

use super::tools::Tools;
use crate::pair::{BOTH, Pair};

/// Price of a call, in base units.
const PRICE: u128 = 10_000;

/// Sells `add` for a charge, and `broken`, whose handler fails.
fn catalog(pair: &Pair) -> Catalog {
    let charge = || [pair.server.charge().amount("0.01").build().unwrap()];
    Catalog::new(pair.server.clone())
        .tool("add", charge())
        .unwrap()
        .tool("broken", charge())
        .unwrap()
}

/// Keeps what was sent.
#[derive(Clone)]
struct Stall {
    catalog: Catalog,
    sent: Arc<Mutex<Vec<Value>>>,
    runs: Arc<AtomicU32>,
}

impl Stall {
    fn of(pair: &Pair) -> Self {
        Self {
            catalog: catalog(pair),
            sent: Arc::default(),
            runs: Arc::default(),
        }
    }

    async fn ask(&self, message: Value) -> Value {
        let answer = self.catalog.serve(message, None, |request| async move {
            self.runs.fetch_add(1, Ordering::SeqCst);
            match request.params.unwrap_or_default()["name"].as_str() {
                Some("broken") => Err(RpcError::new(-32_000, "no luck")),
                _ => Ok(json!({"content": []})),
            }
        });
        answer.await.unwrap()
    }

    fn client(&self, pair: &Pair) -> PayingClient<Self> {
        let origin = Origin::process("stall").unwrap();
        PayingClient::new(payer(pair), origin, self.clone())
    }
}

impl Transport for Stall {
    async fn call(
        &self,
        method: &str,
        params: Option<Value>,
        _: Members,
    ) -> Result<Reply, SendError> {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.sent.lock().unwrap().push(message.clone());
        Reply::read(self.ask(message).await)
    }
}

fn payer(pair: &Pair) -> Payer {
    let policy = Policy::new(Amount::new(1_000_000)).intents(IntentPolicy::ChargeOnly);
    pair.payer_with(policy, Arc::clone(&pair.book) as _)
}

#[track_caller]
fn charge(receipt: Option<Receipt>) -> ChargeReceipt {
    match receipt {
        Some(Receipt::Charge(receipt)) => receipt,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_is_paid_by_a_charge_of_its_own() {
    let pair = Pair::new().await;
    let stall = Stall::of(&pair);
    let client = stall.client(&pair);
    let before = pair.balance(pair.payee());
    for calls in 1..=2 {
        let params = json!({"name": "add"});
        let reply = client.call("tools/call", Some(params)).await.unwrap();
        let receipt = charge(reply.receipt);
        assert!(receipt.challenge_id.is_some());
        let tx_hash = receipt.reference.parse().unwrap();
        assert!(pair.chain.receipt(tx_hash).unwrap().success);
        assert_eq!(pair.balance(pair.payee()) - before, calls * PRICE);
    }
    assert_eq!(stall.runs.load(Ordering::SeqCst), 2);
}

// Replay Protection: previously used challenge ids MUST be rejected.
#[tokio::test]
async fn a_charge_that_was_used_buys_nothing_more() {
    let pair = Pair::new().await;
    let stall = Stall::of(&pair);
    let client = stall.client(&pair);
    let params = json!({"name": "add", "arguments": {}});
    client.call("tools/call", Some(params)).await.unwrap();
    let paid = stall.sent.lock().unwrap().last().cloned().unwrap();
    assert!(paid["params"]["_meta"][meta::CREDENTIAL].is_object());
    let before = pair.balance(pair.payee());
    let replayed = stall.ask(paid).await;
    assert_eq!(replayed["error"]["code"], -32_043, "{replayed}");
    let data = &replayed["error"]["data"];
    assert!(data["challenges"][0]["id"].is_string(), "{data}");
    assert!(data["failure"]["reason"].is_string(), "{data}");
    assert_eq!(pair.balance(pair.payee()), before);
    assert_eq!(stall.runs.load(Ordering::SeqCst), 1);
}

// Its answer was lost, and it is sent again, stamped with another token: it was paid for.
#[tokio::test]
async fn a_charge_that_is_sent_again_under_its_key_is_answered_again() {
    let pair = Pair::new().await;
    let stall = Stall::of(&pair);
    let client = stall.client(&pair);
    let params = json!({"name": "add", "arguments": {}, "_meta": {"progressToken": 1}});
    let options = CallOptions::default().idempotency_key("order 7");
    let call = client.call_with("tools/call", Some(params), &options);
    let reply = call.await.unwrap();
    let mut paid = stall.sent.lock().unwrap().last().cloned().unwrap();
    assert_eq!(paid["params"]["_meta"]["progressToken"], 1, "{paid}");
    paid["params"]["_meta"]["progressToken"] = json!(2);
    let before = pair.balance(pair.payee());
    let again = stall.ask(paid).await;
    let answered = &again["result"]["_meta"];
    assert_eq!(answered[meta::REPLAYED], true, "{again}");
    let reference = charge(reply.receipt).reference;
    assert_eq!(answered[meta::RECEIPT]["reference"], reference);
    assert_eq!(pair.balance(pair.payee()), before);
    assert_eq!(stall.runs.load(Ordering::SeqCst), 1);
}

// SECURITY-CASES A3.
#[tokio::test]
async fn a_charge_for_one_tool_opens_no_other() {
    let pair = Pair::new().await;
    let stall = Stall::of(&pair);
    let client = stall.client(&pair);
    let broken = json!({"name": "broken"});
    let reply = client.call("tools/call", Some(broken)).await.unwrap();
    assert_eq!(
        (reply.result.unwrap_err().code, reply.receipt),
        (-32_000, None)
    );
    let mut paid = stall.sent.lock().unwrap().last().cloned().unwrap();
    paid["params"]["name"] = json!("add");
    let refused = stall.ask(paid).await;
    assert_eq!(refused["error"]["code"], -32_043, "{refused}");
    assert_eq!(stall.runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn rmcp_pays_by_charges_too() {
    let pair = Pair::new().await;
    let offers = || {
        let session = pair.offer(BOTH[1]).build().unwrap();
        let charge = pair.server.charge().amount("0.01").build().unwrap();
        [session, charge]
    };
    let catalog = Catalog::new(pair.server.clone())
        .tool("add", offers())
        .unwrap();
    let (ours, theirs) = tokio::io::duplex(1024 * 1024);
    let tools = Tools::default();
    let server = PaidServer::new(catalog, tools.clone());
    let config = ClientConfig::default();
    let (server, client) = tokio::join!(server.serve(ours), config.serve(theirs));
    let (_server, client) = (server.unwrap(), client.unwrap());
    let origin = Origin::process("tools").unwrap();
    let peer = PayingPeer::new(client.peer().clone(), payer(&pair), origin);
    let before = pair.balance(pair.payee());
    let bought = peer
        .call_tool(CallToolRequestParams::new("add"))
        .await
        .unwrap();
    charge(bought.receipt);
    assert_eq!(pair.balance(pair.payee()) - before, PRICE);
    assert_eq!(tools.runs(), 1);
    assert_eq!(peer.channel_id(), None);
}
