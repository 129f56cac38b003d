//! Running one transaction against the state.

use crate::chain::candidate::Candidate;
use crate::chain::node::Rules;
use crate::chain::state::State;
use crate::chain::{fee, gas, validity};
use crate::precompile::Env;
use crate::precompile::revert::Revert;
use alloy_primitives::{Address, B256, Bytes, Log, U256};
use std::collections::HashSet;
use tempo_contracts::precompiles::{INonce, NONCE_PRECOMPILE_ADDRESS};

/// What a transaction did.
#[derive(Debug, Clone)]
pub(crate) struct Executed {
    pub(crate) success: bool,
    pub(crate) gas_used: u64,
    pub(crate) gas_price: u128,
    pub(crate) fee: U256,
    pub(crate) fee_token: Address,
    pub(crate) logs: Vec<Log>,
    /// What the failing call returned.
    pub(crate) revert: Option<Bytes>,
}

/// Runs a transaction that [`validity::check`] found ready.
///
/// The calls are atomic: when one reverts, the effects and logs of all are gone, while the nonce stays used and the
/// gas stays paid.
pub(crate) fn execute(
    rules: &Rules,
    state: &mut State,
    candidate: &Candidate,
    fee_token: Address,
    now: u64,
    forced: Option<Revert>,
) -> Executed {
    let gas_price = candidate.gas_price(rules.base_fee);
    let mut gas_used = validity::intrinsic(state, candidate);
    let mut env = environment(rules, state, now, candidate.identifier);
    use_nonce(&mut env, candidate);
    let prepaid = fee::collect(&mut env, candidate, fee_token, gas_price);

    let mark = env.state.mark();
    let kept_logs = env.logs.len();
    let result = match forced {
        Some(revert) => Err(revert),
        None => run_calls(rules, &mut env, candidate, &mut gas_used),
    };
    if result.is_err() {
        env.state.rollback(mark);
        env.logs.truncate(kept_logs);
    }
    let fee = fee::refund(&mut env, prepaid, gas_used, gas_price);
    let logs = env.logs;
    Executed {
        success: result.is_ok(),
        gas_used,
        gas_price,
        fee,
        fee_token,
        logs,
        revert: result.err().map(|revert| revert.0),
    }
}

fn run_calls(
    rules: &Rules,
    env: &mut Env<'_>,
    candidate: &Candidate,
    gas_used: &mut u64,
) -> Result<(), Revert> {
    for target in &candidate.calls {
        let needed = gas_used.saturating_add(gas::call(rules.stream_channel, target));
        if needed > candidate.gas_limit() {
            *gas_used = candidate.gas_limit();
            return Err(Revert::empty());
        }
        *gas_used = needed;
        env.call(candidate.sender, target.to, &target.input)?;
    }
    Ok(())
}

/// Marks the nonce as used; it stays used whatever the calls do.
pub(crate) fn use_nonce(env: &mut Env<'_>, candidate: &Candidate) {
    if candidate.is_expiring() {
        let expiry = candidate.valid_before().unwrap_or_default();
        env.state.seen.set(candidate.identifier, expiry);
        return;
    }
    let (account, key) = (candidate.sender, candidate.nonce_key);
    let next = candidate.nonce().saturating_add(1);
    env.state.nonces.set((account, key), next);
    if !key.is_zero() {
        let event = INonce::NonceIncremented {
            account,
            nonceKey: key,
            newNonce: next,
        };
        env.emit(NONCE_PRECOMPILE_ADDRESS, event);
    }
}

/// A fresh transaction environment.
pub(crate) fn environment<'a>(
    rules: &Rules,
    state: &'a mut State,
    now: u64,
    open_context: B256,
) -> Env<'a> {
    Env {
        state,
        chain_id: rules.chain_id,
        now,
        stream_channel: rules.stream_channel,
        open_context,
        opened: HashSet::new(),
        logs: Vec::new(),
    }
}
