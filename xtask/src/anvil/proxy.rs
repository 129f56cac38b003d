//! The JSON-RPC endpoint in front of the node.
//!
//! Everything passes as it is, but for calls of the channel reserve's `open`: what they need in
//! storage is written before a transaction goes on, and named as an override when a call is only
//! tried. And it fails on demand.

mod faults;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_primitives::{Address, B256, Bytes, keccak256};
use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, sync::RwLock, task::JoinHandle};

use self::faults::Fault;
pub(super) use self::faults::Faults;
use super::{
    Mining,
    opening::{self, Sent, Target, Word},
};
use crate::rpc::Rpc;

/// Between taking a transaction that is lost and saying so; real nodes take longer.
const SYNC_TIMEOUT: Duration = Duration::from_millis(200);

/// A listening proxy; it stops when dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) url: String,
    gate: Arc<Gate>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Gate {
    node: Rpc,
    mining: Mining,
    requests: AtomicU64,
    sent: AtomicU64,
    out: AtomicBool,
    faults: Faults,
    /// Held for writing while the node behaves in an odd way for one transaction only.
    sending: RwLock<()>,
}

impl Proxy {
    /// Listens on a free port.
    pub(super) async fn start(node: Rpc, mining: Mining) -> anyhow::Result<Self> {
        let gate = Arc::new(Gate {
            node,
            mining,
            requests: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            out: AtomicBool::new(false),
            faults: Faults::default(),
            sending: RwLock::new(()),
        });
        let app = Router::new().fallback(handle).with_state(Arc::clone(&gate));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        #[expect(
            clippy::disallowed_methods,
            reason = "the proxy owns and ends this task"
        )]
        let task = tokio::spawn(async move {
            drop(axum::serve(listener, app).await);
        });
        Ok(Self { url, gate, task })
    }

    pub(super) fn requests(&self) -> u64 {
        self.gate.requests.load(Ordering::SeqCst)
    }

    pub(super) fn sent(&self) -> u64 {
        self.gate.sent.load(Ordering::SeqCst)
    }

    pub(super) fn set_outage(&self, out: bool) {
        self.gate.out.store(out, Ordering::SeqCst);
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.gate.faults
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn handle(State(gate): State<Arc<Gate>>, Json(request): Json<Value>) -> Response {
    if gate.out.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let answered = match request {
        Value::Array(requests) => gate.answer_all(requests).await,
        request => gate.answer(request).await,
    };
    match answered {
        Ok(answer) => Json(answer).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

impl Gate {
    async fn answer_all(&self, requests: Vec<Value>) -> anyhow::Result<Value> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            answers.push(self.answer(request).await?);
        }
        Ok(Value::Array(answers))
    }

    async fn answer(&self, mut request: Value) -> anyhow::Result<Value> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        match request.get("method").and_then(Value::as_str) {
            Some("eth_sendRawTransaction" | "eth_sendRawTransactionSync") => {
                return self.send(&request).await;
            }
            Some("eth_call" | "eth_estimateGas") => override_call(&mut request),
            Some("eth_simulateV1") => override_simulation(&mut request),
            _ => {}
        }
        self.node.forward(&request).await
    }

    async fn send(&self, request: &Value) -> anyhow::Result<Value> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let raw: Option<Bytes> = read(request, "/params/0");
        let Some(sent) = raw.as_ref().and_then(|raw| Sent::read(raw)) else {
            return self.node.forward(request).await;
        };
        for word in sent.words() {
            self.write(&word).await?;
        }
        match self.faults.next(&sent.calls) {
            None => {
                let _ordinary = self.sending.read().await;
                self.node.forward(request).await
            }
            Some(Fault::Drop) => {
                let _alone = self.sending.write().await;
                self.lose(request, &raw.unwrap_or_default()).await
            }
            Some(Fault::Revert(contract)) => {
                let _alone = self.sending.write().await;
                self.revert(request, contract).await
            }
        }
    }

    async fn write(&self, word: &Word) -> anyhow::Result<()> {
        let params = json!([word.contract, word.slot, word.value]);
        self.node.call("anvil_setStorageAt", params).await?;
        Ok(())
    }

    /// The node takes the transaction and drops it before it can be mined.
    async fn lose(&self, request: &Value, raw: &Bytes) -> anyhow::Result<Value> {
        self.mine_at_once(false).await?;
        let taken = self
            .node
            .answer("eth_sendRawTransaction", json!([raw]))
            .await?;
        let hash: Option<B256> = read(&taken, "/result");
        if let Some(hash) = hash {
            let dropped = self.node.call("anvil_dropTransaction", json!([hash])).await;
            dropped.context("not dropped")?;
        }
        self.mine_at_once(true).await?;
        let (Some(hash), Some("eth_sendRawTransactionSync")) =
            (hash, request.get("method").and_then(Value::as_str))
        else {
            return Ok(taken);
        };
        tokio::time::sleep(SYNC_TIMEOUT).await;
        // EIP-7966: taken, but without a receipt in time.
        let error = json!({"code": 4, "message": "no receipt in time", "data": hash});
        let id = request.get("id").cloned().unwrap_or_default();
        Ok(json!({"jsonrpc": "2.0", "id": id, "error": error}))
    }

    /// Where blocks come by the clock there is time enough to drop something before the next.
    async fn mine_at_once(&self, at_once: bool) -> anyhow::Result<()> {
        if self.mining == Mining::Automatic {
            let automine = json!([at_once]);
            self.node.call("evm_setAutomine", automine).await?;
        }
        Ok(())
    }

    /// The contract reverts whatever it is asked, for the time of one transaction.
    async fn revert(&self, request: &Value, contract: Address) -> anyhow::Result<Value> {
        /// `PUSH0 PUSH0 REVERT`.
        const REVERTING: &str = "0x5f5ffd";
        let code = self
            .node
            .call("eth_getCode", json!([contract, "latest"]))
            .await?;
        let broken = json!([contract, REVERTING]);
        self.node.call("anvil_setCode", broken).await?;
        let answer = self.node.forward(request).await;
        let restored = json!([contract, code]);
        self.node.call("anvil_setCode", restored).await?;
        answer
    }
}

fn read<T: serde::de::DeserializeOwned>(value: &Value, place: &str) -> Option<T> {
    T::deserialize(value.pointer(place)?).ok()
}

/// What the opens among calls that are only tried need, by contract.
fn overrides<'a>(calls: impl IntoIterator<Item = &'a Value>) -> Map<String, Value> {
    let mut accounts = Map::new();
    for call in calls {
        let input = read(call, "/input").or_else(|| read(call, "/data"));
        let from: Option<Address> = read(call, "/from");
        let (Some(from), Some(to), Some(input)) = (from, read(call, "/to"), input) else {
            continue;
        };
        // There is no transaction to hash; this context is the embedded node's, too.
        let context = keccak256([b"dry run".as_slice(), from.as_slice()].concat());
        for word in opening::words(from, &[Target { to, input }], context) {
            let account = accounts.entry(word.contract.to_string());
            let account = account.or_insert_with(|| json!({"stateDiff": {}}));
            if let Some(difference) = account.get_mut("stateDiff").and_then(Value::as_object_mut) {
                difference.insert(word.slot.to_string(), json!(word.value));
            }
        }
    }
    accounts
}

/// A call names its overrides in the third parameter.
fn override_call(request: &mut Value) {
    let accounts = overrides(request.pointer("/params/0"));
    let Some(params) = request.get_mut("params").and_then(Value::as_array_mut) else {
        return;
    };
    if accounts.is_empty() || params.len() > 2 {
        return;
    }
    if params.len() == 1 {
        params.push(json!("latest"));
    }
    params.push(Value::Object(accounts));
}

/// A simulation names them in each of its blocks.
fn override_simulation(request: &mut Value) {
    let blocks = request.pointer_mut("/params/0/blockStateCalls");
    for block in blocks.and_then(Value::as_array_mut).into_iter().flatten() {
        let calls = block.get("calls").and_then(Value::as_array);
        let accounts = overrides(calls.into_iter().flatten());
        let block = block.as_object_mut().filter(|_| !accounts.is_empty());
        if let Some(block) = block {
            block
                .entry("stateOverrides")
                .or_insert(Value::Object(accounts));
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_sol_types::SolCall as _;
    use mpp_tempo::{escrow::ITIP20ChannelReserve::openCall, network::CHANNEL_RESERVE};

    use super::*;

    fn call(to: Address) -> Value {
        let open = openCall {
            payee: Address::repeat_byte(1),
            operator: Address::ZERO,
            token: Address::repeat_byte(2),
            deposit: alloy_primitives::aliases::U96::from(5),
            salt: B256::ZERO,
            authorizedSigner: Address::ZERO,
        };
        let input = Bytes::from(open.abi_encode());
        json!({"from": Address::repeat_byte(3), "to": to, "input": input})
    }

    #[test]
    fn only_opens_are_given_what_they_need() {
        let mut other = json!({"params": [call(Address::repeat_byte(9)), "latest"]});
        let before = other.clone();
        override_call(&mut other);
        assert_eq!(other, before);
        let mut open = json!({"params": [call(CHANNEL_RESERVE)]});
        override_call(&mut open);
        assert_eq!(open["params"][1], "latest");
        let accounts = open["params"][2].as_object().unwrap();
        // The context in the reserve and the allowance in the token.
        assert_eq!(accounts.len(), 2);
    }

    #[test]
    fn every_block_of_a_simulation_gets_its_own() {
        let calls = |to: Address| json!({"calls": [call(to)]});
        let blocks = [calls(Address::ZERO), calls(CHANNEL_RESERVE)];
        let mut request = json!({"params": [{"blockStateCalls": blocks}, "latest"]});
        override_simulation(&mut request);
        let blocks = &request["params"][0]["blockStateCalls"];
        assert!(blocks[0].get("stateOverrides").is_none());
        assert_eq!(blocks[1]["stateOverrides"].as_object().unwrap().len(), 2);
    }
}
