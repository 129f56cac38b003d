//! `eth_call`, `eth_estimateGas` and `eth_simulateV1`.

use super::error::{Answer, RpcError};
use super::params::{Params, dry_run};
use super::render;
use crate::chain::node::Node;
use serde_json::{Value, json};

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

/// All calls of all blocks, one after the other on one state. They have one sender, and overrides
/// are not supported.
pub(crate) fn simulate(node: &mut Node, params: &Params) -> Answer {
    let number = params.block(1, node)?.ok_or_else(RpcError::unknown_block)?;
    let request = params.raw(0);
    let blocks = request.get("blockStateCalls").and_then(Value::as_array);
    let blocks = blocks.ok_or_else(|| RpcError::invalid_params("no blockStateCalls"))?;
    // What succeeded before is what the next call sees.
    let (mut before, mut sender) = (Vec::new(), None);
    let mut answers = Vec::new();
    for block in blocks {
        let calls = block.get("calls").and_then(Value::as_array);
        let mut results = Vec::new();
        for call in calls.into_iter().flatten() {
            let mut run = dry_run(call.clone())?;
            if *sender.get_or_insert(run.from) != run.from {
                return Err(RpcError::invalid_params("calls of more than one sender"));
            }
            let own = std::mem::take(&mut run.calls);
            run.calls = before.iter().chain(&own).cloned().collect();
            results.push(match node.dry_run(&run, number) {
                Ok(output) => {
                    before.extend(own);
                    json!({"status": "0x1", "returnData": output, "logs": []})
                }
                Err(revert) => json!({
                    "status": "0x0",
                    "returnData": "0x",
                    "logs": [],
                    "error": {"code": 3, "message": format!("execution reverted: {}", revert.0)},
                }),
            });
        }
        answers.push(json!({ "calls": results }));
    }
    Ok(Value::Array(answers))
}
