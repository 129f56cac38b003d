//! Sending transactions.

use super::error::{Answer, RpcError};
use super::params::Params;
use super::render;
use crate::devnet::Devnet;
use crate::lock;
use alloy_primitives::{B256, Bytes};
use core::time::Duration;
use serde_json::json;

/// What became of a send.
pub(crate) enum Sent {
    /// The caller gets this.
    Answered(Answer),
    /// The transaction was taken but the answer is lost on its way.
    Lost,
}

/// `eth_sendRawTransaction`: the hash, at once.
pub(crate) fn send(devnet: &Devnet, params: &Params) -> Sent {
    match submit(devnet, params) {
        Ok((_, true)) => Sent::Lost,
        Ok((hash, false)) => Sent::Answered(Ok(json!(hash))),
        Err(error) => Sent::Answered(Err(error)),
    }
}

/// `eth_sendRawTransactionSync` (EIP-7966): the receipt, or an error with the hash when it does not come in time.
/// The second parameter shortens the wait (milliseconds).
pub(crate) async fn send_sync(devnet: &Devnet, params: &Params) -> Sent {
    let (hash, lost) = match submit(devnet, params) {
        Ok(taken) => taken,
        Err(error) => return Sent::Answered(Err(error)),
    };
    if lost {
        return Sent::Lost;
    }
    let longest = devnet.config().sync_timeout;
    let asked = match params.quantity(1) {
        Ok(asked) => asked.map(Duration::from_millis),
        Err(error) => return Sent::Answered(Err(error)),
    };
    let limit = asked.map_or(longest, |asked| asked.min(longest));
    let mined = devnet.wait_mined(hash, limit).await;
    Sent::Answered(match mined {
        Some(receipt) => Ok(render::receipt(&receipt)),
        None => Err(RpcError::sync_timeout(hash)),
    })
}

fn submit(devnet: &Devnet, params: &Params) -> Result<(B256, bool), RpcError> {
    let raw: Bytes = params.required(0, "raw transaction")?;
    let mut node = lock(&devnet.shared.node);
    let hash = node.submit(&raw)?;
    Ok((hash, node.faults.loses_response()))
}
