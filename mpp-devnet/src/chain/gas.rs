//! The gas schedule: fixed, simple, and below what the real chain charges.
//!
//! | part | gas |
//! |---|---|
//! | transaction | 21,000 |
//! | calldata | 4 per zero byte, 16 per other byte |
//! | P-256 or WebAuthn sender | 5,000 (WebAuthn also 16 per byte of its data) |
//! | nonce | 0 for the protocol nonce, 5,000 for a used key, 22,100 for a new key, 13,000 expiring |
//! | fee payer signature | 3,000 |
//! | each call | by contract and function, see [`call`] |
//!
//! A call's price does not depend on state, so an estimate is exact and a dry run never fails for gas.

use crate::chain::candidate::{Candidate, Target};
use alloy_primitives::Address;
use alloy_sol_types::SolCall;
use tempo_contracts::precompiles::{
    ITIP20, ITIP20ChannelReserve as reserve, TIP20_CHANNEL_RESERVE_ADDRESS,
};
use tempo_primitives::TempoAddressExt;
use tempo_primitives::transaction::{PrimitiveSignature, TempoSignature};

use crate::precompile::stream_channel::abi::IStreamEscrow as stream;

/// Gas of a block, which no test reaches.
pub(crate) const BLOCK_LIMIT: u64 = 500_000_000;

/// Nonce key kinds, which differ in price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NonceCost {
    Protocol,
    UsedKey,
    NewKey,
    Expiring,
}

impl NonceCost {
    const fn gas(self) -> u64 {
        match self {
            Self::Protocol => 0,
            Self::UsedKey => 5_000,
            Self::NewKey => 22_100,
            Self::Expiring => 13_000,
        }
    }
}

/// Gas before any call runs.
pub(crate) fn intrinsic(
    calls: &[Target],
    signature: u64,
    sponsored: bool,
    nonce: NonceCost,
) -> u64 {
    let calldata: u64 = calls
        .iter()
        .map(|target| {
            let per_byte = target
                .input
                .iter()
                .map(|byte| if *byte == 0 { 4u64 } else { 16 });
            per_byte.sum()
        })
        .fold(0, u64::saturating_add);
    let sponsor = if sponsored { 3_000 } else { 0 };
    [21_000, calldata, signature, sponsor, nonce.gas()]
        .into_iter()
        .fold(0, u64::saturating_add)
}

/// Gas of checking the sender's signature beyond a plain one.
pub(crate) fn signature(candidate: &Candidate) -> u64 {
    match candidate.tempo_signature() {
        Some(TempoSignature::Primitive(PrimitiveSignature::P256(_))) => 5_000,
        Some(TempoSignature::Primitive(PrimitiveSignature::WebAuthn(signature))) => {
            let data = u64::try_from(signature.webauthn_data.len()).unwrap_or(u64::MAX);
            data.saturating_mul(16).saturating_add(5_000)
        }
        _ => 0,
    }
}

/// Gas of one call.
pub(crate) fn call(stream_channel: Address, target: &Target) -> u64 {
    let Some(selector) = target.input.first_chunk::<4>().copied() else {
        return 2_600;
    };
    if target.to.is_tip20() {
        match selector {
            ITIP20::approveCall::SELECTOR => 30_000,
            _ => 40_000,
        }
    } else if target.to == stream_channel {
        match selector {
            stream::openCall::SELECTOR => 150_000,
            stream::requestCloseCall::SELECTOR => 30_000,
            _ => 70_000,
        }
    } else if target.to == TIP20_CHANNEL_RESERVE_ADDRESS {
        match selector {
            reserve::openCall::SELECTOR => 120_000,
            reserve::requestCloseCall::SELECTOR => 30_000,
            _ => 60_000,
        }
    } else {
        10_000
    }
}
