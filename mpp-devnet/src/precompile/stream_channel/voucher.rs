//! Voucher digests and signatures as the v1 contract checks them.

use super::abi::IStreamEscrow as abi;
use crate::chain::state::StreamChannel;
use crate::precompile::Env;
use crate::precompile::revert::{Outcome, Revert};
use alloy_consensus::crypto::secp256k1::recover_signer;
use alloy_primitives::{Address, B256, Signature, U256, keccak256};
use alloy_sol_types::SolValue;

pub(super) fn type_hash() -> B256 {
    keccak256("Voucher(bytes32 channelId,uint128 cumulativeAmount)")
}

pub(super) fn domain_separator(env: &Env<'_>) -> B256 {
    crate::precompile::eip712_domain("Tempo Stream Channel", env.chain_id, env.stream_channel)
}

pub(super) fn digest(env: &Env<'_>, id: B256, cumulative: u128) -> B256 {
    let message = keccak256((type_hash(), id, U256::from(cumulative)).abi_encode());
    crate::precompile::eip712_digest(domain_separator(env), message)
}

/// Checks that the authorized signer, or the payer when none is named, signed the amount.
pub(super) fn verify(
    env: &Env<'_>,
    channel: &StreamChannel,
    id: B256,
    cumulative: u128,
    signature: &[u8],
) -> Outcome<()> {
    let expected = match channel.authorized_signer {
        Address::ZERO => channel.payer,
        signer => signer,
    };
    let recovered =
        parse(signature).and_then(|sig| recover_signer(&sig, digest(env, id, cumulative)).ok());
    match recovered {
        Some(signer) if signer == expected => Ok(()),
        _ => Err(Revert::error(abi::InvalidSignature {})),
    }
}

/// 65 bytes with v 27 or 28, or 64 bytes of EIP-2098; `recover_signer` refuses the upper half of s.
fn parse(bytes: &[u8]) -> Option<Signature> {
    if let Ok(compact) = <[u8; 64]>::try_from(bytes) {
        let (r, vs) = compact.split_first_chunk::<32>()?;
        let vs = U256::try_from_be_slice(vs)?;
        let parity = vs.bit(255);
        return Some(Signature::new(
            U256::from_be_bytes(*r),
            vs & (U256::MAX.wrapping_shr(1)),
            parity,
        ));
    }
    let full = <[u8; 65]>::try_from(bytes).ok()?;
    let (r, rest) = full.split_first_chunk::<32>()?;
    let (s, v) = rest.split_first_chunk::<32>()?;
    let parity = match v {
        [27] => false,
        [28] => true,
        _ => return None,
    };
    Some(Signature::new(
        U256::from_be_bytes(*r),
        U256::from_be_bytes(*s),
        parity,
    ))
}
