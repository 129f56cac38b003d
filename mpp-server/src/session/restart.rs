//! What a restart does to a record.

use mpp_core::Timestamp;

use super::record::ChannelRecord;

/// The record without the holds of a process that is gone, or `None` when it
/// has none.
///
/// Only for stores that one process uses at a time: there, nobody can be
/// serving what was held before the start. Elsewhere holds lapse by
/// themselves. Nothing was captured, so the requests are not charged.
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
