//! Fees: in which token, how much, from whom, to whom.

use crate::chain::candidate::{Candidate, Target};
use crate::chain::refusal::Refusal;
use crate::chain::state::State;
use crate::precompile::Env;
use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall;
use tempo_contracts::precompiles::{DEFAULT_FEE_TOKEN, ITIP20, TIP_FEE_MANAGER_ADDRESS};
use tempo_primitives::TempoAddressExt;
use tempo_primitives::transaction::calc_gas_balance_spending;

/// A fee taken before the calls run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prepaid {
    pub(crate) token: Address,
    pub(crate) payer: Address,
    amount: U256,
}

/// The token a transaction pays in.
///
/// Its own choice comes first, then the fee payer's standing preference, then, for an unsponsored transaction whose
/// calls are all transfers of one token, that token, and at last pathUSD.
pub(crate) fn token(state: &State, candidate: &Candidate) -> Address {
    let chosen = candidate.tempo().and_then(|tx| tx.fee_token);
    let preferred = || state.fee_tokens.get(&candidate.fee_payer).copied();
    let inferred = || match candidate.is_sponsored() {
        true => None,
        false => transferred_token(&candidate.calls),
    };
    chosen
        .or_else(preferred)
        .or_else(inferred)
        .unwrap_or(DEFAULT_FEE_TOKEN)
}

fn transferred_token(calls: &[Target]) -> Option<Address> {
    const TRANSFERS: [[u8; 4]; 2] = [
        ITIP20::transferCall::SELECTOR,
        ITIP20::transferWithMemoCall::SELECTOR,
    ];
    let token = calls.first()?.to;
    let same = calls.iter().all(|call| {
        let transfer = call
            .input
            .first_chunk()
            .is_some_and(|selector| TRANSFERS.contains(selector));
        call.to == token && transfer
    });
    (same && token.is_tip20()).then_some(token)
}

/// Whether the fee payer can pay the most this transaction may cost.
pub(crate) fn check(state: &State, candidate: &Candidate) -> Result<Address, Refusal> {
    use alloy_consensus::Transaction;
    let token = token(state, candidate);
    let Some(row) = state.tokens.get(&token) else {
        return Err(Refusal::UnknownFeeToken(token));
    };
    if row.paused {
        return Err(Refusal::FeeTokenPaused(token));
    }
    if state.is_frozen(candidate.fee_payer) {
        return Err(Refusal::FeePayerBlocked(candidate.fee_payer));
    }
    let cost =
        calc_gas_balance_spending(candidate.gas_limit(), candidate.envelope.max_fee_per_gas());
    let balance = state.balance(token, candidate.fee_payer);
    if balance < cost {
        return Err(Refusal::InsufficientFunds { balance, cost });
    }
    Ok(token)
}

/// Moves the fee for the whole gas limit to the fee manager.
pub(crate) fn collect(
    env: &mut Env<'_>,
    candidate: &Candidate,
    token: Address,
    gas_price: u128,
) -> Prepaid {
    let amount = calc_gas_balance_spending(candidate.gas_limit(), gas_price);
    shift(
        env.state,
        token,
        (candidate.fee_payer, TIP_FEE_MANAGER_ADDRESS),
        amount,
    );
    Prepaid {
        token,
        payer: candidate.fee_payer,
        amount,
    }
}

/// Gives back what the gas used did not cost and logs the rest as a transfer, also for a reverted transaction.
pub(crate) fn refund(env: &mut Env<'_>, prepaid: Prepaid, gas_used: u64, gas_price: u128) -> U256 {
    let spent = calc_gas_balance_spending(gas_used, gas_price).min(prepaid.amount);
    let rest = prepaid.amount.saturating_sub(spent);
    shift(
        env.state,
        prepaid.token,
        (TIP_FEE_MANAGER_ADDRESS, prepaid.payer),
        rest,
    );
    let event = ITIP20::Transfer {
        from: prepaid.payer,
        to: TIP_FEE_MANAGER_ADDRESS,
        amount: spent,
    };
    env.emit(prepaid.token, event);
    spent
}

/// Moves tokens without any of the checks of a transfer: the transaction was checked as a whole.
fn shift(state: &mut State, token: Address, (from, to): (Address, Address), amount: U256) {
    let amount = amount.min(state.balance(token, from));
    if amount.is_zero() || from == to {
        return;
    }
    let debited = state.balance(token, from).saturating_sub(amount);
    state.balances.set((token, from), debited);
    let credited = state.balance(token, to).saturating_add(amount);
    state.balances.set((token, to), credited);
}
