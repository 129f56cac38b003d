//! Money into a v1 channel: opening and topping up.

use super::abi::IStreamEscrow as abi;
use super::store::{channel_id, load, pull};
use crate::chain::state::StreamChannel;
use crate::precompile::Env;
use crate::precompile::revert::{Outcome, Revert};
use alloy_primitives::{Address, B256, U256};

pub(super) fn open(env: &mut Env<'_>, payer: Address, call: &abi::openCall) -> Outcome<B256> {
    if call.payee.is_zero() {
        return Err(Revert::error(abi::InvalidPayee {}));
    }
    if call.token.is_zero() {
        return Err(Revert::error(abi::InvalidToken {}));
    }
    if call.deposit == 0 {
        return Err(Revert::error(abi::ZeroDeposit {}));
    }
    let id = channel_id(
        env,
        payer,
        call.payee,
        call.token,
        call.salt,
        call.authorizedSigner,
    );
    // A finalized channel keeps its flag forever, so its id can not be opened again.
    if env.state.streams.get(&id).is_some() {
        return Err(Revert::error(abi::ChannelAlreadyExists {}));
    }
    let channel = StreamChannel {
        finalized: false,
        close_requested_at: 0,
        payer,
        payee: call.payee,
        token: call.token,
        authorized_signer: call.authorizedSigner,
        deposit: call.deposit,
        settled: 0,
    };
    env.state.streams.set(id, channel);
    pull(env, call.token, payer, call.deposit)?;
    let event = abi::ChannelOpened {
        channelId: id,
        payer,
        payee: call.payee,
        token: call.token,
        authorizedSigner: call.authorizedSigner,
        salt: call.salt,
        deposit: U256::from(call.deposit),
    };
    env.emit(env.stream_channel, event);
    Ok(id)
}

/// Adds to the deposit and cancels a pending close request.
pub(super) fn top_up(
    env: &mut Env<'_>,
    caller: Address,
    id: B256,
    additional: U256,
) -> Outcome<()> {
    let mut channel = load(env, id)?;
    if caller != channel.payer {
        return Err(Revert::error(abi::NotPayer {}));
    }
    if additional.is_zero() {
        return Err(Revert::error(abi::ZeroDeposit {}));
    }
    let overflow = || Revert::error(abi::DepositOverflow {});
    let additional = u128::try_from(additional).map_err(|_| overflow())?;
    channel.deposit = channel
        .deposit
        .checked_add(additional)
        .ok_or_else(overflow)?;
    let cancelled = channel.close_requested_at != 0;
    channel.close_requested_at = 0;
    let (token, payer, payee, deposit) =
        (channel.token, channel.payer, channel.payee, channel.deposit);
    env.state.streams.set(id, channel);
    pull(env, token, payer, additional)?;
    if cancelled {
        env.emit(
            env.stream_channel,
            abi::CloseRequestCancelled {
                channelId: id,
                payer,
                payee,
            },
        );
    }
    let event = abi::TopUp {
        channelId: id,
        payer,
        payee,
        additionalDeposit: U256::from(additional),
        newDeposit: U256::from(deposit),
    };
    env.emit(env.stream_channel, event);
    Ok(())
}
