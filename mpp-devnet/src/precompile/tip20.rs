//! TIP-20 tokens: ERC-20 with memos, pause and a transfer policy.

mod machine;
mod views;

pub(crate) use machine::{ensure_not_frozen, mint, move_tokens, system_transfer_from};

use super::revert::{Outcome, Revert};
use super::{Env, decode};
use alloy_primitives::{Address, Bytes};
use alloy_sol_types::SolCall;
use tempo_contracts::precompiles::ITIP20::{self, ITIP20Calls as Calls};

/// The answer of functions that return `bool`.
fn yes() -> Bytes {
    ITIP20::transferCall::abi_encode_returns(&true).into()
}

/// Runs one call to `token`.
pub(crate) fn call(env: &mut Env<'_>, token: Address, caller: Address, input: &[u8]) -> Outcome {
    let call = decode::<Calls>(input)?;
    match call {
        Calls::transfer(c) => {
            move_tokens(env, token, caller, c.to, c.amount)?;
            Ok(yes())
        }
        Calls::transferWithMemo(c) => {
            move_tokens(env, token, caller, c.to, c.amount)?;
            machine::emit_memo(env, token, (caller, c.to), c.amount, c.memo);
            Ok(Bytes::new())
        }
        Calls::transferFrom(c) => {
            machine::transfer_from(env, token, caller, (c.from, c.to), c.amount)?;
            Ok(yes())
        }
        Calls::transferFromWithMemo(c) => {
            machine::transfer_from(env, token, caller, (c.from, c.to), c.amount)?;
            machine::emit_memo(env, token, (c.from, c.to), c.amount, c.memo);
            Ok(yes())
        }
        Calls::approve(c) => {
            machine::approve(env, token, caller, c.spender, c.amount);
            Ok(yes())
        }
        Calls::mint(c) => {
            machine::ensure_admin(env, token, caller)?;
            mint(env, token, c.to, c.amount).map(|()| Bytes::new())
        }
        Calls::burn(c) => {
            machine::ensure_admin(env, token, caller)?;
            machine::burn(env, token, caller, c.amount).map(|()| Bytes::new())
        }
        Calls::pause(_) => machine::set_paused(env, token, caller, true),
        Calls::unpause(_) => machine::set_paused(env, token, caller, false),
        view => views::call(env, token, &view).ok_or_else(|| Revert::unknown_selector(input)),
    }
}
