//! Slots of v2 channels and the payments the reserve makes.

use crate::chain::state::ReserveChannel;
use crate::precompile::revert::{Outcome, Revert};
use crate::precompile::{Env, tip20};
use alloy_primitives::aliases::U96;
use alloy_primitives::{Address, B256, U256};
use tempo_contracts::precompiles::ITIP20ChannelReserve as abi;
use tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE;

pub(super) fn load(env: &Env<'_>, id: B256) -> Outcome<ReserveChannel> {
    env.state
        .reserves
        .get(&id)
        .copied()
        .ok_or_else(|| Revert::error(abi::ChannelNotFound {}))
}

pub(super) fn pay(env: &mut Env<'_>, token: Address, to: Address, amount: u128) -> Outcome<()> {
    match amount {
        0 => Ok(()),
        amount => tip20::move_tokens(env, token, RESERVE, to, U256::from(amount)),
    }
}

pub(super) fn narrow(amount: u128) -> U96 {
    U96::saturating_from(amount)
}
