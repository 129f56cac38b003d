//! The rules of the v2 reserve.

use super::descriptor::{ensure_payee_or_operator, ensure_payer, id as channel_id};
use super::voucher;
use crate::chain::state::ReserveChannel;
use crate::precompile::revert::{Outcome, Revert};
use crate::precompile::{CLOSE_GRACE_SECS, Env, tip20};
use alloy_primitives::aliases::U96;
use alloy_primitives::{Address, B256, U256};
use tempo_contracts::precompiles::ITIP20;
use tempo_contracts::precompiles::ITIP20ChannelReserve::{self as abi, ChannelDescriptor};
use tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE;
use tempo_primitives::TempoAddressExt;

/// The largest amount a channel holds, 2^96 - 1.
const MAX_DEPOSIT: u128 = (1 << 96) - 1;

fn load(env: &Env<'_>, id: B256) -> Outcome<ReserveChannel> {
    env.state
        .reserves
        .get(&id)
        .copied()
        .ok_or_else(|| Revert::error(abi::ChannelNotFound {}))
}

fn pay(env: &mut Env<'_>, token: Address, to: Address, amount: u128) -> Outcome<()> {
    match amount {
        0 => Ok(()),
        amount => tip20::move_tokens(env, token, RESERVE, to, U256::from(amount)),
    }
}

fn narrow(amount: u128) -> U96 {
    U96::saturating_from(amount)
}

pub(super) fn open(env: &mut Env<'_>, payer: Address, call: &abi::openCall) -> Outcome<B256> {
    let unusable_operator = call.operator.is_zero() || call.operator.is_virtual();
    if call.payee.is_zero()
        || call.payee.is_tip20()
        || (call.payee.is_virtual() && unusable_operator)
    {
        return Err(Revert::error(abi::InvalidPayee {}));
    }
    if !call.token.is_tip20() {
        return Err(Revert::error(ITIP20::InvalidToken {}));
    }
    if call.deposit.is_zero() {
        return Err(Revert::error(abi::ZeroDeposit {}));
    }
    if env.open_context.is_zero() {
        return Err(Revert::error(abi::ExpiringNonceHashNotSet {}));
    }
    let descriptor = ChannelDescriptor {
        payer,
        payee: call.payee,
        operator: call.operator,
        token: call.token,
        salt: call.salt,
        authorizedSigner: call.authorizedSigner,
        expiringNonceHash: env.open_context,
    };
    let id = channel_id(env, &descriptor);
    // The second condition keeps one transaction from closing a channel and opening the same id again.
    if env.state.reserves.get(&id).is_some() || env.opened.contains(&id) {
        return Err(Revert::error(abi::ChannelAlreadyExists {}));
    }
    tip20::ensure_not_frozen(env, &[call.payee])?;
    tip20::system_transfer_from(env, call.token, RESERVE, payer, U256::from(call.deposit))?;
    let channel = ReserveChannel {
        settled: 0,
        deposit: call.deposit.to(),
        close_requested_at: 0,
    };
    env.state.reserves.set(id, channel);
    env.opened.insert(id);
    let event = abi::ChannelOpened {
        channelId: id,
        payer,
        payee: call.payee,
        operator: call.operator,
        token: call.token,
        authorizedSigner: call.authorizedSigner,
        salt: call.salt,
        expiringNonceHash: env.open_context,
        deposit: call.deposit,
    };
    env.emit(RESERVE, event);
    Ok(id)
}

/// Adds to the deposit and cancels a pending close request; a zero amount only does the latter.
pub(super) fn top_up(env: &mut Env<'_>, caller: Address, call: &abi::topUpCall) -> Outcome<()> {
    let ChannelDescriptor {
        payer,
        payee,
        token,
        ..
    } = call.descriptor;
    let id = channel_id(env, &call.descriptor);
    let mut channel = load(env, id)?;
    ensure_payer(&call.descriptor, caller)?;
    let additional: u128 = call.additionalDeposit.to();
    let cancelled = channel.close_requested_at != 0;
    if additional == 0 && !cancelled {
        return Ok(());
    }
    if additional > 0 {
        let deposit = channel
            .deposit
            .checked_add(additional)
            .filter(|sum| *sum <= MAX_DEPOSIT);
        channel.deposit = deposit.ok_or_else(|| Revert::error(abi::DepositOverflow {}))?;
        tip20::ensure_not_frozen(env, &[payee])?;
        tip20::system_transfer_from(env, token, RESERVE, payer, U256::from(additional))?;
    }
    channel.close_requested_at = 0;
    env.state.reserves.set(id, channel);
    if cancelled {
        env.emit(
            RESERVE,
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
        additionalDeposit: call.additionalDeposit,
        newDeposit: narrow(channel.deposit),
    };
    env.emit(RESERVE, event);
    Ok(())
}

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
