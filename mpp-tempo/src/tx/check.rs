//! Checks that a signed transaction does exactly what the protocol expects, and nothing else.
//!
//! Calls are compared by number, target, value and calldata; calldata must be the canonical
//! encoding of its arguments, so nothing can hide behind it (case A15).

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall;
use mpp_core::Amount;
use tempo_primitives::transaction::Call;

use super::SignedTx;
use super::build::OpenParams;
use crate::channel::{ChannelDescriptor, ChannelId, ChannelTerms, SessionProtocol};
use crate::escrow::{IStreamChannel, ITIP20, ITIP20ChannelReserve, from_uint96};

/// What an open transaction opens. The payer is the sender, from its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenCall {
    /// Terms of the channel that it will make.
    pub terms: ChannelTerms,
    /// Deposit in base units.
    pub deposit: Amount,
}

/// What a topUp transaction adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopUpCall {
    /// The channel.
    pub channel_id: ChannelId,
    /// Added amount in base units.
    pub additional: Amount,
}

/// How a transaction differs from what the protocol expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxCheckError {
    /// It is for another chain.
    #[error("transaction is for chain {actual}, not {expected}")]
    ChainId {
        /// Our chain.
        expected: u64,
        /// Its chain.
        actual: u64,
    },
    /// A v2 open needs an expiring nonce, because the channel id contains its hash.
    #[error("transaction has no expiring nonce")]
    Nonce,
    /// It has more or fewer calls.
    #[error("transaction has {actual} calls, not {expected}")]
    CallCount {
        /// Calls of the operation.
        expected: usize,
        /// Its calls.
        actual: usize,
    },
    /// A call goes to another contract, or creates one.
    #[error("transaction calls another contract")]
    Target,
    /// A call moves value.
    #[error("transaction moves value")]
    Value,
    /// A call is another function, or its calldata is not canonical.
    #[error("transaction calls another function or has surplus calldata")]
    Calldata,
    /// The approval names another spender, token or amount than the deposit.
    #[error("transaction approves something else than its deposit")]
    Approval,
    /// An amount does not fit.
    #[error("transaction amount is out of range")]
    Amount,
    /// It is about another channel.
    #[error("transaction is about another channel")]
    WrongChannel,
    /// Only the payer can add to a deposit.
    #[error("transaction is not sent by the payer")]
    WrongSender,
}

/// Checks an open transaction (draft-tempo-session-00, Open Verification 1).
///
/// Payee, token, operator and deposit are returned for comparison with the offer.
///
/// # Errors
/// [`TxCheckError`].
pub fn open(
    tx: &SignedTx,
    protocol: SessionProtocol,
    escrow: Address,
    chain_id: u64,
) -> Result<OpenCall, TxCheckError> {
    check_chain(tx, chain_id)?;
    let params = match protocol {
        SessionProtocol::V1 => open_v1(tx, escrow)?,
        SessionProtocol::V2 => open_v2(tx, escrow)?,
    };
    let terms = params.terms(chain_id, tx.sender(), tx.expiring_nonce_hash());
    Ok(OpenCall {
        terms,
        deposit: params.deposit,
    })
}

/// Checks a topUp transaction (draft-tempo-session-00, TopUp Verification 1).
///
/// # Errors
/// [`TxCheckError`].
pub fn top_up(tx: &SignedTx, terms: &ChannelTerms) -> Result<TopUpCall, TxCheckError> {
    check_chain(tx, terms.chain_id)?;
    if tx.sender() != terms.descriptor.payer {
        return Err(TxCheckError::WrongSender);
    }
    let additional = match terms.protocol {
        SessionProtocol::V1 => top_up_v1(tx, terms)?,
        SessionProtocol::V2 => top_up_v2(tx, terms)?,
    };
    Ok(TopUpCall {
        channel_id: terms.id(),
        additional,
    })
}

pub(crate) fn check_chain(tx: &SignedTx, expected: u64) -> Result<(), TxCheckError> {
    let actual = tx.chain_id();
    if actual == expected {
        Ok(())
    } else {
        Err(TxCheckError::ChainId { expected, actual })
    }
}

fn open_v1(tx: &SignedTx, escrow: Address) -> Result<OpenParams, TxCheckError> {
    let [approve, open] = exactly::<2>(tx)?;
    let open: IStreamChannel::openCall = read(open, escrow)?;
    let deposit = Amount::new(open.deposit);
    check_approval(approve, open.token, escrow, deposit)?;
    Ok(OpenParams {
        protocol: SessionProtocol::V1,
        escrow,
        payee: open.payee,
        token: open.token,
        operator: Address::ZERO,
        deposit,
        salt: open.salt,
        authorized_signer: open.authorizedSigner,
    })
}

fn open_v2(tx: &SignedTx, escrow: Address) -> Result<OpenParams, TxCheckError> {
    if !tx.has_expiring_nonce() {
        return Err(TxCheckError::Nonce);
    }
    let [open] = exactly::<1>(tx)?;
    let open: ITIP20ChannelReserve::openCall = read(open, escrow)?;
    Ok(OpenParams {
        protocol: SessionProtocol::V2,
        escrow,
        payee: open.payee,
        token: open.token,
        operator: open.operator,
        deposit: from_uint96(open.deposit),
        salt: open.salt,
        authorized_signer: open.authorizedSigner,
    })
}

/// Accepts both widths of `topUp` (PROTOCOL 5.3).
fn top_up_v1(tx: &SignedTx, terms: &ChannelTerms) -> Result<Amount, TxCheckError> {
    let [approve, call] = exactly::<2>(tx)?;
    let (channel_id, additional) = if call
        .input
        .starts_with(&IStreamChannel::topUp_1Call::SELECTOR)
    {
        let narrow: IStreamChannel::topUp_1Call = read(call, terms.escrow)?;
        (narrow.channelId, narrow.additionalDeposit)
    } else {
        let wide: IStreamChannel::topUp_0Call = read(call, terms.escrow)?;
        let additional = u128::try_from(wide.additionalDeposit);
        (
            wide.channelId,
            additional.map_err(|_| TxCheckError::Amount)?,
        )
    };
    if channel_id != terms.id() {
        return Err(TxCheckError::WrongChannel);
    }
    let additional = Amount::new(additional);
    check_approval(approve, terms.descriptor.token, terms.escrow, additional)?;
    Ok(additional)
}

fn top_up_v2(tx: &SignedTx, terms: &ChannelTerms) -> Result<Amount, TxCheckError> {
    let [call] = exactly::<1>(tx)?;
    let call: ITIP20ChannelReserve::topUpCall = read(call, terms.escrow)?;
    if ChannelDescriptor::from(&call.descriptor) != terms.descriptor {
        return Err(TxCheckError::WrongChannel);
    }
    Ok(from_uint96(call.additionalDeposit))
}

fn check_approval(
    call: &Call,
    token: Address,
    spender: Address,
    amount: Amount,
) -> Result<(), TxCheckError> {
    let approve: ITIP20::approveCall = read(call, token)?;
    if approve.spender == spender && approve.amount == U256::from(amount.base_units()) {
        Ok(())
    } else {
        Err(TxCheckError::Approval)
    }
}

/// The calls, if there are exactly `N` and none moves value.
fn exactly<const N: usize>(tx: &SignedTx) -> Result<&[Call; N], TxCheckError> {
    let calls = tx.tx().calls.as_slice();
    let fixed: &[Call; N] = calls.try_into().map_err(|_| TxCheckError::CallCount {
        expected: N,
        actual: calls.len(),
    })?;
    check_value(fixed)?;
    Ok(fixed)
}

/// No call moves value.
pub(crate) fn check_value(calls: &[Call]) -> Result<(), TxCheckError> {
    if calls.iter().any(|call| !call.value.is_zero()) {
        return Err(TxCheckError::Value);
    }
    Ok(())
}

/// Reads a call of function `C` of `target` whose calldata is exactly its encoding.
pub(crate) fn read<C: SolCall>(call: &Call, target: Address) -> Result<C, TxCheckError> {
    if call.to.to() != Some(&target) {
        return Err(TxCheckError::Target);
    }
    let decoded = C::abi_decode_validate(&call.input).map_err(|_| TxCheckError::Calldata)?;
    if decoded.abi_encode() == call.input {
        Ok(decoded)
    } else {
        Err(TxCheckError::Calldata)
    }
}
