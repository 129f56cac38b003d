//! What a look has taken on, until it has got through.

use std::collections::BTreeSet;

use mpp_core::Timestamp;
use mpp_tempo::ChannelId;

use super::desk::Settlement;

/// Channels that a look has taken on. Unless it gets through, they are urgent again
/// when this is dropped: a look may fail or be given up anywhere.
#[derive(Debug)]
pub(super) struct Chosen<'a> {
    settlement: &'a Settlement,
    channels: BTreeSet<ChannelId>,
    /// When all channels were looked at, and nobody knows yet what is due.
    scanned_at: Option<Timestamp>,
}

impl Settlement {
    /// Takes on what is to be looked at now. What becomes urgent from here on is
    /// looked at next time.
    pub(super) fn choose(&self) -> Chosen<'_> {
        let mut desk = self.desk();
        let mut channels = std::mem::take(&mut desk.urgent);
        let busy = desk.busy();
        let watched = desk.deadlines.keys();
        channels.extend(watched.filter(|id| !busy.contains(*id)));
        Chosen {
            settlement: self,
            channels,
            scanned_at: None,
        }
    }
}

impl Chosen<'_> {
    pub(super) fn channels(&self) -> &BTreeSet<ChannelId> {
        &self.channels
    }

    /// All channels were looked at instead.
    pub(super) fn were_scanned(&mut self, now: Timestamp) {
        self.scanned_at = Some(now);
    }

    /// Something is to be collected from these. From here on a look at all channels
    /// need not be repeated.
    pub(super) fn are_due(&mut self, due: impl Iterator<Item = ChannelId>) {
        self.channels.extend(due);
        if let Some(at) = self.scanned_at.take() {
            self.settlement.desk().scanned_at = Some(at);
        }
    }

    /// Whatever was due has begun.
    pub(super) fn were_looked_at(mut self) {
        self.channels.clear();
    }
}

impl Drop for Chosen<'_> {
    fn drop(&mut self) {
        self.settlement.desk().urgent.append(&mut self.channels);
    }
}
