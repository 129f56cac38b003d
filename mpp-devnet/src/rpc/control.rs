//! Methods of test nodes: time and mining.

use super::error::{Answer, RpcError};
use super::params::Params;
use super::render;
use crate::chain::node::Node;
use core::time::Duration;
use serde_json::{Value, json};

fn seconds(params: &Params) -> Result<u64, RpcError> {
    params
        .quantity(0)?
        .ok_or_else(|| RpcError::invalid_params("expected a number of seconds"))
}

/// `evm_increaseTime`: answers the seconds added.
pub(crate) fn increase_time(node: &mut Node, params: &Params) -> Answer {
    let by = seconds(params)?;
    node.advance(Duration::from_secs(by));
    Ok(json!(by))
}

/// `anvil_setTime` and `evm_setTime`.
pub(crate) fn set_time(node: &mut Node, params: &Params) -> Answer {
    node.set_time(seconds(params)?);
    Ok(Value::Null)
}

/// `evm_setNextBlockTimestamp`.
pub(crate) fn set_next_timestamp(node: &mut Node, params: &Params) -> Answer {
    node.set_next_timestamp(seconds(params)?);
    Ok(Value::Null)
}

/// `evm_mine`.
pub(crate) fn mine(node: &mut Node) -> Answer {
    node.mine_block(None);
    Ok(json!("0x0"))
}

/// `anvil_mine` and `hardhat_mine`: a number of blocks.
pub(crate) fn mine_many(node: &mut Node, params: &Params) -> Answer {
    for _ in 0..params.quantity(0)?.unwrap_or(1).min(10_000) {
        node.mine_block(None);
    }
    Ok(Value::Null)
}

/// `evm_snapshot` and its kin are not offered; the current time is.
pub(crate) fn node_info(node: &Node) -> Answer {
    Ok(json!({
        "currentBlockNumber": render::hex(node.height()),
        "currentBlockTimestamp": node.pending_timestamp(),
        "hardFork": "tempo",
    }))
}
