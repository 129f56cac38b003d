//! Reading parameters: quantities, block tags, call requests.

use super::error::RpcError;
use crate::chain::candidate::Target;
use crate::chain::node::Node;
use crate::chain::simulate::DryRun;
use alloy_primitives::{Address, B256, Bytes, U256};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Characters of a hash with its prefix, more than any number has.
const HASH_LENGTH: usize = 66;

/// The parameter list of one call. Missing trailing parameters read as null.
#[derive(Debug)]
pub(crate) struct Params(Vec<Value>);

impl Params {
    pub(crate) fn new(value: Option<Value>) -> Result<Self, RpcError> {
        match value {
            None | Some(Value::Null) => Ok(Self(Vec::new())),
            Some(Value::Array(values)) => Ok(Self(values)),
            Some(_) => Err(RpcError::invalid_params("expected an array")),
        }
    }

    pub(crate) fn raw(&self, index: usize) -> Value {
        self.0.get(index).cloned().unwrap_or(Value::Null)
    }

    pub(crate) fn required<T: DeserializeOwned>(
        &self,
        index: usize,
        what: &str,
    ) -> Result<T, RpcError> {
        serde_json::from_value(self.raw(index)).map_err(|_| RpcError::invalid_params(what))
    }

    /// A number, as a JSON number or as a hexadecimal or decimal string.
    pub(crate) fn quantity(&self, index: usize) -> Result<Option<u64>, RpcError> {
        quantity(&self.raw(index))
    }

    /// The block number a tag, a number, a hash or an EIP-1898 object stands for; `None` when there is no such block.
    pub(crate) fn block(&self, index: usize, node: &Node) -> Result<Option<u64>, RpcError> {
        let tag = self.raw(index);
        if tag.as_str().is_some_and(|text| text.len() == HASH_LENGTH) {
            return Ok(by_hash(node, self.required(index, "block hash")?));
        }
        if let Some(hash) = tag.get("blockHash") {
            let hash: B256 = serde_json::from_value(hash.clone())
                .map_err(|_| RpcError::invalid_params("block hash"))?;
            return Ok(by_hash(node, hash));
        }
        let tag = tag.get("blockNumber").cloned().unwrap_or(tag);
        let number = block_number(&tag, node)?;
        Ok((number <= node.visible_height()).then_some(number))
    }
}

/// The visible block with this hash.
pub(crate) fn by_hash(node: &Node, hash: B256) -> Option<u64> {
    let found = node.blocks.iter().rev().find(|block| block.hash == hash);
    found
        .map(|block| block.number())
        .filter(|number| *number <= node.visible_height())
}

/// The number a tag stands for, whether or not that block exists. This chain has one kind of head.
pub(crate) fn block_number(tag: &Value, node: &Node) -> Result<u64, RpcError> {
    match tag.as_str() {
        Some("earliest") => Ok(0),
        Some("latest" | "pending" | "safe" | "finalized") => Ok(node.visible_height()),
        _ => Ok(quantity(tag)?.unwrap_or_else(|| node.visible_height())),
    }
}

fn quantity(value: &Value) -> Result<Option<u64>, RpcError> {
    let malformed = || RpcError::invalid_params("expected a quantity");
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => number.as_u64().map(Some).ok_or_else(malformed),
        Value::String(text) => {
            let parsed = match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16),
                None => text.parse(),
            };
            parsed.map(Some).map_err(|_| malformed())
        }
        _ => Err(malformed()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallRequest {
    from: Option<Address>,
    to: Option<Address>,
    #[serde(default)]
    input: Option<Bytes>,
    #[serde(default)]
    data: Option<Bytes>,
    #[serde(default)]
    calls: Option<Vec<SubCall>>,
    #[serde(default)]
    nonce_key: Option<Value>,
    #[serde(default)]
    key_type: Option<String>,
    #[serde(default)]
    fee_payer: Option<Value>,
    #[serde(default)]
    fee_payer_signature: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct SubCall {
    to: Option<Address>,
    #[serde(default)]
    input: Option<Bytes>,
    #[serde(default)]
    data: Option<Bytes>,
}

/// Reads a call request: an Ethereum one with `to` and `data`, or a Tempo one with `calls`.
pub(crate) fn dry_run(value: Value) -> Result<DryRun, RpcError> {
    let request: CallRequest = serde_json::from_value(value)
        .map_err(|error| RpcError::invalid_params(&error.to_string()))?;
    let plain = request.to.map(|to| Target {
        to,
        input: request.input.or(request.data).unwrap_or_default(),
    });
    let batch = request.calls.unwrap_or_default().into_iter().map(|call| {
        let to = call
            .to
            .ok_or_else(|| RpcError::invalid_params("contract creation is not supported"))?;
        Ok(Target {
            to,
            input: call.input.or(call.data).unwrap_or_default(),
        })
    });
    let mut calls = batch.collect::<Result<Vec<_>, RpcError>>()?;
    // alloy fills `to` from the first call of a batch; a client that sets both means the batch.
    if calls.is_empty() {
        calls.extend(plain);
    }
    let sponsor = [request.fee_payer, request.fee_payer_signature];
    let sponsored = sponsor
        .iter()
        .flatten()
        .any(|value| !matches!(value, Value::Null | Value::Bool(false)));
    let nonce_key = match request.nonce_key {
        Some(Value::String(text)) => text.parse::<U256>().ok(),
        Some(Value::Number(number)) => number.as_u64().map(U256::from),
        _ => None,
    };
    Ok(DryRun {
        from: request.from.unwrap_or_default(),
        calls,
        nonce_key,
        // A WebAuthn signature's data is bounded at 2 KiB; without seeing it the bound is the safe estimate.
        signature_gas: match request.key_type.as_deref() {
            Some("p256") => 5_000,
            Some("webAuthn") => 5_000 + 16 * 2_048,
            _ => 0,
        },
        sponsored,
    })
}
