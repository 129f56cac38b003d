//! Sending a transaction and following it to its end.

use alloy_primitives::Bytes;
use mpp_tempo::chain::{ChainClient, ChainError, DynChain, TxReceipt};

use crate::error::Fault;

/// A transaction is given up this long after it has become invalid, so that a
/// lagging node or clock does not hide that it was mined.
pub(crate) const EXPIRY_MARGIN_SECS: u64 = 10;

/// How a transaction ended.
#[derive(Debug)]
pub(crate) enum Fate {
    /// Mined and successful.
    Succeeded(TxReceipt),
    /// Mined and reverted: it changed nothing but who holds the fee.
    Reverted(TxReceipt),
    /// Refused by the node: it changed nothing.
    Refused(String),
}

/// Sends a transaction and follows it to its end.
///
/// # Errors
/// A [`Fault`] when its fate is not known: it may still be mined.
///
/// # Cancel safety
/// Dropped, the transaction may have been sent. Run it on the server's own
/// tasks.
pub(crate) async fn broadcast(chain: &DynChain, raw: Bytes) -> Result<Fate, Fault> {
    match chain.send_and_wait(raw).await {
        Ok(receipt) if receipt.success => Ok(Fate::Succeeded(receipt)),
        Ok(receipt) => Ok(Fate::Reverted(receipt)),
        Err(ChainError::Rejected { message }) => {
            tracing::debug!(%message, "the node refused a transaction");
            Ok(Fate::Refused(String::from(
                "the node refused the transaction",
            )))
        }
        Err(ChainError::Unknown { .. }) => Err(Fault::OutcomeUnknown),
        Err(error) => Err(error.into()),
    }
}
