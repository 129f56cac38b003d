//! A fee payer's signature by `eth_fillTransaction`: asked for with the members of the
//! transaction, put into the transaction that its sender has signed.

use alloc::string::String;
use alloc::vec::Vec;
use alloy_primitives::{Address, Bytes, Signature, U256};
use serde_json::{Map, Value, json};
use tempo_primitives::{AASigned, TempoTransaction};

use super::read;
use crate::signer::SignerError;
use crate::tx::{CosignError, SignedTx, Sponsorship};

/// The request: everything that the fee payer signs, without the sender's signature.
///
/// # Errors
/// [`CosignError`] for members that this request has no place for.
pub(super) fn request(asked: &SignedTx) -> Result<Value, CosignError> {
    if asked.has_access_list() || asked.has_authorizations() {
        let why = "the fee payer can not be asked for access lists and authorizations";
        return Err(SignerError::Refused(String::from(why)).into());
    }
    let mut request = Map::new();
    let mut put = |name: &str, value: Value| drop(request.insert(String::from(name), value));
    put("type", json!("0x76"));
    put("from", json!(asked.sender()));
    put("feePayer", json!(true));
    put("calls", calls(asked));
    for (name, quantity) in quantities(asked.tx()) {
        put(name, json!(quantity));
    }
    Ok(Value::Object(request))
}

/// Puts the fee payer's members of the answer into the transaction that was asked for, unless
/// the answer shows that another one was signed.
///
/// # Errors
/// [`CosignError::Altered`].
pub(super) fn complete(asked: &SignedTx, answer: &Value) -> Result<SignedTx, CosignError> {
    let completed = try_complete(asked, answer).ok_or(CosignError::Altered)?;
    // What is named must be what has signed. A signature of anything else is one of nobody.
    let named = answer.get("feePayer").and_then(read::address);
    match completed.sponsorship() {
        Sponsorship::Signed(payer) if named.is_none_or(|named| named == payer) => Ok(completed),
        _ => Err(CosignError::Altered),
    }
}

fn try_complete(asked: &SignedTx, answer: &Value) -> Option<SignedTx> {
    for (name, quantity) in quantities(asked.tx()) {
        let answered = answer.get(name).filter(|value| !value.is_null());
        if answered.is_some_and(|value| read::large(value) != Some(quantity)) {
            return None;
        }
    }
    if let Some(answered) = answer.get("calls").and_then(Value::as_array) {
        let answered: Option<Vec<_>> = answered.iter().map(call).collect();
        if answered? != own_calls(asked) {
            return None;
        }
    }
    let fee_token = answer.get("feeToken").and_then(read::address)?;
    let signature = fee_payer_signature(answer.get("feePayerSignature")?)?;
    let (mut tx, own, _) = asked.clone().into_inner().into_parts();
    tx.fee_token = Some(fee_token);
    tx.fee_payer_signature = Some(signature);
    let mut encoded = Vec::new();
    AASigned::new_unhashed(tx, own).eip2718_encode(&mut encoded);
    // Decoded anew: who the fee payer is follows from the signature.
    SignedTx::decode(&encoded).ok()
}

/// The numbers of a transaction, by the names that nodes give them.
fn quantities(tx: &TempoTransaction) -> Vec<(&'static str, U256)> {
    let until = |name, end: Option<core::num::NonZeroU64>| Some((name, U256::from(end?.get())));
    let always = [
        ("chainId", U256::from(tx.chain_id)),
        ("gas", U256::from(tx.gas_limit)),
        ("maxFeePerGas", U256::from(tx.max_fee_per_gas)),
        (
            "maxPriorityFeePerGas",
            U256::from(tx.max_priority_fee_per_gas),
        ),
        ("nonceKey", tx.nonce_key),
        ("nonce", U256::from(tx.nonce)),
    ];
    let windows = [
        until("validBefore", tx.valid_before),
        until("validAfter", tx.valid_after),
    ];
    always
        .into_iter()
        .chain(windows.into_iter().flatten())
        .collect()
}

fn own_calls(asked: &SignedTx) -> Vec<(Option<Address>, Bytes)> {
    asked.calls().map(|call| (call.to, call.input)).collect()
}

fn calls(asked: &SignedTx) -> Value {
    let calls = asked
        .calls()
        .map(|call| json!({"to": call.to, "data": call.input, "value": call.value}));
    Value::Array(calls.collect())
}

fn call(answered: &Value) -> Option<(Option<Address>, Bytes)> {
    let input = answered.get("data").or_else(|| answered.get("input"));
    let to = answered.get("to").and_then(read::address);
    Some((to, read::bytes(input?)?))
}

/// `{r, s, yParity}`, each a quantity.
fn fee_payer_signature(answered: &Value) -> Option<Signature> {
    let parity = read::quantity(answered.get("yParity").or_else(|| answered.get("v"))?)?;
    let is_odd = match parity {
        0 | 27 => false,
        1 | 28 => true,
        _ => return None,
    };
    let word = |name| answered.get(name).and_then(read::large);
    Some(Signature::new(word("r")?, word("s")?, is_odd))
}
