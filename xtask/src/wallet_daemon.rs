//! A wallet daemon: it holds a key, and sends what it is asked to over JSON-RPC (EIP-5792).

use std::{
    collections::HashMap,
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
};

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use anyhow::{Context as _, ensure};
use axum::{Json, Router, extract::State, routing::post};
use mpp_tempo::{
    LocalSigner, Signer as _,
    chain::{ChainClient as _, rpc::RpcChain},
    network::PATH_USD,
    tx::gas,
};
use serde_json::{Value, json};
use tempo_primitives::{
    TempoTransaction,
    transaction::{Call, TEMPO_EXPIRING_NONCE_KEY},
};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{account, node::Node, rpc::Rpc};

/// A listening daemon; stops when dropped.
#[derive(Debug)]
pub(crate) struct WalletDaemon {
    /// Where it answers.
    pub(crate) url: String,
    task: JoinHandle<()>,
}

/// What the daemon holds.
struct Safe {
    signer: LocalSigner,
    chain: RpcChain,
    rpc: Rpc,
    /// Batches by their ids, with whether they have succeeded.
    batches: Mutex<HashMap<String, (B256, bool)>>,
}

impl WalletDaemon {
    /// Sends for this account, on this node.
    pub(crate) async fn start(node: &Node, signer: LocalSigner) -> anyhow::Result<Self> {
        let safe = Arc::new(Safe {
            signer,
            chain: node.chain.clone(),
            rpc: Rpc::new(&node.url),
            batches: Mutex::default(),
        });
        let app = Router::new().route("/", post(answer)).with_state(safe);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        #[expect(
            clippy::disallowed_methods,
            reason = "the daemon owns and ends this task"
        )]
        let task = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { url, task })
    }
}

impl Drop for WalletDaemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(safe): State<Arc<Safe>>, Json(request): Json<Value>) -> Json<Value> {
    let method = member(&request, "/method").as_str().unwrap_or_default();
    let (id, params) = (member(&request, "/id"), member(&request, "/params"));
    let done = match method {
        "eth_accounts" => Ok(json!([safe.signer.address()])),
        "wallet_sendCalls" => safe.send(member(params, "/0")).await,
        "wallet_getCallsStatus" => safe.status(member(params, "/0")),
        method => safe.rpc.call(method, params.clone()).await,
    };
    Json(match done {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => {
            let error = json!({"code": -32602, "message": format!("{error:#}")});
            json!({"jsonrpc": "2.0", "id": id, "error": error})
        }
    })
}

/// A part of a value, or null.
fn member<'a>(value: &'a Value, path: &str) -> &'a Value {
    value.pointer(path).unwrap_or(&Value::Null)
}

impl Safe {
    async fn send(&self, batch: &Value) -> anyhow::Result<Value> {
        let from: Address = serde_json::from_value(member(batch, "/from").clone())?;
        ensure!(from == self.signer.address(), "another account");
        let chain_id = self.chain.chain_id();
        ensure!(
            *member(batch, "/chainId") == json!(format!("{chain_id:#x}")),
            "another chain"
        );
        let calls = member(batch, "/calls").as_array().context("calls")?;
        let calls = calls.iter().map(call).collect::<anyhow::Result<Vec<_>>>()?;
        let fees = self.chain.fees().await?;
        let now = self.chain.block().await?.timestamp;
        let now = now.max(u64::try_from(account::now().as_secs())?);
        let transaction = TempoTransaction {
            chain_id,
            fee_token: Some(PATH_USD),
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            max_fee_per_gas: fees.max_fee_per_gas,
            gas_limit: gas::transfers(calls.len()),
            calls,
            nonce_key: TEMPO_EXPIRING_NONCE_KEY,
            valid_before: NonZeroU64::new(now.saturating_add(25)),
            ..TempoTransaction::default()
        };
        let raw = account::sign_raw(&self.signer, transaction);
        let receipt = self.chain.send_and_wait(raw).await?;
        let id = receipt.hash.to_string();
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        batches.insert(id.clone(), (receipt.hash, receipt.success));
        Ok(json!({"id": id}))
    }

    fn status(&self, id: &Value) -> anyhow::Result<Value> {
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = batches.get(id.as_str().context("an id")?);
        let (hash, success) = batch.context("an unknown batch")?;
        Ok(json!({
            "version": "2.0.0",
            "id": id,
            "atomic": true,
            "status": if *success { 200 } else { 500 },
            "receipts": [{"transactionHash": hash}],
        }))
    }
}

fn call(call: &Value) -> anyhow::Result<Call> {
    let to: Address = serde_json::from_value(member(call, "/to").clone())?;
    let input: Bytes = serde_json::from_value(member(call, "/data").clone())?;
    ensure!(member(call, "/value") == "0x0", "no value moves on Tempo");
    Ok(Call {
        to: TxKind::Call(to),
        value: U256::ZERO,
        input,
    })
}
