//! Lenient reading of a node's JSON, and the JSON of log filters.

use alloc::string::String;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes, U256};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::chain::{BlockInfo, ChainLog, FeeQuote, LogFilter, TxReceipt};

/// A quantity: `0x` hex as the specification says, or a number as some nodes send.
pub(super) fn quantity(value: &Value) -> Option<u64> {
    u64::try_from(wide_quantity(value)?).ok()
}

fn wide_quantity(value: &Value) -> Option<u128> {
    large(value)?.try_into().ok()
}

/// A quantity of up to 256 bits.
pub(super) fn large(value: &Value) -> Option<U256> {
    match value {
        Value::Number(number) => number.as_u64().map(U256::from),
        Value::String(text) => U256::from_str_radix(text.strip_prefix("0x")?, 16).ok(),
        _ => None,
    }
}

/// An address in `0x` hex.
pub(super) fn address(value: &Value) -> Option<Address> {
    typed(value)
}

/// Bytes in `0x` hex.
pub(super) fn bytes(value: &Value) -> Option<Bytes> {
    typed(value)
}

/// A receipt. What nodes leave out or spell differently is not asked for (LOCALNODE).
pub(super) fn receipt(value: &Value) -> Option<TxReceipt> {
    Some(TxReceipt {
        hash: typed(value.get("transactionHash")?)?,
        success: quantity(value.get("status")?)? == 1,
        block_number: quantity(value.get("blockNumber")?)?,
        logs: logs(value.get("logs")?)?,
        gas_used: quantity(value.get("gasUsed")?)?,
        from: typed(value.get("from")?)?,
        fee_payer: value.get("feePayer").and_then(typed::<Address>),
        gas_price: value.get("effectiveGasPrice").and_then(wide_quantity),
    })
}

/// Log entries, without those that a reorganization took back.
pub(super) fn logs(value: &Value) -> Option<Vec<ChainLog>> {
    let removed = |log: &&Value| log.get("removed").and_then(Value::as_bool).unwrap_or(false);
    value
        .as_array()?
        .iter()
        .filter(|entry| !removed(entry))
        .map(log)
        .collect()
}

fn log(value: &Value) -> Option<ChainLog> {
    Some(ChainLog {
        address: typed(value.get("address")?)?,
        topics: typed(value.get("topics")?)?,
        data: typed(value.get("data")?)?,
        block_number: value.get("blockNumber").and_then(quantity),
        tx_hash: value.get("transactionHash").and_then(typed::<B256>),
        log_index: value.get("logIndex").and_then(quantity),
    })
}

/// The head of a block.
pub(super) fn block(value: &Value) -> Option<BlockInfo> {
    Some(BlockInfo {
        number: quantity(value.get("number")?)?,
        timestamp: quantity(value.get("timestamp")?)?,
        hash: typed(value.get("hash")?)?,
    })
}

/// A fee limit that survives a rise of the base fee by a fifth.
///
/// More would exceed what sponsors accept for a v1 open at Tempo's usual base fee.
pub(super) fn fees(block: &Value, tip: &Value) -> Option<FeeQuote> {
    let base = wide_quantity(block.get("baseFeePerGas")?)?;
    let max_priority_fee_per_gas = wide_quantity(tip)?;
    let max_fee_per_gas = base
        .checked_add(base.div_ceil(5))?
        .checked_add(max_priority_fee_per_gas)?;
    Some(FeeQuote {
        base_fee_per_gas: base,
        max_fee_per_gas,
        max_priority_fee_per_gas,
    })
}

/// The JSON of a log filter.
pub(super) fn filter(filter: &LogFilter) -> Value {
    let topics: Vec<Value> = filter
        .topics
        .iter()
        .map(|accepted| {
            if accepted.is_empty() {
                Value::Null
            } else {
                json!(accepted)
            }
        })
        .collect();
    let to_block = filter
        .to_block
        .map_or_else(|| String::from("latest"), hex_quantity);
    let mut json = json!({
        "fromBlock": hex_quantity(filter.from_block),
        "toBlock": to_block,
        "topics": topics,
    });
    if let (false, Some(members)) = (filter.addresses.is_empty(), json.as_object_mut()) {
        members.insert("address".into(), json!(filter.addresses));
    }
    json
}

/// A number as `0x` hex.
pub(super) fn hex_quantity(number: u64) -> String {
    alloc::format!("{number:#x}")
}

fn typed<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}
