//! Receipts, always from a committed record.

use alloy_primitives::B256;
use mpp_core::{
    ChallengeId, MethodName, Timestamp,
    receipt::{Receipt, SessionReceipt},
};

use super::record::ChannelRecord;

/// A receipt for a request on this channel (draft-tempo-session-00, Receipt
/// Generation). `units` is what this request consumed.
pub(super) fn session_receipt(
    record: &ChannelRecord,
    challenge_id: &ChallengeId,
    units: Option<u64>,
    transaction: Option<B256>,
    now: Timestamp,
) -> SessionReceipt {
    let mut receipt = SessionReceipt::new(
        MethodName::tempo(),
        now,
        challenge_id.clone(),
        record.id.to_string(),
        record.accepted(),
        record.spent,
    );
    receipt.units = units;
    receipt.tx_hash = transaction.map(|hash| hash.to_string());
    receipt
}

/// The same, for the answer to a management request.
pub(super) fn managed(
    record: &ChannelRecord,
    challenge_id: &ChallengeId,
    transaction: Option<B256>,
    now: Timestamp,
) -> Receipt {
    Receipt::Session(session_receipt(
        record,
        challenge_id,
        None,
        transaction,
        now,
    ))
}
