//! Money into a v2 channel: opening and topping up.

use super::descriptor::{ensure_payer, id as channel_id};
use super::store::{load, narrow};
use crate::chain::state::ReserveChannel;
use crate::precompile::revert::{Outcome, Revert};
use crate::precompile::{Env, tip20};
use alloy_primitives::{Address, B256, U256};
use tempo_contracts::precompiles::ITIP20;
use tempo_contracts::precompiles::ITIP20ChannelReserve::{self as abi, ChannelDescriptor};
use tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE;
use tempo_primitives::TempoAddressExt;

/// The largest amount a channel holds, 2^96 - 1.
const MAX_DEPOSIT: u128 = (1 << 96) - 1;

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
