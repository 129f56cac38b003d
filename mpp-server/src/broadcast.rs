//! Sending a transaction and following it to its end.

use alloy_primitives::{B256, Bytes};
use mpp_core::Timestamp;
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

/// Whether a transaction was sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// Never: when the node refuses it, it will not be mined.
    First,
    /// It may be refused because it was mined: only its end tells.
    Again,
}

/// What the chain says about a transaction that was left alone.
#[derive(Debug)]
pub(crate) enum Sighting {
    /// It was mined.
    Mined(TxReceipt),
    /// It was not mined, and can not be any more.
    Never,
    /// It is not mined as far as the node knows, and may still be.
    NotYet,
}

/// Looks a transaction up that is valid until `valid_before`.
///
/// A node that lags behind has not seen the end of its validity: what it does
/// not know may have happened.
///
/// # Errors
/// When the chain does not answer.
///
/// # Cancel safety
/// Reads only.
pub(crate) async fn look_up(
    chain: &DynChain,
    hash: B256,
    valid_before: Option<u64>,
    now: Timestamp,
) -> Result<Sighting, Fault> {
    // The head first: what is missing in a later view is missing.
    let head = chain.block().await?.timestamp;
    if let Some(receipt) = chain.receipt(hash).await? {
        return Ok(Sighting::Mined(receipt));
    }
    let now = u64::try_from(now.as_secs()).unwrap_or_default();
    let is_over = |until: u64| until.saturating_add(EXPIRY_MARGIN_SECS) < now && until <= head;
    Ok(match valid_before.is_some_and(is_over) {
        true => Sighting::Never,
        false => Sighting::NotYet,
    })
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
