//! The fee manager: which token an account pays its fees in.
//!
//! The exchange between fee tokens is not modeled: every fee token is collected at par and stays with the manager.

use super::revert::{Outcome, Revert};
use super::{Env, decode};
use alloy_primitives::{Address, Bytes};
use alloy_sol_types::SolCall;
use tempo_contracts::precompiles::IFeeManager::{self, IFeeManagerCalls as Calls};
use tempo_contracts::precompiles::{DEFAULT_FEE_TOKEN, TIP_FEE_MANAGER_ADDRESS};

/// Runs one call to the fee manager.
pub(crate) fn call(env: &mut Env<'_>, caller: Address, input: &[u8]) -> Outcome {
    match decode::<Calls>(input)? {
        Calls::userTokens(c) => {
            let token = env
                .state
                .fee_tokens
                .get(&c.user)
                .copied()
                .unwrap_or_default();
            Ok(IFeeManager::userTokensCall::abi_encode_returns(&token).into())
        }
        Calls::validatorTokens(_) => {
            Ok(IFeeManager::validatorTokensCall::abi_encode_returns(&DEFAULT_FEE_TOKEN).into())
        }
        Calls::setUserToken(c) => {
            if env.state.tokens.get(&c.token).is_none() {
                return Err(Revert::error(IFeeManager::InvalidToken {}));
            }
            if env.state.fee_tokens.get(&caller) != Some(&c.token) {
                env.state.fee_tokens.set(caller, c.token);
                env.emit(
                    TIP_FEE_MANAGER_ADDRESS,
                    IFeeManager::UserTokenSet {
                        user: caller,
                        token: c.token,
                    },
                );
            }
            Ok(Bytes::new())
        }
        _ => Err(Revert::unknown_selector(input)),
    }
}
