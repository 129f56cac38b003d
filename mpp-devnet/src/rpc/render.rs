//! Blocks, transactions, receipts and logs as JSON-RPC objects.

use super::error::RpcError;
use crate::chain::block::{Block, Mined};
use crate::chain::receipt::{DevLog, DevReceipt};
use crate::chain::simulate::Simulated;
use alloy_consensus::Transaction;
use alloy_primitives::{B256, Bloom, U64, U128, U256};
use serde_json::{Map, Value, json};

/// A quantity: minimal hexadecimal with prefix.
pub(crate) fn hex(number: u64) -> Value {
    json!(U64::from(number))
}

/// A block, with full transactions or only their hashes.
pub(crate) fn block(block: &Block, full: bool) -> Value {
    let mut object = object(serde_json::to_value(&block.header));
    let transactions: Vec<Value> = match full {
        true => block
            .mined
            .iter()
            .map(|tx| transaction(tx, block.hash))
            .collect(),
        false => block
            .mined
            .iter()
            .map(|tx| json!(tx.receipt.hash))
            .collect(),
    };
    let logs_bloom: Bloom = block.logs().collect();
    let fields = [
        ("hash", json!(block.hash)),
        ("logsBloom", json!(logs_bloom)),
        ("totalDifficulty", hex(0)),
        ("size", hex(0)),
        ("timestampMillis", hex(block.header.timestamp_millis())),
        ("uncles", json!([])),
        ("withdrawals", json!([])),
        ("transactions", json!(transactions)),
    ];
    object.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(object)
}

/// A mined transaction.
pub(crate) fn transaction(tx: &Mined, block_hash: B256) -> Value {
    let mut object = object(serde_json::to_value(&tx.candidate.envelope));
    let fields = [
        ("hash", json!(tx.receipt.hash)),
        ("from", json!(tx.receipt.from)),
        ("blockHash", json!(block_hash)),
        ("blockNumber", hex(tx.receipt.block_number)),
        ("transactionIndex", hex(tx.receipt.index)),
        ("gasPrice", json!(U128::from(tx.receipt.gas_price))),
    ];
    object.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(object)
}

/// A transaction that waits in the pool.
pub(crate) fn pending(candidate: &crate::chain::candidate::Candidate) -> Value {
    let mut object = object(serde_json::to_value(&candidate.envelope));
    let fields = [
        ("hash", json!(candidate.hash)),
        ("from", json!(candidate.sender)),
        ("blockHash", Value::Null),
        ("blockNumber", Value::Null),
        ("transactionIndex", Value::Null),
        (
            "gasPrice",
            json!(U128::from(candidate.envelope.max_fee_per_gas())),
        ),
    ];
    object.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(object)
}

fn object(value: Result<Value, serde_json::Error>) -> Map<String, Value> {
    match value {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

/// A receipt in Tempo's shape, with `feeToken` and `feePayer`.
pub(crate) fn receipt(receipt: &DevReceipt) -> Value {
    let bloom: Bloom = receipt.logs.iter().collect();
    let logs: Vec<Value> = receipt.placed_logs().iter().map(log).collect();
    json!({
        "type": hex(u64::from(receipt.tx_type)),
        "status": hex(u64::from(receipt.success)),
        "transactionHash": receipt.hash,
        "transactionIndex": hex(receipt.index),
        "blockHash": receipt.block_hash,
        "blockNumber": hex(receipt.block_number),
        "from": receipt.from,
        "to": receipt.to,
        "contractAddress": null,
        "cumulativeGasUsed": hex(receipt.cumulative_gas_used),
        "gasUsed": hex(receipt.gas_used),
        "effectiveGasPrice": U128::from(receipt.gas_price),
        "logs": logs,
        "logsBloom": bloom,
        "feeToken": receipt.fee_token,
        "feePayer": receipt.fee_payer,
    })
}

/// A block that was only tried, with what its calls did.
pub(crate) fn simulated(block: &Block, calls: &[Simulated]) -> Value {
    let gas = calls.iter().map(|call| call.gas_used);
    let gas_used = gas.fold(0, u64::saturating_add);
    let bloom: Bloom = calls.iter().flat_map(|call| &call.logs).collect();
    let mut results = Vec::with_capacity(calls.len());
    let mut log_index = 0_u64;
    for (tx_index, call) in (0_u64..).zip(calls) {
        let mut logs = Vec::with_capacity(call.logs.len());
        for event in &call.logs {
            logs.push(log(&DevLog {
                log: event.clone(),
                block_number: block.number(),
                block_hash: block.hash,
                timestamp: block.timestamp(),
                tx_hash: B256::ZERO,
                tx_index,
                log_index,
            }));
            log_index = log_index.saturating_add(1);
        }
        results.push(simulated_call(call, logs));
    }
    let mut object = object(Ok(self::block(block, false)));
    let fields = [
        ("gasUsed", hex(gas_used)),
        ("logsBloom", json!(bloom)),
        ("calls", Value::Array(results)),
    ];
    object.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(object)
}

fn simulated_call(call: &Simulated, logs: Vec<Value>) -> Value {
    let gas_used = hex(call.gas_used);
    match &call.outcome {
        Ok(output) => json!({
            "status": "0x1",
            "returnData": output,
            "gasUsed": gas_used,
            "logs": logs,
        }),
        Err(revert) => json!({
            "status": "0x0",
            "returnData": revert.0,
            "gasUsed": gas_used,
            "logs": logs,
            "error": RpcError::from(revert.clone()).into_json(),
        }),
    }
}

/// An event.
pub(crate) fn log(placed: &DevLog) -> Value {
    json!({
        "address": placed.log.address,
        "topics": placed.log.topics(),
        "data": placed.log.data.data,
        "blockHash": placed.block_hash,
        "blockNumber": hex(placed.block_number),
        "blockTimestamp": hex(placed.timestamp),
        "transactionHash": placed.tx_hash,
        "transactionIndex": hex(placed.tx_index),
        "logIndex": hex(placed.log_index),
        "removed": false,
    })
}

/// What `eth_getBalance` answers for every account: Tempo has no native token.
pub(crate) fn native_balance() -> Value {
    json!("4242".repeat(19).parse::<U256>().unwrap_or_default())
}
