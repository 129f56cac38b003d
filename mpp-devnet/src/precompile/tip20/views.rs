//! The read-only functions of a TIP-20 token.

use crate::precompile::Env;
use crate::precompile::policy::POLICY_ID;
use alloy_primitives::{Address, Bytes, U256, keccak256};
use alloy_sol_types::SolCall;
use tempo_contracts::precompiles::ITIP20::{self, ITIP20Calls as Calls};
use tempo_contracts::precompiles::{DECIMALS, PATH_USD_ADDRESS, USD_CURRENCY};

/// Answers a view; `None` for functions this node does not have.
pub(super) fn call(env: &Env<'_>, token: Address, call: &Calls) -> Option<Bytes> {
    let row = env.state.tokens.get(&token)?;
    let answer = match call {
        Calls::name(_) => ITIP20::nameCall::abi_encode_returns(&row.name),
        Calls::symbol(_) => ITIP20::symbolCall::abi_encode_returns(&row.symbol),
        Calls::decimals(_) => ITIP20::decimalsCall::abi_encode_returns(&DECIMALS),
        Calls::currency(_) => ITIP20::currencyCall::abi_encode_returns(&USD_CURRENCY.to_owned()),
        Calls::totalSupply(_) => ITIP20::totalSupplyCall::abi_encode_returns(&row.total_supply),
        Calls::supplyCap(_) => ITIP20::supplyCapCall::abi_encode_returns(&U256::from(u128::MAX)),
        Calls::paused(_) => ITIP20::pausedCall::abi_encode_returns(&row.paused),
        Calls::transferPolicyId(_) => ITIP20::transferPolicyIdCall::abi_encode_returns(&POLICY_ID),
        Calls::quoteToken(_) => ITIP20::quoteTokenCall::abi_encode_returns(&quote(token)),
        Calls::nextQuoteToken(_) => ITIP20::nextQuoteTokenCall::abi_encode_returns(&quote(token)),
        Calls::balanceOf(c) => {
            ITIP20::balanceOfCall::abi_encode_returns(&env.state.balance(token, c.account))
        }
        Calls::allowance(c) => {
            let allowance = env.state.allowance(token, c.owner, c.spender);
            ITIP20::allowanceCall::abi_encode_returns(&allowance)
        }
        Calls::PAUSE_ROLE(_) => keccak256("PAUSE_ROLE").to_vec(),
        Calls::UNPAUSE_ROLE(_) => keccak256("UNPAUSE_ROLE").to_vec(),
        Calls::ISSUER_ROLE(_) => keccak256("ISSUER_ROLE").to_vec(),
        Calls::BURN_BLOCKED_ROLE(_) => keccak256("BURN_BLOCKED_ROLE").to_vec(),
        _ => return None,
    };
    Some(answer.into())
}

/// pathUSD is the root of the quote tree, every other token quotes in it.
fn quote(token: Address) -> Address {
    if token == PATH_USD_ADDRESS {
        Address::ZERO
    } else {
        PATH_USD_ADDRESS
    }
}
