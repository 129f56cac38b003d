//! Transactions: recordings of deployed peers, building, encodings, checks and policy.

use core::time::Duration;

use alloc::vec::Vec;

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use mpp_core::{Amount, Timestamp};
use tempo_primitives::transaction::{Call, PrimitiveSignature};
use tempo_primitives::{AASigned, TempoTransaction};

use super::build::OpenParams;
use super::*;
use crate::channel::{ChannelTerms, SessionProtocol};
use crate::network::PATH_USD;
use crate::signer::{LocalSigner, Signer};
use crate::testing::{payer, sponsor, terms_signed_by};

mod building;
mod checking;
mod encoding;
mod recorded;
mod settling;
mod sponsoring;

const NOW: i64 = 1_795_172_500;

fn context(fee_mode: FeeMode) -> TxContext {
    TxContext {
        chain_id: 42431,
        now: Timestamp::from_secs(NOW),
        valid_for: Duration::from_secs(25),
        fees: TxFees {
            max_fee_per_gas: 25_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            gas_limit: 2_000_000,
        },
        fee_mode,
        valid_after: Some(12_345),
    }
}

fn self_paid() -> TxContext {
    context(FeeMode::SelfPaid {
        fee_token: PATH_USD,
    })
}

fn sponsored() -> TxContext {
    context(FeeMode::Sponsored)
}

fn params(protocol: SessionProtocol) -> OpenParams {
    let terms = terms(protocol);
    OpenParams {
        protocol,
        escrow: terms.escrow,
        payee: terms.descriptor.payee,
        token: PATH_USD,
        operator: Address::ZERO,
        deposit: Amount::new(10_000),
        salt: terms.descriptor.salt,
        authorized_signer: Address::repeat_byte(5),
    }
}

/// Terms of a channel of the payer of the recordings.
fn terms(protocol: SessionProtocol) -> ChannelTerms {
    terms_signed_by(protocol, payer().address())
}

/// Signs any transaction, however wrong.
fn sign(tx: TempoTransaction, signer: &LocalSigner) -> SignedTx {
    let signature = signer.sign_digest_sync(&tx.signature_hash());
    let signature = PrimitiveSignature::Secp256k1(envelope::to_alloy(&signature));
    let signed = AASigned::new_unhashed(tx, tempo_primitives::TempoSignature::Primitive(signature));
    let mut bytes = Vec::new();
    signed.eip2718_encode(&mut bytes);
    SignedTx::decode(&bytes).unwrap()
}

/// Builds an open transaction of the payer, changes it, and signs it.
fn altered_open(
    context: &TxContext,
    protocol: SessionProtocol,
    change: impl FnOnce(&mut TempoTransaction),
) -> SignedTx {
    let mut tx = build::open(context, &params(protocol))
        .unwrap()
        .into_inner();
    change(&mut tx);
    sign(tx, &payer())
}
