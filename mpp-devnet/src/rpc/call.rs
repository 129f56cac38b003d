//! `eth_call`, `eth_estimateGas` and `eth_simulateV1`.

use super::error::{Answer, RpcError};
use super::params::{Params, dry_run};
use super::render;
use crate::chain::block::{Block, Seed};
use crate::chain::node::Node;
use crate::chain::simulate::DryRun;
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
    let blocks: Vec<Vec<DryRun>> = blocks.iter().map(calls_of).collect::<Result<_, _>>()?;
    let runs = blocks.concat();
    let from = runs.first().map(|run| run.from).unwrap_or_default();
    if runs.iter().any(|run| run.from != from) {
        return Err(RpcError::invalid_params("calls of more than one sender"));
    }
    let timestamp = node.pending_timestamp();
    let mut seed = node.seed(timestamp);
    let mut simulated = node.simulate(from, &runs, number).into_iter();
    let mut answers = Vec::new();
    for block in blocks {
        let calls: Vec<_> = simulated.by_ref().take(block.len()).collect();
        let sealed = Block::seal(&seed, Vec::new(), node.state.mark());
        answers.push(render::simulated(&sealed, &calls));
        seed = Seed {
            parent: sealed.hash,
            number: seed.number.saturating_add(1),
            ..seed
        };
    }
    Ok(Value::Array(answers))
}

fn calls_of(block: &Value) -> Result<Vec<DryRun>, RpcError> {
    let calls = block.get("calls").and_then(Value::as_array);
    calls.into_iter().flatten().cloned().map(dry_run).collect()
}
