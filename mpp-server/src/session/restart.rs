//! What a restart means for a channel.

use mpp_core::Timestamp;

use super::record::ChannelRecord;

/// The record after the process that served its requests has gone; `None`
/// when nothing changes.
///
/// Holds belong to requests of that process. None of them will be captured
/// any more, so what they set aside is free again.
#[must_use]
pub fn after_restart(record: &ChannelRecord, now: Timestamp) -> Option<ChannelRecord> {
    if record.holds.is_empty() {
        return None;
    }
    Some(ChannelRecord {
        holds: Vec::new(),
        changed_at: now.max(record.changed_at),
        ..record.clone()
    })
}
