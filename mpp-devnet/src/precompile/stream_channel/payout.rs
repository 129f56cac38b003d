//! Money out of a v1 channel: settling, closing and withdrawing.

use super::abi::IStreamEscrow as abi;
use super::store::{load, pay};
use super::voucher;
use crate::chain::state::StreamChannel;
use crate::precompile::revert::{Outcome, Revert};
use crate::precompile::{CLOSE_GRACE_SECS, Env};
use alloy_primitives::{Address, B256, U256};

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
