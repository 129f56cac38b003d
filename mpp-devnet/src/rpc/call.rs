//! `eth_call` and `eth_estimateGas`.

use super::error::{Answer, RpcError};
use super::params::{Params, dry_run};
use super::render;
use crate::chain::node::Node;
use serde_json::json;

pub(crate) fn call(node: &mut Node, params: &Params) -> Answer {
    let run = dry_run(params.raw(0))?;
    let number = params.block(1, node)?.ok_or_else(RpcError::unknown_block)?;
    let output = node.dry_run(&run, number)?;
    Ok(json!(output))
}

/// A batch that reverts has no estimate: the error carries the revert data.
pub(crate) fn estimate_gas(node: &mut Node, params: &Params) -> Answer {
    let run = dry_run(params.raw(0))?;
    let number = params.block(1, node)?.ok_or_else(RpcError::unknown_block)?;
    node.dry_run(&run, number)?;
    Ok(render::hex(node.gas_of(&run)))
}
