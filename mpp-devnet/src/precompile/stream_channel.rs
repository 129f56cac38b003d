//! The v1 escrow contract, `TempoStreamChannel`.

pub(crate) mod abi;
mod deposit;
mod payout;
mod store;
mod voucher;

use super::revert::{Outcome, Revert};
use super::{CLOSE_GRACE_SECS, Env, decode};
use crate::chain::state::StreamChannel;
use abi::IStreamEscrow::{self, IStreamEscrowCalls as Calls};
use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::SolCall;

/// Runs one call to the escrow.
pub(crate) fn call(env: &mut Env<'_>, caller: Address, input: &[u8]) -> Outcome {
    // A contract says nothing about a function that it does not have, unlike a precompile.
    match decode::<Calls>(input).map_err(|_| Revert::empty())? {
        Calls::open(c) => {
            let id = deposit::open(env, caller, &c)?;
            Ok(IStreamEscrow::openCall::abi_encode_returns(&id).into())
        }
        Calls::topUp_0(c) => done(deposit::top_up(
            env,
            caller,
            c.channelId,
            c.additionalDeposit,
        )),
        Calls::topUp_1(c) => {
            let additional = alloy_primitives::U256::from(c.additionalDeposit);
            done(deposit::top_up(env, caller, c.channelId, additional))
        }
        Calls::settle(c) => done(payout::settle(env, caller, &c)),
        Calls::close(c) => done(payout::close(env, caller, &c)),
        Calls::requestClose(c) => done(payout::request_close(env, caller, c.channelId)),
        Calls::withdraw(c) => done(payout::withdraw(env, caller, c.channelId)),
        view => Ok(view_call(env, &view)),
    }
}

fn done(result: Outcome<()>) -> Outcome {
    result.map(|()| Bytes::new())
}

fn view_call(env: &Env<'_>, view: &Calls) -> Bytes {
    use IStreamEscrow as abi;
    match view {
        Calls::getChannel(c) => abi::getChannelCall::abi_encode_returns(&shape(env, c.channelId)),
        Calls::getChannelsBatch(c) => {
            let channels = c.channelIds.iter().map(|id| shape(env, *id)).collect();
            abi::getChannelsBatchCall::abi_encode_returns(&channels)
        }
        Calls::computeChannelId(c) => {
            let id = store::channel_id(env, c.payer, c.payee, c.token, c.salt, c.authorizedSigner);
            abi::computeChannelIdCall::abi_encode_returns(&id)
        }
        Calls::getVoucherDigest(c) => {
            let digest = voucher::digest(env, c.channelId, c.cumulativeAmount);
            abi::getVoucherDigestCall::abi_encode_returns(&digest)
        }
        Calls::domainSeparator(_) => {
            abi::domainSeparatorCall::abi_encode_returns(&voucher::domain_separator(env))
        }
        Calls::VOUCHER_TYPEHASH(_) => {
            abi::VOUCHER_TYPEHASHCall::abi_encode_returns(&voucher::type_hash())
        }
        _ => abi::CLOSE_GRACE_PERIODCall::abi_encode_returns(&CLOSE_GRACE_SECS),
    }
    .into()
}

/// The channel in the member order deployed clients read.
fn shape(env: &Env<'_>, id: B256) -> IStreamEscrow::Channel {
    let StreamChannel {
        finalized,
        close_requested_at,
        payer,
        payee,
        token,
        authorized_signer,
        deposit,
        settled,
    } = env.state.streams.get(&id).cloned().unwrap_or_default();
    IStreamEscrow::Channel {
        finalized,
        closeRequestedAt: close_requested_at,
        payer,
        payee,
        token,
        authorizedSigner: authorized_signer,
        deposit,
        settled,
    }
}
