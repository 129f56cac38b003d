//! Money out of a v2 channel: settling, closing and withdrawing.

use super::descriptor::{ensure_payee_or_operator, ensure_payer, id as channel_id};
use super::store::{load, narrow, pay};
use super::voucher;
use crate::chain::state::ReserveChannel;
use crate::precompile::revert::{Outcome, Revert};
use crate::precompile::{CLOSE_GRACE_SECS, Env, tip20};
use alloy_primitives::{Address, B256, U256};
use tempo_contracts::precompiles::ITIP20ChannelReserve::{self as abi, ChannelDescriptor};
use tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE;

/// Pays the payee the difference between a higher voucher and what was settled before.
pub(super) fn settle(env: &mut Env<'_>, caller: Address, call: &abi::settleCall) -> Outcome<()> {
    let ChannelDescriptor {
        payer,
        payee,
        token,
        ..
    } = call.descriptor;
    let id = channel_id(env, &call.descriptor);
    let mut channel = load(env, id)?;
    ensure_payee_or_operator(&call.descriptor, caller)?;
    let cumulative: u128 = call.cumulativeAmount.to();
    if cumulative > channel.deposit {
        return Err(Revert::error(abi::AmountExceedsDeposit {}));
    }
    let delta = match cumulative.checked_sub(channel.settled) {
        None | Some(0) => return Err(Revert::error(abi::AmountNotIncreasing {})),
        Some(delta) => delta,
    };
    voucher::verify(
        env,
        &call.descriptor,
        id,
        U256::from(cumulative),
        &call.signature,
    )?;
    tip20::ensure_not_frozen(env, &[payer])?;
    channel.settled = cumulative;
    env.state.reserves.set(id, channel);
    pay(env, token, payee, delta)?;
    let event = abi::Settled {
        channelId: id,
        payer,
        payee,
        cumulativeAmount: call.cumulativeAmount,
        deltaPaid: narrow(delta),
        newSettled: call.cumulativeAmount,
    };
    env.emit(RESERVE, event);
    Ok(())
}

/// Pays the captured amount, which the voucher must cover, and refunds the rest.
pub(super) fn close(env: &mut Env<'_>, caller: Address, call: &abi::closeCall) -> Outcome<()> {
    let id = channel_id(env, &call.descriptor);
    let channel = load(env, id)?;
    ensure_payee_or_operator(&call.descriptor, caller)?;
    let (cumulative, capture): (u128, u128) = (call.cumulativeAmount.to(), call.captureAmount.to());
    if capture < channel.settled || capture > cumulative {
        return Err(Revert::error(abi::CaptureAmountInvalid {}));
    }
    if capture > channel.deposit {
        return Err(Revert::error(abi::AmountExceedsDeposit {}));
    }
    let delta = capture.saturating_sub(channel.settled);
    if delta > 0 {
        voucher::verify(
            env,
            &call.descriptor,
            id,
            U256::from(cumulative),
            &call.signature,
        )?;
        tip20::ensure_not_frozen(env, &[call.descriptor.payer])?;
    }
    finish(env, id, &call.descriptor, channel, capture)
}

/// Starts the grace period after which the payer may withdraw; repeating it changes nothing.
pub(super) fn request_close(
    env: &mut Env<'_>,
    caller: Address,
    descriptor: &ChannelDescriptor,
) -> Outcome<()> {
    let id = channel_id(env, descriptor);
    let mut channel = load(env, id)?;
    ensure_payer(descriptor, caller)?;
    if channel.close_requested_at != 0 {
        return Ok(());
    }
    channel.close_requested_at = u32::try_from(env.now).unwrap_or(u32::MAX);
    env.state.reserves.set(id, channel);
    let event = abi::CloseRequested {
        channelId: id,
        payer: descriptor.payer,
        payee: descriptor.payee,
        closeGraceEnd: U256::from(env.now.saturating_add(CLOSE_GRACE_SECS)),
    };
    env.emit(RESERVE, event);
    Ok(())
}

/// Returns what is left to the payer once the grace period is over.
pub(super) fn withdraw(
    env: &mut Env<'_>,
    caller: Address,
    descriptor: &ChannelDescriptor,
) -> Outcome<()> {
    let id = channel_id(env, descriptor);
    let channel = load(env, id)?;
    ensure_payer(descriptor, caller)?;
    let ready = u64::from(channel.close_requested_at).saturating_add(CLOSE_GRACE_SECS);
    if channel.close_requested_at == 0 || env.now < ready {
        return Err(Revert::error(abi::CloseNotReady {}));
    }
    let settled = channel.settled;
    finish(env, id, descriptor, channel, settled)
}

/// Deletes the slot, pays both sides and logs the end; `captured` is the payee's total.
fn finish(
    env: &mut Env<'_>,
    id: B256,
    descriptor: &ChannelDescriptor,
    channel: ReserveChannel,
    captured: u128,
) -> Outcome<()> {
    let refund = channel.deposit.saturating_sub(captured);
    env.state.reserves.remove(&id);
    pay(
        env,
        descriptor.token,
        descriptor.payee,
        captured.saturating_sub(channel.settled),
    )?;
    pay(env, descriptor.token, descriptor.payer, refund)?;
    let event = abi::ChannelClosed {
        channelId: id,
        payer: descriptor.payer,
        payee: descriptor.payee,
        settledToPayee: narrow(captured),
        refundedToPayer: narrow(refund),
    };
    env.emit(RESERVE, event);
    Ok(())
}
