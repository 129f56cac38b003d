//! The calls of each operation, shared by what builds and what checks them.

use alloc::vec;
use alloc::vec::Vec;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use alloy_sol_types::SolCall;
use mpp_core::Amount;
use tempo_primitives::transaction::Call;

use crate::channel::ChannelTerms;
use crate::escrow::{DescriptorRange, IStreamChannel, ITIP20, ITIP20ChannelReserve, to_uint96};
use crate::tx::build::OpenParams;

/// One call without value.
pub(super) fn call(to: Address, call: &impl SolCall) -> Call {
    Call {
        to: TxKind::Call(to),
        value: U256::ZERO,
        input: Bytes::from(call.abi_encode()),
    }
}

/// Lets the v1 escrow take a deposit.
pub(super) fn approve(token: Address, spender: Address, amount: Amount) -> Call {
    let amount = U256::from(amount.base_units());
    call(token, &ITIP20::approveCall { spender, amount })
}

/// Opens a v1 channel.
pub(super) fn open_v1(params: &OpenParams) -> Vec<Call> {
    let open = IStreamChannel::openCall {
        payee: params.payee,
        token: params.token,
        deposit: params.deposit.base_units(),
        salt: params.salt,
        authorizedSigner: params.authorized_signer,
    };
    vec![
        approve(params.token, params.escrow, params.deposit),
        call(params.escrow, &open),
    ]
}

/// Opens a v2 channel.
pub(super) fn open_v2(params: &OpenParams) -> Result<Vec<Call>, DescriptorRange> {
    let open = ITIP20ChannelReserve::openCall {
        payee: params.payee,
        operator: params.operator,
        token: params.token,
        deposit: to_uint96(params.deposit)?,
        salt: params.salt,
        authorizedSigner: params.authorized_signer,
    };
    Ok(vec![call(params.escrow, &open)])
}

/// Adds to the deposit of a v1 channel, in the width that deployed escrows have.
pub(super) fn top_up_v1(terms: &ChannelTerms, additional: Amount) -> Vec<Call> {
    let top_up = IStreamChannel::topUp_0Call {
        channelId: terms.id(),
        additionalDeposit: U256::from(additional.base_units()),
    };
    vec![
        approve(terms.descriptor.token, terms.escrow, additional),
        call(terms.escrow, &top_up),
    ]
}

/// Adds to the deposit of a v2 channel.
pub(super) fn top_up_v2(
    terms: &ChannelTerms,
    additional: Amount,
) -> Result<Vec<Call>, DescriptorRange> {
    let top_up = ITIP20ChannelReserve::topUpCall {
        descriptor: (&terms.descriptor).into(),
        additionalDeposit: to_uint96(additional)?,
    };
    Ok(vec![call(terms.escrow, &top_up)])
}
