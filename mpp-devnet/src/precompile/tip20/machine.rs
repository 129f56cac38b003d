//! The rules that move TIP-20 balances.

use crate::chain::state::Token;
use crate::precompile::Env;
use crate::precompile::revert::{Outcome, Revert};
use alloy_primitives::{Address, B256, Bytes, U256};
use tempo_contracts::precompiles::{IAddressRegistry, ITIP20};
use tempo_primitives::TempoAddressExt;

/// Supply cap of a fresh TIP-20 token.
const SUPPLY_CAP: U256 = U256::from_limbs([u64::MAX, u64::MAX, 0, 0]);

fn token_row(env: &Env<'_>, token: Address) -> Outcome<Token> {
    let missing = if token.is_tip20() {
        Revert::error(ITIP20::Uninitialized {})
    } else {
        Revert::error(ITIP20::InvalidToken {})
    };
    env.state.tokens.get(&token).cloned().ok_or(missing)
}

/// Refuses accounts on the blacklist, as the transfer policy registry does.
pub(crate) fn ensure_not_frozen(env: &Env<'_>, accounts: &[Address]) -> Outcome<()> {
    match accounts.iter().any(|account| env.state.is_frozen(*account)) {
        true => Err(Revert::error(ITIP20::PolicyForbids {})),
        false => Ok(()),
    }
}

/// The checks every transfer makes before it touches allowances or balances, in the chain's order.
fn validate_transfer(env: &Env<'_>, token: Address, from: Address, to: Address) -> Outcome<()> {
    if to.is_virtual() {
        // Virtual addresses resolve through a registry that nobody registers in on this chain.
        return Err(Revert::error(
            IAddressRegistry::VirtualAddressUnregistered {},
        ));
    }
    if token_row(env, token)?.paused {
        return Err(Revert::error(ITIP20::ContractPaused {}));
    }
    if to.is_zero() || to.is_tip20() {
        return Err(Revert::error(ITIP20::InvalidRecipient {}));
    }
    ensure_not_frozen(env, &[from, to])
}

/// Debits `from`, credits `to` and logs the transfer.
fn apply(
    env: &mut Env<'_>,
    token: Address,
    from: Address,
    to: Address,
    amount: U256,
) -> Outcome<()> {
    let available = env.state.balance(token, from);
    let Some(left) = available.checked_sub(amount) else {
        return Err(Revert::error(ITIP20::InsufficientBalance {
            available,
            required: amount,
            token,
        }));
    };
    env.state.balances.set((token, from), left);
    let credited = env.state.balance(token, to).checked_add(amount);
    let Some(credited) = credited else {
        return Err(Revert::error(ITIP20::SupplyCapExceeded {}));
    };
    env.state.balances.set((token, to), credited);
    env.emit(token, ITIP20::Transfer { from, to, amount });
    Ok(())
}

/// `transfer`: moves `amount` from `from`, who is the caller.
pub(crate) fn move_tokens(
    env: &mut Env<'_>,
    token: Address,
    from: Address,
    to: Address,
    amount: U256,
) -> Outcome<()> {
    validate_transfer(env, token, from, to)?;
    apply(env, token, from, to, amount)
}

/// A transfer into a listed precompile, which needs no allowance (TIP-1035).
pub(crate) fn system_transfer_from(
    env: &mut Env<'_>,
    token: Address,
    precompile: Address,
    from: Address,
    amount: U256,
) -> Outcome<()> {
    move_tokens(env, token, from, precompile, amount)
}

/// `transferFrom`: consumes the allowance of `spender`; an unlimited allowance is not reduced.
pub(crate) fn transfer_from(
    env: &mut Env<'_>,
    token: Address,
    spender: Address,
    (from, to): (Address, Address),
    amount: U256,
) -> Outcome<()> {
    validate_transfer(env, token, from, to)?;
    let allowed = env.state.allowance(token, from, spender);
    let Some(left) = allowed.checked_sub(amount) else {
        return Err(Revert::error(ITIP20::InsufficientAllowance {}));
    };
    if allowed != U256::MAX {
        env.state.allowances.set((token, from, spender), left);
    }
    apply(env, token, from, to, amount)
}

pub(super) fn approve(
    env: &mut Env<'_>,
    token: Address,
    owner: Address,
    spender: Address,
    amount: U256,
) {
    env.state.allowances.set((token, owner, spender), amount);
    env.emit(
        token,
        ITIP20::Approval {
            owner,
            spender,
            amount,
        },
    );
}

pub(super) fn emit_memo(
    env: &mut Env<'_>,
    token: Address,
    (from, to): (Address, Address),
    amount: U256,
    memo: B256,
) {
    env.emit(
        token,
        ITIP20::TransferWithMemo {
            from,
            to,
            amount,
            memo,
        },
    );
}

pub(super) fn ensure_admin(env: &Env<'_>, token: Address, caller: Address) -> Outcome<()> {
    match token_row(env, token)?.admin == caller {
        true => Ok(()),
        false => Err(Revert::error(ITIP20::Unauthorized {})),
    }
}

/// Creates tokens, which the supply records.
pub(crate) fn mint(env: &mut Env<'_>, token: Address, to: Address, amount: U256) -> Outcome<()> {
    validate_transfer(env, token, to, to)?;
    let mut row = token_row(env, token)?;
    let supply = row
        .total_supply
        .checked_add(amount)
        .filter(|supply| *supply <= SUPPLY_CAP);
    let Some(supply) = supply else {
        return Err(Revert::error(ITIP20::SupplyCapExceeded {}));
    };
    row.total_supply = supply;
    env.state.tokens.set(token, row);
    // Cannot overflow: a balance is never above the supply.
    let balance = env.state.balance(token, to).saturating_add(amount);
    env.state.balances.set((token, to), balance);
    env.emit(
        token,
        ITIP20::Transfer {
            from: Address::ZERO,
            to,
            amount,
        },
    );
    env.emit(token, ITIP20::Mint { to, amount });
    Ok(())
}

/// Destroys tokens of the caller.
pub(super) fn burn(env: &mut Env<'_>, token: Address, from: Address, amount: U256) -> Outcome<()> {
    let mut row = token_row(env, token)?;
    if row.paused {
        return Err(Revert::error(ITIP20::ContractPaused {}));
    }
    let available = env.state.balance(token, from);
    let Some(left) = available.checked_sub(amount) else {
        return Err(Revert::error(ITIP20::InsufficientBalance {
            available,
            required: amount,
            token,
        }));
    };
    env.state.balances.set((token, from), left);
    row.total_supply = row.total_supply.saturating_sub(amount);
    env.state.tokens.set(token, row);
    env.emit(
        token,
        ITIP20::Transfer {
            from,
            to: Address::ZERO,
            amount,
        },
    );
    env.emit(token, ITIP20::Burn { from, amount });
    Ok(())
}

pub(super) fn set_paused(
    env: &mut Env<'_>,
    token: Address,
    caller: Address,
    paused: bool,
) -> Outcome {
    ensure_admin(env, token, caller)?;
    let mut row = token_row(env, token)?;
    row.paused = paused;
    env.state.tokens.set(token, row);
    env.emit(
        token,
        ITIP20::PauseStateUpdate {
            updater: caller,
            isPaused: paused,
        },
    );
    Ok(Bytes::new())
}
