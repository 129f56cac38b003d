//! Transactions that a sponsor is asked to pay for, good and bad.

use std::num::NonZeroU64;

use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256, Signature, TxKind, U256, hex};
use mpp_core::{Amount, Timestamp};
use mpp_tempo::{
    LocalSigner, SessionProtocol,
    network::PATH_USD,
    tx::{FeeMode, SignedTx, TxContext, TxFees, build, gas},
};
use serde_json::{Value, json};
use tempo_primitives::{
    AASigned, TempoTransaction,
    transaction::{Call, FEE_PAYER_SIGNATURE_MARKER},
};

use super::{Computed, provenance};
use crate::account;

/// When the transactions are judged.
const NOW: u64 = 1_795_000_000;

type Change = fn(&mut TempoTransaction);

/// What is changed, and what becomes of the transaction: `paid` by a sponsor
/// of the default policy, refused by its `policy`, for its `calls`, which are
/// not exactly one open, or `malformed`.
const CASES: [(&str, &str, Change); 15] = [
    ("an honest open", "paid", |_| ()),
    ("more gas than is paid for", "policy", |tx| {
        tx.gas_limit = 2_000_001
    }),
    ("a fee per gas above 100 gwei", "policy", |tx| {
        tx.max_fee_per_gas = 100_000_000_001;
    }),
    ("a total fee above the limit", "policy", |tx| {
        tx.gas_limit = 500_001;
        tx.max_fee_per_gas = 100_000_000_000;
    }),
    ("valid for too long", "policy", |tx| {
        tx.valid_before = NonZeroU64::new(NOW.saturating_add(901));
    }),
    ("valid for ever", "policy", |tx| tx.valid_before = None),
    ("valid no more", "policy", |tx| {
        tx.valid_before = NonZeroU64::new(NOW)
    }),
    ("valid later", "policy", |tx| {
        tx.valid_after = NonZeroU64::new(NOW.saturating_add(1));
    }),
    ("a nonce that can be held back", "policy", |tx| {
        tx.nonce_key = U256::ONE
    }),
    ("an access list", "policy", |tx| {
        let item = AccessListItem {
            address: PATH_USD,
            storage_keys: [B256::ZERO].into(),
        };
        tx.access_list = AccessList([item].into());
    }),
    ("value in the call", "policy", |tx| {
        first(tx, |call| call.value = U256::ONE)
    }),
    ("a call more", "calls", |tx| {
        let extra = tx.calls.first().cloned();
        tx.calls.extend(extra);
    }),
    ("another contract", "calls", |tx| {
        first(tx, |call| {
            call.to = TxKind::Call(Address::repeat_byte(0x66))
        });
    }),
    ("bytes behind the calldata", "calls", |tx| {
        first(tx, |call| {
            call.input = [&call.input[..], &[0]].concat().into()
        });
    }),
    ("no call", "malformed", |tx| tx.calls.clear()),
];

fn first(tx: &mut TempoTransaction, change: impl FnOnce(&mut Call)) {
    if let Some(call) = tx.calls.first_mut() {
        change(call);
    }
}

pub(super) async fn compute() -> anyhow::Result<Computed> {
    let payer = account::bank()?;
    let base = honest(&payer).await?;
    let cases = CASES
        .iter()
        .map(|(name, verdict, change)| {
            let mut transaction = base.clone();
            change(&mut transaction);
            Ok(json!({
                "name": name,
                "transaction": sign(transaction, &payer),
                "verdict": verdict,
            }))
        })
        .collect::<anyhow::Result<Vec<Value>>>()?;
    let what = "Opens of a v2 channel whose fee the sender leaves to the server.";
    Ok(Computed {
        path: "security/a15-sponsored.json",
        content: json!({ "provenance": provenance(what), "now": NOW, "cases": cases }),
    })
}

/// What an honest client signs.
async fn honest(payer: &LocalSigner) -> anyhow::Result<TempoTransaction> {
    let context = TxContext {
        chain_id: 42_431,
        now: Timestamp::from_secs(i64::try_from(NOW)?),
        valid_for: std::time::Duration::from_secs(25),
        fees: TxFees {
            max_fee_per_gas: 20_000_000_000,
            max_priority_fee_per_gas: 0,
            gas_limit: gas::open(SessionProtocol::V2),
        },
        fee_mode: FeeMode::SelfPaid {
            fee_token: PATH_USD,
        },
        valid_after: None,
    };
    let protocol = SessionProtocol::V2;
    let params = build::OpenParams {
        protocol,
        escrow: mpp_tempo::network::CHANNEL_RESERVE,
        payee: Address::repeat_byte(0x22),
        token: PATH_USD,
        operator: Address::ZERO,
        deposit: Amount::new(1_000_000),
        salt: B256::repeat_byte(0x33),
        authorized_signer: Address::ZERO,
    };
    let own = build::open(&context, &params)?.sign(payer).await?.encode();
    let own = AASigned::rlp_decode(&mut own.get(1..).unwrap_or_default())?;
    let (mut transaction, _, _) = own.into_parts();
    transaction.fee_token = None;
    transaction.fee_payer_signature = Some(FEE_PAYER_SIGNATURE_MARKER);
    Ok(transaction)
}

/// Signs whatever it is, as the envelope that asks for a fee payer.
fn sign(transaction: TempoTransaction, payer: &LocalSigner) -> String {
    let own = payer.sign_digest_sync(&transaction.signature_hash());
    let signature = Signature::new(
        U256::from_be_bytes(*own.r()),
        U256::from_be_bytes(*own.s()),
        own.y_is_odd(),
    );
    let mut encoded = Vec::new();
    AASigned::new_unhashed(transaction, signature.into()).eip2718_encode(&mut encoded);
    // What can not be read stays as it is.
    match SignedTx::decode(&encoded) {
        Ok(signed) => hex::encode_prefixed(signed.encode()),
        Err(_) => hex::encode_prefixed(encoded),
    }
}
