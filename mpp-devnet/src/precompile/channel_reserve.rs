//! The v2 channel reserve precompile (TIP-1034).

mod deposit;
mod descriptor;
mod payout;
mod store;
mod voucher;

use super::revert::{Outcome, Revert};
use super::{CLOSE_GRACE_SECS, Env, decode};
use alloy_primitives::aliases::U96;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall;
use tempo_contracts::precompiles::ITIP20ChannelReserve::{
    self as abi, ITIP20ChannelReserveCalls as Calls,
};

/// Runs one call to the reserve.
pub(crate) fn call(env: &mut Env<'_>, caller: Address, input: &[u8]) -> Outcome {
    match decode::<Calls>(input)? {
        Calls::open(c) => {
            let id = deposit::open(env, caller, &c)?;
            Ok(abi::openCall::abi_encode_returns(&id).into())
        }
        Calls::topUp(c) => done(deposit::top_up(env, caller, &c)),
        Calls::settle(c) => done(payout::settle(env, caller, &c)),
        Calls::close(c) => done(payout::close(env, caller, &c)),
        Calls::requestClose(c) => done(payout::request_close(env, caller, &c.descriptor)),
        Calls::withdraw(c) => done(payout::withdraw(env, caller, &c.descriptor)),
        view => view_call(env, &view).ok_or_else(|| Revert::unknown_selector(input)),
    }
}

fn done(result: Outcome<()>) -> Outcome {
    result.map(|()| Bytes::new())
}

fn view_call(env: &Env<'_>, view: &Calls) -> Option<Bytes> {
    let answer = match view {
        Calls::getChannelState(c) => {
            abi::getChannelStateCall::abi_encode_returns(&shape(env, c.channelId))
        }
        Calls::getChannelStatesBatch(c) => {
            let states = c.channelIds.iter().map(|id| shape(env, *id)).collect();
            abi::getChannelStatesBatchCall::abi_encode_returns(&states)
        }
        Calls::getChannel(c) => {
            let state = shape(env, descriptor::id(env, &c.descriptor));
            let channel = abi::Channel {
                descriptor: c.descriptor.clone(),
                state,
            };
            abi::getChannelCall::abi_encode_returns(&channel)
        }
        Calls::computeChannelId(c) => {
            let descriptor = abi::ChannelDescriptor {
                payer: c.payer,
                payee: c.payee,
                operator: c.operator,
                token: c.token,
                salt: c.salt,
                authorizedSigner: c.authorizedSigner,
                expiringNonceHash: c.expiringNonceHash,
            };
            abi::computeChannelIdCall::abi_encode_returns(&descriptor::id(env, &descriptor))
        }
        Calls::getVoucherDigest(c) => {
            let digest = voucher::digest(env, c.channelId, U256::from(c.cumulativeAmount));
            abi::getVoucherDigestCall::abi_encode_returns(&digest)
        }
        Calls::domainSeparator(_) => {
            abi::domainSeparatorCall::abi_encode_returns(&voucher::domain_separator(env))
        }
        Calls::VOUCHER_TYPEHASH(_) => {
            abi::VOUCHER_TYPEHASHCall::abi_encode_returns(&voucher::type_hash())
        }
        Calls::CLOSE_GRACE_PERIOD(_) => {
            abi::CLOSE_GRACE_PERIODCall::abi_encode_returns(&CLOSE_GRACE_SECS)
        }
        // Storage credits belong to the real gas schedule, which this node does not have.
        _ => return None,
    };
    Some(answer.into())
}

fn shape(env: &Env<'_>, id: B256) -> abi::ChannelState {
    let channel = env.state.reserves.get(&id).copied().unwrap_or_default();
    abi::ChannelState {
        settled: U96::saturating_from(channel.settled),
        deposit: U96::saturating_from(channel.deposit),
        closeRequestedAt: channel.close_requested_at,
    }
}

#[cfg(test)]
mod tests;
