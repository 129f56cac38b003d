//! Ids of v1 channels, their slots, and the token calls the escrow makes.

use super::abi::IStreamEscrow as abi;
use crate::chain::state::StreamChannel;
use crate::precompile::revert::{Outcome, Revert};
use crate::precompile::{Env, tip20};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolValue};
use tempo_contracts::precompiles::ITIP20;

/// `keccak(abi.encode(payer, payee, token, salt, authorizedSigner, escrow, chainId))`, PROTOCOL.md 5.3.
pub(super) fn channel_id(
    env: &Env<'_>,
    payer: Address,
    payee: Address,
    token: Address,
    salt: B256,
    authorized_signer: Address,
) -> B256 {
    let chain = U256::from(env.chain_id);
    keccak256(
        (
            payer,
            payee,
            token,
            salt,
            authorized_signer,
            env.stream_channel,
            chain,
        )
            .abi_encode(),
    )
}

pub(super) fn load(env: &Env<'_>, id: B256) -> Outcome<StreamChannel> {
    match env.state.streams.get(&id) {
        None => Err(Revert::error(abi::ChannelNotFound {})),
        Some(channel) if channel.finalized => Err(Revert::error(abi::ChannelFinalized {})),
        Some(channel) => Ok(channel.clone()),
    }
}

/// An ordinary contract call to the token, with the escrow as caller; its revert data passes through.
fn call_token(env: &mut Env<'_>, token: Address, call: &impl SolCall) -> Outcome<()> {
    let escrow = env.stream_channel;
    if env.state.tokens.get(&token).is_none() {
        return Err(Revert::error(abi::TransferFailed {}));
    }
    tip20::call(env, token, escrow, &call.abi_encode()).map(|_: Bytes| ())
}

pub(super) fn pull(env: &mut Env<'_>, token: Address, from: Address, amount: u128) -> Outcome<()> {
    let call = ITIP20::transferFromCall {
        from,
        to: env.stream_channel,
        amount: U256::from(amount),
    };
    call_token(env, token, &call)
}

pub(super) fn pay(env: &mut Env<'_>, token: Address, to: Address, amount: u128) -> Outcome<()> {
    if amount == 0 {
        return Ok(());
    }
    call_token(
        env,
        token,
        &ITIP20::transferCall {
            to,
            amount: U256::from(amount),
        },
    )
}
