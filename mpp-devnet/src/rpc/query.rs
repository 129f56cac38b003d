//! Methods that read blocks, accounts, receipts and logs.

use super::error::{Answer, RpcError};
use super::params::{Params, block_number, by_hash};
use super::render;
use crate::chain::filter::LogQuery;
use crate::chain::node::Node;
use crate::devnet::collect_logs;
use crate::precompile::is_native;
use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};

pub(crate) fn block_by_number(node: &Node, params: &Params) -> Answer {
    let number = params.block(0, node)?;
    Ok(block_at(node, number, params))
}

pub(crate) fn block_by_hash(node: &Node, params: &Params) -> Answer {
    let hash: B256 = params.required(0, "block hash")?;
    Ok(block_at(node, by_hash(node, hash), params))
}

fn block_at(node: &Node, number: Option<u64>, params: &Params) -> Value {
    let full = params.raw(1).as_bool().unwrap_or_default();
    let block = number.and_then(|number| node.block(number));
    block.map_or(Value::Null, |block| render::block(block, full))
}

/// The protocol nonce; `pending` counts the pool too.
pub(crate) fn transaction_count(node: &Node, params: &Params) -> Answer {
    let account: Address = params.required(0, "address")?;
    let number = params.block(1, node)?.ok_or_else(RpcError::unknown_block)?;
    if number < node.height() {
        return Ok(render::hex(
            node.state_at(number).nonce(account, U256::ZERO),
        ));
    }
    let mut nonce = node.state.nonce(account, U256::ZERO);
    if params.raw(1) == "pending" {
        let of_account = node
            .pool
            .iter()
            .map(|pooled| &pooled.candidate)
            .filter(|tx| tx.sender == account && tx.nonce_key.is_zero());
        let waiting = of_account.map(|tx| tx.nonce().saturating_add(1)).max();
        nonce = nonce.max(waiting.unwrap_or_default());
    }
    Ok(render::hex(nonce))
}

/// Native contracts answer with the marker byte the real chain stores for precompiles.
pub(crate) fn code(node: &Node, params: &Params) -> Answer {
    let account: Address = params.required(0, "address")?;
    let native = is_native(&node.state, node.rules.stream_channel, account);
    Ok(json!(if native { "0xef" } else { "0x" }))
}

pub(crate) fn receipt(node: &Node, params: &Params) -> Answer {
    let hash: B256 = params.required(0, "transaction hash")?;
    let visible = node
        .mined(hash)
        .filter(|tx| tx.receipt.block_number <= node.visible_height());
    Ok(visible.map_or(Value::Null, |tx| render::receipt(&tx.receipt)))
}

pub(crate) fn block_receipts(node: &Node, params: &Params) -> Answer {
    let block = params.block(0, node)?.and_then(|number| node.block(number));
    Ok(block.map_or(Value::Null, |block| {
        block
            .mined
            .iter()
            .map(|tx| render::receipt(&tx.receipt))
            .collect()
    }))
}

pub(crate) fn transaction(node: &Node, params: &Params) -> Answer {
    let hash: B256 = params.required(0, "transaction hash")?;
    let visible = node
        .mined(hash)
        .filter(|tx| tx.receipt.block_number <= node.visible_height());
    if let Some(tx) = visible {
        return Ok(render::transaction(tx, tx.receipt.block_hash));
    }
    // A transaction that something else replaced is not in anybody's pool any more.
    let mut waiting = node.pool.iter().filter(|pooled| !pooled.replaced);
    let pending = waiting.find(|pooled| pooled.candidate.hash == hash);
    Ok(pending.map_or(Value::Null, |pooled| render::pending(&pooled.candidate)))
}

pub(crate) fn logs(node: &Node, params: &Params) -> Answer {
    let query = log_query(node, &params.raw(0))?;
    let found = collect_logs(node, &query, node.visible_height());
    Ok(found.iter().map(render::log).collect())
}

fn log_query(node: &Node, filter: &Value) -> Result<LogQuery, RpcError> {
    let field = |name: &str| filter.get(name).cloned().unwrap_or(Value::Null);
    let number = |name: &str| match field(name) {
        Value::Null => Ok(node.visible_height()),
        tag => block_number(&tag, node),
    };
    let block_hash = match field("blockHash") {
        Value::Null => None,
        hash => {
            let hash: B256 = parse(hash, "block hash")?;
            by_hash(node, hash).ok_or_else(RpcError::unknown_block)?;
            Some(hash)
        }
    };
    let topics = match field("topics") {
        Value::Null => Vec::new(),
        Value::Array(positions) => positions
            .into_iter()
            .map(one_or_many)
            .collect::<Result<_, _>>()?,
        _ => return Err(RpcError::invalid_params("topics")),
    };
    let addresses = one_or_many(field("address"))?;
    Ok(LogQuery {
        from_block: Some(number("fromBlock")?),
        to_block: Some(number("toBlock")?),
        block_hash,
        addresses,
        topics,
    })
}

/// Null is none, a single value is a list of one.
fn one_or_many<T: serde::de::DeserializeOwned>(value: Value) -> Result<Vec<T>, RpcError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => values
            .into_iter()
            .map(|value| parse(value, "log filter"))
            .collect(),
        single => Ok(vec![parse(single, "log filter")?]),
    }
}

fn parse<T: serde::de::DeserializeOwned>(value: Value, what: &str) -> Result<T, RpcError> {
    serde_json::from_value(value).map_err(|_| RpcError::invalid_params(what))
}

/// Fees never move here, so the history is flat.
pub(crate) fn fee_history(node: &Node, params: &Params) -> Answer {
    let asked = params.quantity(0)?.unwrap_or(1).clamp(1, 1024);
    let newest = params.block(1, node)?.ok_or_else(RpcError::unknown_block)?;
    let count = asked.min(newest.saturating_add(1));
    let oldest = newest.saturating_add(1).saturating_sub(count);
    let blocks = usize::try_from(count).unwrap_or_default();
    let percentiles = params.raw(2).as_array().map(Vec::len).unwrap_or_default();
    let base = render::hex(node.rules.base_fee);
    Ok(json!({
        "oldestBlock": render::hex(oldest),
        "baseFeePerGas": vec![base; blocks.saturating_add(1)],
        "gasUsedRatio": vec![0; blocks],
        "baseFeePerBlobGas": vec![render::hex(0); blocks.saturating_add(1)],
        "blobGasUsedRatio": vec![0; blocks],
        "reward": vec![vec![render::hex(0); percentiles]; blocks],
    }))
}
