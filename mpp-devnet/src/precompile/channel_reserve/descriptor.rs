//! Channel identity in v2.

use crate::precompile::Env;
use crate::precompile::revert::{Outcome, Revert};
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolValue;
use tempo_contracts::precompiles::ITIP20ChannelReserve::{self as abi, ChannelDescriptor};
use tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE;

/// The channel id: the descriptor, this contract and this chain, hashed (PROTOCOL.md 5.3).
pub(super) fn id(env: &Env<'_>, descriptor: &ChannelDescriptor) -> B256 {
    keccak256(
        (
            descriptor.payer,
            descriptor.payee,
            descriptor.operator,
            descriptor.token,
            descriptor.salt,
            descriptor.authorizedSigner,
            descriptor.expiringNonceHash,
            RESERVE,
            U256::from(env.chain_id),
        )
            .abi_encode(),
    )
}

/// Only the payee, or an operator when one is named, settles and closes.
pub(super) fn ensure_payee_or_operator(
    descriptor: &ChannelDescriptor,
    caller: Address,
) -> Outcome<()> {
    let operator = !descriptor.operator.is_zero() && caller == descriptor.operator;
    match operator || caller == descriptor.payee {
        true => Ok(()),
        false => Err(Revert::error(abi::NotPayeeOrOperator {})),
    }
}

pub(super) fn ensure_payer(descriptor: &ChannelDescriptor, caller: Address) -> Outcome<()> {
    match caller == descriptor.payer {
        true => Ok(()),
        false => Err(Revert::error(abi::NotPayer {})),
    }
}
