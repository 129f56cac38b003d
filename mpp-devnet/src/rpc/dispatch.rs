//! From method name to answer.

use super::error::{Answer, RpcError};
use super::params::Params;
use super::send::Sent;
use super::{call, control, query, render, send};
use crate::devnet::Devnet;
use crate::lock;
use alloy_primitives::{B256, hex, keccak256};
use serde_json::{Value, json};

/// Answers one call; `None` means that the connection breaks instead.
pub(crate) async fn answer(devnet: &Devnet, request: Value) -> Option<Value> {
    let id = request.get("id").cloned().unwrap_or(Value::Null);
    let Some(method) = request.get("method").and_then(Value::as_str) else {
        return Some(envelope(id, Err(RpcError::invalid_request())));
    };
    devnet.shared.counters.count_rpc(method);
    let params = match Params::new(request.get("params").cloned()) {
        Ok(params) => params,
        Err(error) => return Some(envelope(id, Err(error))),
    };
    let sent = match method {
        "eth_sendRawTransaction" => send::send(devnet, &params),
        "eth_sendRawTransactionSync" => send::send_sync(devnet, &params).await,
        _ => Sent::Answered(run(devnet, method, &params)),
    };
    match sent {
        Sent::Answered(result) => Some(envelope(id, result)),
        Sent::Lost => None,
    }
}

/// The response object around a result.
pub(crate) fn envelope(id: Value, result: Answer) -> Value {
    match result {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "id": id, "error": error.into_json()}),
    }
}

fn run(devnet: &Devnet, method: &str, params: &Params) -> Answer {
    let mut guard = lock(&devnet.shared.node);
    let node = &mut *guard;
    // Readers make delayed transactions happen: nothing runs in the background.
    node.poke();
    match method {
        "eth_chainId" => Ok(render::hex(node.rules.chain_id)),
        "net_version" => Ok(json!(node.rules.chain_id.to_string())),
        "web3_clientVersion" => Ok(json!(concat!("mpp-devnet/", env!("CARGO_PKG_VERSION")))),
        "web3_sha3" => {
            let data: alloy_primitives::Bytes = params.required(0, "data")?;
            Ok(json!(keccak256(data)))
        }
        "net_listening" => Ok(json!(true)),
        "eth_syncing" => Ok(json!(false)),
        "eth_accounts" => Ok(json!([])),
        "eth_blockNumber" => Ok(render::hex(node.visible_height())),
        "eth_gasPrice" => Ok(render::hex(node.rules.base_fee)),
        "eth_maxPriorityFeePerGas" => Ok(render::hex(0)),
        "eth_feeHistory" => query::fee_history(node, params),
        "eth_getBlockByNumber" => query::block_by_number(node, params),
        "eth_getBlockByHash" => query::block_by_hash(node, params),
        "eth_getBlockReceipts" => query::block_receipts(node, params),
        "eth_getBalance" => Ok(render::native_balance()),
        "eth_getTransactionCount" => query::transaction_count(node, params),
        "eth_getCode" => query::code(node, params),
        "eth_getStorageAt" => Ok(json!(B256::ZERO)),
        "eth_getTransactionReceipt" => query::receipt(node, params),
        "eth_getTransactionByHash" => query::transaction(node, params),
        "eth_getLogs" => query::logs(node, params),
        "eth_call" => call::call(node, params),
        "eth_estimateGas" => call::estimate_gas(node, params),
        "eth_simulateV1" => call::simulate(node, params),
        "evm_increaseTime" | "anvil_increaseTime" => control::increase_time(node, params),
        "anvil_setTime" | "evm_setTime" => control::set_time(node, params),
        "evm_setNextBlockTimestamp" | "anvil_setNextBlockTimestamp" => {
            control::set_next_timestamp(node, params)
        }
        "evm_mine" => control::mine(node),
        "anvil_mine" | "hardhat_mine" => control::mine_many(node, params),
        "anvil_nodeInfo" => control::node_info(node),
        _ => Err(RpcError::method_not_found(&hex_free(method))),
    }
}

/// A method name for an error message: printable and short.
fn hex_free(method: &str) -> String {
    match method.len() <= 64 && method.chars().all(|c| c.is_ascii_graphic()) {
        true => method.to_owned(),
        false => hex::encode(method.bytes().take(32).collect::<Vec<_>>()),
    }
}
