//! Sending a transaction and learning what became of it.
//!
//! The rule: a failure is reported only when the transaction can not be mined. Everything else
//! that yields no receipt is [`ChainError::Unknown`], which callers resolve by looking again.

use alloy_primitives::{B256, Bytes, keccak256};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::request::Failure;
use super::{RpcChain, read};
use crate::chain::{ChainClient, ChainError, TxReceipt};

/// JSON-RPC codes by which a node says that it did not take the transaction.
const REFUSALS: [i64; 6] = [-32700, -32600, -32601, -32602, -32000, -32003];

/// Parts of refusals that leave open whether the same transaction is already on its way.
const AMBIGUOUS: [&str; 5] = [
    "already",
    "known transaction",
    "replay",
    "timeout",
    "timed out",
];

/// A part of refusals that say that a nonce was used, perhaps by the same transaction.
const NONCE: &str = "nonce";

/// Parts of refusals that speak of an expiring nonce and mean the end of its validity: too far
/// ahead, missing, or over. None of these says that it was used.
const VALIDITY: [&str; 3] = ["valid_before", "validbefore", "invalidexpiringnonceexpiry"];

impl RpcChain {
    pub(super) async fn send(&self, raw: Bytes) -> Result<TxReceipt, ChainError> {
        let hash = keccak256(&raw);
        let sent = self.raw("eth_sendRawTransactionSync", json!([raw]));
        match timeout(self.timeouts.send, sent).await {
            Ok(Ok(answer)) => {
                if let Some(receipt) = read::receipt(&answer).filter(|read| read.hash == hash) {
                    return Ok(receipt);
                }
            }
            Ok(Err(Failure::NotSent(message))) => return Err(ChainError::unreachable(message)),
            Ok(Err(Failure::Refused { code, message })) if is_refusal(code, &message) => {
                return self.refused(hash, message).await;
            }
            Ok(Err(_)) | Err(_) => {}
        }
        self.resolve(hash).await
    }

    /// A refusal counts only if the same transaction has not been mined before.
    async fn refused(
        &self,
        hash: B256,
        message: alloc::string::String,
    ) -> Result<TxReceipt, ChainError> {
        match self.receipt(hash).await {
            Ok(Some(receipt)) => Ok(receipt),
            Ok(None) => Err(ChainError::Rejected { message }),
            Err(_) => Err(ChainError::Unknown { hash }),
        }
    }

    /// Looks for the receipt for a while.
    async fn resolve(&self, hash: B256) -> Result<TxReceipt, ChainError> {
        let look = async {
            loop {
                if let Ok(Some(receipt)) = self.receipt(hash).await {
                    return receipt;
                }
                sleep(self.timeouts.poll).await;
            }
        };
        timeout(self.timeouts.resolve, look)
            .await
            .map_err(|_| ChainError::Unknown { hash })
    }
}

fn is_refusal(code: i64, message: &str) -> bool {
    let message = message.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    let may_be_used = has(&[NONCE]) && !has(&VALIDITY);
    REFUSALS.contains(&code) && !may_be_used && !has(&AMBIGUOUS)
}
