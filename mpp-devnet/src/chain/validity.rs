//! Whether a transaction can be mined now, later or never.

use crate::chain::candidate::Candidate;
use crate::chain::gas::{self, NonceCost};
use crate::chain::refusal::Refusal;
use crate::chain::state::State;
use crate::chain::{fee, node::Rules};
use alloy_consensus::Transaction;
use alloy_primitives::Address;

/// `validBefore` must be at least this far away when a transaction enters the pool (seconds).
const POOL_MARGIN_SECS: u64 = 3;
/// The pool holds transactions whose `validAfter` is at most this far away (seconds).
const POOL_HORIZON_SECS: u64 = 120;

/// A transaction's chance at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It can be mined; fees are paid in this token.
    Ready(Address),
    /// A lower nonce or `validAfter` must come first.
    Waits,
}

/// Rules of the pool, which are stricter than those of blocks.
pub(crate) fn admit(
    rules: &Rules,
    state: &State,
    candidate: &Candidate,
    now: u64,
) -> Result<Readiness, Refusal> {
    if candidate.calls.len() > rules.max_calls {
        return Err(Refusal::Malformed("too many calls in transaction"));
    }
    if let Some(valid_before) = candidate.valid_before() {
        let min = now.saturating_add(POOL_MARGIN_SECS);
        if valid_before <= min {
            return Err(Refusal::Expired { valid_before, min });
        }
    }
    if let Some(valid_after) = candidate.valid_after() {
        let max = now.saturating_add(POOL_HORIZON_SECS);
        if valid_after > max {
            return Err(Refusal::NotYetValid { valid_after, max });
        }
    }
    check(rules, state, candidate, now)
}

/// Rules of a block with timestamp `now`.
pub(crate) fn check(
    rules: &Rules,
    state: &State,
    candidate: &Candidate,
    now: u64,
) -> Result<Readiness, Refusal> {
    check_gas(rules, state, candidate)?;
    if let Some(valid_before) = candidate.valid_before()
        && valid_before <= now
    {
        return Err(Refusal::Expired {
            valid_before,
            min: now,
        });
    }
    let early = candidate
        .valid_after()
        .is_some_and(|valid_after| valid_after > now);
    let gapped = check_nonce(rules, state, candidate, now)?;
    let token = fee::check(state, candidate)?;
    match early || gapped {
        true => Ok(Readiness::Waits),
        false => Ok(Readiness::Ready(token)),
    }
}

fn check_gas(rules: &Rules, state: &State, candidate: &Candidate) -> Result<(), Refusal> {
    let limit = candidate.gas_limit();
    if limit > gas::BLOCK_LIMIT {
        return Err(Refusal::BlockGasLimit);
    }
    let required = intrinsic(state, candidate);
    if limit < required {
        return Err(Refusal::IntrinsicGas { required, limit });
    }
    let max_fee = candidate.envelope.max_fee_per_gas();
    if max_fee < u128::from(rules.base_fee) {
        return Err(Refusal::FeeCapTooLow {
            max_fee,
            base_fee: rules.base_fee,
        });
    }
    if candidate
        .envelope
        .max_priority_fee_per_gas()
        .is_some_and(|tip| tip > max_fee)
    {
        return Err(Refusal::TipAboveFeeCap);
    }
    Ok(())
}

/// Gas of the transaction before its calls.
pub(crate) fn intrinsic(state: &State, candidate: &Candidate) -> u64 {
    let nonce = if candidate.is_expiring() {
        NonceCost::Expiring
    } else if candidate.nonce_key.is_zero() {
        NonceCost::Protocol
    } else if state.nonce(candidate.sender, candidate.nonce_key) == 0 {
        NonceCost::NewKey
    } else {
        NonceCost::UsedKey
    };
    gas::intrinsic(
        &candidate.calls,
        gas::signature(candidate),
        candidate.is_sponsored(),
        nonce,
    )
}

/// `true` when lower nonces are missing.
fn check_nonce(
    rules: &Rules,
    state: &State,
    candidate: &Candidate,
    now: u64,
) -> Result<bool, Refusal> {
    if candidate.is_expiring() {
        return check_expiring(rules, state, candidate, now).map(|()| false);
    }
    let expected = state.nonce(candidate.sender, candidate.nonce_key);
    let found = candidate.nonce();
    match found < expected {
        true => Err(Refusal::NonceTooLow { expected, found }),
        false => Ok(found > expected),
    }
}

fn check_expiring(
    rules: &Rules,
    state: &State,
    candidate: &Candidate,
    now: u64,
) -> Result<(), Refusal> {
    if candidate.nonce() != 0 {
        return Err(Refusal::ExpiringNonceNotZero);
    }
    let Some(valid_before) = candidate.valid_before() else {
        return Err(Refusal::ExpiringNonceWithoutEnd);
    };
    let max = now.saturating_add(rules.max_expiry_secs);
    if valid_before > max {
        return Err(Refusal::ExpiryTooFar { valid_before, max });
    }
    let seen = state
        .seen
        .get(&candidate.identifier)
        .is_some_and(|expiry| *expiry > now);
    match seen {
        true => Err(Refusal::ExpiringNonceReplay),
        false => Ok(()),
    }
}
