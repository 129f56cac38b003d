//! Whether a signed transaction makes exactly the transfers of a charge.

use alloc::vec::Vec;
use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use mpp_core::Amount;
use tempo_primitives::transaction::Call;

use super::{ChargeBinding, ChargeTransfer, Matched, TransferMismatch, Transfers};
use crate::escrow::ITIP20;
use crate::tx::check::{check_chain, check_value, read};
use crate::tx::{SignedTx, TxCheckError};

/// How a transaction differs from what a charge asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChargeCheckError {
    /// It is for another chain, moves value, or calls something else than transfers.
    #[error(transparent)]
    Tx(#[from] TxCheckError),
    /// Its transfers are not those that were asked for.
    #[error(transparent)]
    Transfers(#[from] TransferMismatch),
}

/// Checks that a transaction makes the transfers of a charge in any order, and nothing else.
///
/// `transfer` and `transferWithMemo` of the currency are taken, with canonical calldata and
/// without value (cases A4, A15). The payer is the sender, from its signature. Whether somebody
/// will pay the fees is not judged here.
///
/// # Errors
/// [`ChargeCheckError`].
pub fn check(
    tx: &SignedTx,
    transfers: &Transfers,
    binding: ChargeBinding<'_>,
) -> Result<Matched, ChargeCheckError> {
    check_chain(tx, transfers.chain_id())?;
    let calls = tx.tx().calls.as_slice();
    if calls.len() != transfers.count() {
        return Err(ChargeCheckError::Tx(TxCheckError::CallCount {
            expected: transfers.count(),
            actual: calls.len(),
        }));
    }
    check_value(calls)?;
    let made: Vec<_> = calls
        .iter()
        .map(|call| read_transfer(call, transfers))
        .collect::<Result<_, _>>()?;
    Ok(transfers.match_with(&made, binding)?)
}

fn read_transfer(call: &Call, transfers: &Transfers) -> Result<ChargeTransfer, TxCheckError> {
    let token = transfers.token();
    let amount = |amount: U256| u128::try_from(amount).map_err(|_| TxCheckError::Amount);
    if call
        .input
        .starts_with(&ITIP20::transferWithMemoCall::SELECTOR)
    {
        let call: ITIP20::transferWithMemoCall = read(call, token)?;
        return Ok(ChargeTransfer {
            to: call.to,
            amount: Amount::new(amount(call.amount)?),
            memo: Some(call.memo),
        });
    }
    let call: ITIP20::transferCall = read(call, token)?;
    Ok(ChargeTransfer {
        to: call.to,
        amount: Amount::new(amount(call.amount)?),
        memo: None,
    })
}

#[cfg(test)]
mod tests;
