//! The rules of the v1 escrow.

use super::abi::IStreamEscrow as abi;
use super::voucher;
use crate::chain::state::StreamChannel;
use crate::precompile::revert::{Outcome, Revert};
use crate::precompile::{CLOSE_GRACE_SECS, Env, tip20};
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

fn load(env: &Env<'_>, id: B256) -> Outcome<StreamChannel> {
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

fn pull(env: &mut Env<'_>, token: Address, from: Address, amount: u128) -> Outcome<()> {
    let call = ITIP20::transferFromCall {
        from,
        to: env.stream_channel,
        amount: U256::from(amount),
    };
    call_token(env, token, &call)
}

fn pay(env: &mut Env<'_>, token: Address, to: Address, amount: u128) -> Outcome<()> {
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

/// Pays the payee the difference between a higher voucher and what was settled before.
pub(super) fn settle(env: &mut Env<'_>, caller: Address, call: &abi::settleCall) -> Outcome<()> {
    let mut channel = load(env, call.channelId)?;
    if caller != channel.payee {
        return Err(Revert::error(abi::NotPayee {}));
    }
    if call.cumulativeAmount > channel.deposit {
        return Err(Revert::error(abi::AmountExceedsDeposit {}));
    }
    let delta = match call.cumulativeAmount.checked_sub(channel.settled) {
        None | Some(0) => return Err(Revert::error(abi::AmountNotIncreasing {})),
        Some(delta) => delta,
    };
    voucher::verify(
        env,
        &channel,
        call.channelId,
        call.cumulativeAmount,
        &call.signature,
    )?;
    channel.settled = call.cumulativeAmount;
    let (token, payer, payee) = (channel.token, channel.payer, channel.payee);
    env.state.streams.set(call.channelId, channel);
    pay(env, token, payee, delta)?;
    let event = abi::Settled {
        channelId: call.channelId,
        payer,
        payee,
        cumulativeAmount: U256::from(call.cumulativeAmount),
        deltaPaid: U256::from(delta),
        newSettled: U256::from(call.cumulativeAmount),
    };
    env.emit(env.stream_channel, event);
    Ok(())
}

/// Pays the full voucher amount and refunds the rest; there is no separate capture in v1.
pub(super) fn close(env: &mut Env<'_>, caller: Address, call: &abi::closeCall) -> Outcome<()> {
    let channel = load(env, call.channelId)?;
    if caller != channel.payee {
        return Err(Revert::error(abi::NotPayee {}));
    }
    let mut settled = channel.settled;
    let delta = call.cumulativeAmount.saturating_sub(settled);
    // At or below the settled amount nothing more is paid, so no voucher is needed.
    if delta > 0 {
        if call.cumulativeAmount > channel.deposit {
            return Err(Revert::error(abi::AmountExceedsDeposit {}));
        }
        voucher::verify(
            env,
            &channel,
            call.channelId,
            call.cumulativeAmount,
            &call.signature,
        )?;
        settled = call.cumulativeAmount;
    }
    finalize(env, call.channelId, &channel, delta, settled)
}

/// Starts the grace period after which the payer may withdraw; repeating it changes nothing.
pub(super) fn request_close(env: &mut Env<'_>, caller: Address, id: B256) -> Outcome<()> {
    let mut channel = load(env, id)?;
    if caller != channel.payer {
        return Err(Revert::error(abi::NotPayer {}));
    }
    if channel.close_requested_at != 0 {
        return Ok(());
    }
    channel.close_requested_at = env.now;
    let (payer, payee) = (channel.payer, channel.payee);
    env.state.streams.set(id, channel);
    let end = U256::from(env.now.saturating_add(CLOSE_GRACE_SECS));
    env.emit(
        env.stream_channel,
        abi::CloseRequested {
            channelId: id,
            payer,
            payee,
            closeGraceEnd: end,
        },
    );
    Ok(())
}

/// Returns what is left to the payer once the grace period is over.
pub(super) fn withdraw(env: &mut Env<'_>, caller: Address, id: B256) -> Outcome<()> {
    let channel = load(env, id)?;
    if caller != channel.payer {
        return Err(Revert::error(abi::NotPayer {}));
    }
    let ready = channel.close_requested_at.saturating_add(CLOSE_GRACE_SECS);
    if channel.close_requested_at == 0 || env.now < ready {
        return Err(Revert::error(abi::CloseNotReady {}));
    }
    let settled = channel.settled;
    finalize(env, id, &channel, 0, settled)
}

/// Zeroes the channel but for its flag, pays both sides and logs the end.
fn finalize(
    env: &mut Env<'_>,
    id: B256,
    channel: &StreamChannel,
    delta: u128,
    settled: u128,
) -> Outcome<()> {
    let refund = channel.deposit.saturating_sub(settled);
    env.state.streams.set(
        id,
        StreamChannel {
            finalized: true,
            ..StreamChannel::default()
        },
    );
    pay(env, channel.token, channel.payee, delta)?;
    pay(env, channel.token, channel.payer, refund)?;
    let event = abi::ChannelClosed {
        channelId: id,
        payer: channel.payer,
        payee: channel.payee,
        settledToPayee: U256::from(settled),
        refundedToPayer: U256::from(refund),
    };
    env.emit(env.stream_channel, event);
    Ok(())
}
