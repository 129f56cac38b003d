//! The nonce precompile: reads of two-dimensional nonces.

use super::revert::{Outcome, Revert};
use super::{Env, decode};
use alloy_sol_types::SolCall;
use tempo_contracts::precompiles::INonce::{self, INonceCalls as Calls};

/// Runs one call to the nonce precompile.
pub(crate) fn call(env: &Env<'_>, input: &[u8]) -> Outcome {
    let Calls::getNonce(call) = decode::<Calls>(input)?;
    if call.nonceKey.is_zero() {
        return Err(Revert::error(INonce::ProtocolNonceNotSupported {}));
    }
    let nonce = env.state.nonce(call.account, call.nonceKey);
    Ok(INonce::getNonceCall::abi_encode_returns(&nonce).into())
}
