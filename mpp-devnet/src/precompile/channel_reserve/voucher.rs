//! Voucher digests and signatures as the v2 reserve checks them.

use crate::precompile::Env;
use crate::precompile::revert::{Outcome, Revert};
use alloy_primitives::{B256, U256, keccak256};
use alloy_sol_types::SolValue;
use tempo_contracts::precompiles::ITIP20ChannelReserve::{self as abi, ChannelDescriptor};
use tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE;
use tempo_primitives::transaction::PrimitiveSignature;

pub(super) fn type_hash() -> B256 {
    keccak256("Voucher(bytes32 channelId,uint96 cumulativeAmount)")
}

pub(super) fn domain_separator(env: &Env<'_>) -> B256 {
    crate::precompile::eip712_domain("TIP20 Channel Reserve", env.chain_id, RESERVE)
}

pub(super) fn digest(env: &Env<'_>, id: B256, cumulative: U256) -> B256 {
    let message = keccak256((type_hash(), id, cumulative).abi_encode());
    crate::precompile::eip712_digest(domain_separator(env), message)
}

/// Checks a TIP-1020 signature: 65 bytes of secp256k1, P-256 or WebAuthn. The 64-byte form is unknown to the chain.
pub(super) fn verify(
    env: &Env<'_>,
    descriptor: &ChannelDescriptor,
    id: B256,
    cumulative: U256,
    signature: &[u8],
) -> Outcome<()> {
    let expected = match descriptor.authorizedSigner.is_zero() {
        true => descriptor.payer,
        false => descriptor.authorizedSigner,
    };
    let recovered = PrimitiveSignature::from_bytes(signature)
        .ok()
        .and_then(|sig| sig.recover_signer(&digest(env, id, cumulative)).ok());
    match recovered {
        Some(signer) if signer == expected => Ok(()),
        _ => Err(Revert::error(abi::InvalidSignature {})),
    }
}
