//! Accounts, transactions and vouchers, built with the chain's own types.

use crate::{DevReceipt, Devnet, DevnetConfig, Refusal, TimeSource, nth_token};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use alloy_sol_types::{SolCall, SolError, SolStruct, eip712_domain};
use core::num::NonZeroU64;
use core::sync::atomic::{AtomicU64, Ordering};
use k256::ecdsa::SigningKey;
use tempo_primitives::transaction::{Call, TEMPO_EXPIRING_NONCE_KEY};
use tempo_primitives::{AASigned, TempoTransaction};

/// Chain time all suites start at.
pub(crate) const START: u64 = 1_800_000_000;
pub(crate) const CHAIN_ID: u64 = 42431;
pub(crate) const TOKEN: Address = tempo_contracts::precompiles::PATH_USD_ADDRESS;

/// Makes equal calls different transactions.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// A secp256k1 account.
#[derive(Clone)]
pub(crate) struct Actor {
    key: SigningKey,
    pub(crate) address: Address,
}

impl Actor {
    pub(crate) fn sign(&self, digest: B256) -> Signature {
        let (signature, recovery) = self.key.sign_prehash_recoverable(digest.as_slice());
        let normalized = signature.normalize_s();
        let parity = recovery.is_y_odd() != (normalized != signature);
        let (r, s) = normalized.split_bytes();
        Signature::new(U256::from_be_slice(&r), U256::from_be_slice(&s), parity)
    }
}

pub(crate) fn actor(node: &Devnet, index: usize) -> Actor {
    let account = &node.accounts()[index];
    let bytes = alloy_primitives::hex::decode(&account.private_key).unwrap();
    Actor {
        key: SigningKey::from_slice(&bytes).unwrap(),
        address: account.address,
    }
}

/// An account without funds.
pub(crate) fn stranger(seed: u8) -> Actor {
    let key = SigningKey::from_slice(&[seed; 32]).unwrap();
    let point = key.verifying_key().to_sec1_point(false);
    let address = Address::from_word(keccak256(&point.as_bytes()[1..]));
    Actor { key, address }
}

/// A chain whose clock stands at [`START`].
pub(crate) fn node() -> Devnet {
    Devnet::new(DevnetConfig {
        time: TimeSource::Fixed(START),
        ..DevnetConfig::default()
    })
}

pub(crate) fn call(to: Address, call: &impl SolCall) -> Call {
    Call {
        to: TxKind::Call(to),
        value: U256::ZERO,
        input: call.abi_encode().into(),
    }
}

/// An unsigned transaction with an expiring nonce and enough gas for anything.
pub(crate) fn transaction(node: &Devnet, calls: Vec<Call>) -> TempoTransaction {
    TempoTransaction {
        chain_id: CHAIN_ID,
        fee_token: Some(TOKEN),
        max_priority_fee_per_gas: 0,
        max_fee_per_gas: 2_000_000_000,
        gas_limit: 2_000_000,
        calls,
        nonce_key: TEMPO_EXPIRING_NONCE_KEY,
        valid_before: NonZeroU64::new(node.now() + 25),
        valid_after: NonZeroU64::new(SERIAL.fetch_add(1, Ordering::Relaxed)),
        ..TempoTransaction::default()
    }
}

pub(crate) fn signed(tx: TempoTransaction, sender: &Actor) -> AASigned {
    let signature = sender.sign(tx.signature_hash());
    tx.into_signed(signature.into())
}

pub(crate) fn encode(signed: &AASigned) -> Vec<u8> {
    let mut raw = Vec::new();
    signed.eip2718_encode(&mut raw);
    raw
}

pub(crate) fn raw(tx: TempoTransaction, sender: &Actor) -> Vec<u8> {
    encode(&signed(tx, sender))
}

/// A transaction whose fees `sponsor` pays.
pub(crate) fn sponsored(
    node: &Devnet,
    sender: &Actor,
    sponsor: &Actor,
    calls: Vec<Call>,
) -> Vec<u8> {
    let mut tx = transaction(node, calls);
    tx.fee_token = None;
    tx.fee_payer_signature = Some(tempo_primitives::transaction::FEE_PAYER_SIGNATURE_MARKER);
    let signature = sender.sign(tx.signature_hash());
    tx.fee_token = Some(TOKEN);
    tx.fee_payer_signature = Some(sponsor.sign(tx.fee_payer_signature_hash(sender.address)));
    encode(&tx.into_signed(signature.into()))
}

/// Sends calls as one transaction and returns its receipt, successful or not.
#[track_caller]
pub(crate) fn run(node: &Devnet, sender: &Actor, calls: Vec<Call>) -> DevReceipt {
    let hash = node.submit(&raw(transaction(node, calls), sender)).unwrap();
    node.receipt(hash).unwrap()
}

/// Sends one call that must succeed.
#[track_caller]
pub(crate) fn ok(
    node: &Devnet,
    sender: &Actor,
    to: Address,
    function: &impl SolCall,
) -> DevReceipt {
    let receipt = run(node, sender, vec![call(to, function)]);
    assert!(receipt.success, "reverted: {:?}", receipt.revert);
    receipt
}

/// Sends one call that must revert with exactly this error, and must change nothing but nonce and fee.
#[track_caller]
pub(crate) fn reverts<E: SolError>(
    node: &Devnet,
    sender: &Actor,
    to: Address,
    function: &impl SolCall,
    error: E,
) {
    let receipt = run(node, sender, vec![call(to, function)]);
    assert!(!receipt.success, "expected a revert");
    assert_eq!(receipt.revert, Some(Bytes::from(error.abi_encode())));
    assert_eq!(
        receipt.logs.len(),
        1,
        "a reverted transaction logs only its fee"
    );
}

#[track_caller]
pub(crate) fn refused(node: &Devnet, raw: &[u8], matches: impl FnOnce(&Refusal) -> bool) {
    let refusal = node.submit(raw).unwrap_err();
    assert!(matches(&refusal), "{refusal:?}");
}

mod v1 {
    alloy_sol_types::sol! { struct Voucher { bytes32 channelId; uint128 cumulativeAmount; } }
}
mod v2 {
    alloy_sol_types::sol! { struct Voucher { bytes32 channelId; uint96 cumulativeAmount; } }
}

/// Digest of a v1 voucher, by alloy's EIP-712 implementation.
pub(crate) fn digest_v1(id: B256, amount: u128) -> B256 {
    let domain = eip712_domain! {
        name: "Tempo Stream Channel", version: "1", chain_id: CHAIN_ID, verifying_contract: crate::STREAM_CHANNEL,
    };
    v1::Voucher {
        channelId: id,
        cumulativeAmount: amount,
    }
    .eip712_signing_hash(&domain)
}

/// Digest of a v2 voucher, by alloy's EIP-712 implementation.
pub(crate) fn digest_v2(id: B256, amount: u128) -> B256 {
    let domain = eip712_domain! {
        name: "TIP20 Channel Reserve", version: "1", chain_id: CHAIN_ID,
        verifying_contract: tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS,
    };
    let amount = alloy_primitives::aliases::U96::from(amount);
    v2::Voucher {
        channelId: id,
        cumulativeAmount: amount,
    }
    .eip712_signing_hash(&domain)
}

pub(crate) fn voucher_v1(signer: &Actor, id: B256, amount: u128) -> Bytes {
    signer
        .sign(digest_v1(id, amount))
        .as_bytes()
        .to_vec()
        .into()
}

pub(crate) fn voucher_v2(signer: &Actor, id: B256, amount: u128) -> Bytes {
    signer
        .sign(digest_v2(id, amount))
        .as_bytes()
        .to_vec()
        .into()
}

/// The same signature with the other s: valid for a lax verifier only.
pub(crate) fn high_s(signature: &Bytes) -> Bytes {
    const ORDER: U256 = alloy_primitives::uint!(
        0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256
    );
    let mut bytes = signature.to_vec();
    let s = U256::from_be_slice(&bytes[32..64]);
    bytes[32..64].copy_from_slice(&(ORDER - s).to_be_bytes::<32>());
    bytes[64] = 55 - bytes[64];
    bytes.into()
}

/// EIP-2098: the parity in the top bit of s.
pub(crate) fn compact(signature: &Bytes) -> Bytes {
    let mut bytes = signature[..64].to_vec();
    bytes[32] |= (signature[64] - 27) << 7;
    bytes.into()
}

pub(crate) fn balance(node: &Devnet, owner: Address) -> u128 {
    node.balance(TOKEN, owner).base_units()
}

/// The nth genesis token.
pub(crate) fn token(number: u64) -> Address {
    nth_token(number)
}
