//! The transfer policy registry (TIP-403), reduced to one blacklist that all tokens share.

use super::revert::{Outcome, Revert};
use super::{Env, decode};
use alloy_primitives::{Address, Bytes};
use alloy_sol_types::SolCall;
use tempo_contracts::precompiles::ITIP403Registry::{self, ITIP403RegistryCalls as Calls};
use tempo_contracts::precompiles::{PATH_USD_ADDRESS, TIP403_REGISTRY_ADDRESS};

/// The blacklist every genesis token uses. Zero rejects everybody and one allows everybody, as on chain.
pub(crate) const POLICY_ID: u64 = 2;

/// Runs one call to the registry.
pub(crate) fn call(env: &mut Env<'_>, caller: Address, input: &[u8]) -> Outcome {
    let allowed = match decode::<Calls>(input)? {
        Calls::isAuthorized(c) => is_authorized(env, c.policyId, c.user),
        Calls::isAuthorizedSender(c) => is_authorized(env, c.policyId, c.user),
        Calls::isAuthorizedRecipient(c) => is_authorized(env, c.policyId, c.user),
        Calls::isAuthorizedMintRecipient(c) => is_authorized(env, c.policyId, c.user),
        Calls::modifyPolicyBlacklist(c) => {
            return modify(env, caller, c.policyId, c.account, c.restricted);
        }
        _ => return Err(Revert::unknown_selector(input)),
    }?;
    Ok(ITIP403Registry::isAuthorizedCall::abi_encode_returns(&allowed).into())
}

fn is_authorized(env: &Env<'_>, policy: u64, user: Address) -> Outcome<bool> {
    match policy {
        0 => Ok(false),
        1 => Ok(true),
        POLICY_ID => Ok(!env.state.is_frozen(user)),
        _ => Err(Revert::error(ITIP403Registry::PolicyNotFound {})),
    }
}

fn modify(
    env: &mut Env<'_>,
    caller: Address,
    policy: u64,
    account: Address,
    restricted: bool,
) -> Outcome {
    if policy != POLICY_ID {
        return Err(Revert::error(ITIP403Registry::PolicyNotFound {}));
    }
    let admin = env
        .state
        .tokens
        .get(&PATH_USD_ADDRESS)
        .map(|token| token.admin);
    if admin != Some(caller) {
        return Err(Revert::error(ITIP403Registry::Unauthorized {}));
    }
    set_frozen(env, caller, account, restricted);
    Ok(Bytes::new())
}

/// Puts an account on the blacklist or takes it off.
pub(crate) fn set_frozen(env: &mut Env<'_>, updater: Address, account: Address, restricted: bool) {
    match restricted {
        true => env.state.frozen.set(account, ()),
        false => env.state.frozen.remove(&account),
    }
    let event = ITIP403Registry::BlacklistUpdated {
        policyId: POLICY_ID,
        updater,
        account,
        restricted,
    };
    env.emit(TIP403_REGISTRY_ADDRESS, event);
}
