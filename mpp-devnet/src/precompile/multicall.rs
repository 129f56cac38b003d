//! Multicall3, which viem uses to read several values at once.

use super::revert::{Outcome, Revert};
use super::{Env, decode};
use alloy_primitives::{Address, address};
use alloy_sol_types::SolCall;

/// Where Multicall3 lives on every chain that has it.
pub(crate) const MULTICALL3: Address = address!("0xcA11bde05977b3631167028862bE2a173976CA11");

alloy_sol_types::sol! {
    interface IMulticall3 {
        struct Call3 {
            address target;
            bool allowFailure;
            bytes callData;
        }
        struct Result {
            bool success;
            bytes returnData;
        }
        function aggregate3(Call3[] calldata calls) external payable returns (Result[] memory returnData);
    }
}

use IMulticall3::IMulticall3Calls as Calls;

/// Runs the calls in order with the contract itself as their caller.
pub(crate) fn call(env: &mut Env<'_>, input: &[u8]) -> Outcome {
    let Calls::aggregate3(batch) = decode::<Calls>(input)?;
    let mut results = Vec::with_capacity(batch.calls.len());
    for inner in &batch.calls {
        // The real contract may call itself; here that is refused, which bounds the depth.
        let outcome = match inner.target == MULTICALL3 {
            true => Err(Revert::empty()),
            false => attempt(env, inner.target, &inner.callData),
        };
        if outcome.is_err() && !inner.allowFailure {
            return Err(Revert::message("Multicall3: call failed"));
        }
        let success = outcome.is_ok();
        let return_data = outcome.unwrap_or_else(|revert| revert.0);
        results.push(IMulticall3::Result {
            success,
            returnData: return_data,
        });
    }
    Ok(IMulticall3::aggregate3Call::abi_encode_returns(&results).into())
}

/// A call whose effects vanish when it reverts.
fn attempt(env: &mut Env<'_>, target: Address, input: &[u8]) -> Outcome {
    let (mark, logs) = (env.state.mark(), env.logs.len());
    let outcome = env.call(MULTICALL3, target, input);
    if outcome.is_err() {
        env.state.rollback(mark);
        env.logs.truncate(logs);
    }
    outcome
}
