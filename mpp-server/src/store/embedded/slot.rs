//! One channel in memory.

use std::{collections::VecDeque, sync::Arc};

use mpp_core::Amount;
use tokio::sync::watch;

use crate::{
    session::record::ChannelRecord,
    store::{OutcomeKey, Version, Versioned},
};

/// A channel: its newest state, and how much of it may be shown.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) version: Version,
    pub(super) record: Arc<ChannelRecord>,
    /// The newest acknowledged version. Behind `version` while a commit is
    /// under way.
    pub(super) shown: Version,
    /// The sums of the newest version on the disk.
    pub(super) durable: Sums,
    /// What a crash would lose of this channel.
    pub(super) at_risk: Amount,
    pub(super) outcomes: VecDeque<(u64, OutcomeKey)>,
    /// Follows `shown`, while somebody waits for it.
    watch: Option<watch::Sender<Version>>,
}

impl Slot {
    pub(super) fn durable(found: Versioned, sums: Sums) -> Self {
        Self {
            shown: found.version,
            durable: sums,
            ..Self::new(found.version, found.record)
        }
    }

    /// A channel that is not on the disk yet.
    pub(super) fn new(version: Version, record: Arc<ChannelRecord>) -> Self {
        Self {
            version,
            record,
            shown: Version(0),
            durable: Sums::default(),
            at_risk: Amount::ZERO,
            outcomes: VecDeque::new(),
            watch: None,
        }
    }

    pub(super) fn pending(&mut self) -> Pending<Arc<ChannelRecord>> {
        let waits = self.shown < self.version;
        Pending {
            value: Arc::clone(&self.record),
            version: self.version,
            shown: waits.then(|| self.follow()),
        }
    }

    pub(super) fn follow(&mut self) -> watch::Receiver<Version> {
        let shown = self.shown;
        let sender = self.watch.get_or_insert_with(|| watch::Sender::new(shown));
        sender.subscribe()
    }

    /// Lets go of whoever waits: they learn that it is in vain.
    pub(super) fn abandon(&mut self) {
        self.watch = None;
    }

    pub(super) fn show(&mut self, version: Version) {
        if version <= self.shown {
            return;
        }
        self.shown = version;
        if let Some(watch) = &self.watch {
            watch.send_replace(version);
        }
        self.watch.take_if(|watch| watch.receiver_count() == 0);
    }
}

/// A value that counts once its channel shows a version.
#[derive(Debug)]
pub(super) struct Pending<T> {
    pub(super) value: T,
    pub(super) version: Version,
    /// `None`: it counts already.
    pub(super) shown: Option<watch::Receiver<Version>>,
}

/// The sums that only grow and that a crash may set back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) accepted: Amount,
    pub(super) spent: Amount,
}

impl Sums {
    pub(super) fn of(record: &ChannelRecord) -> Self {
        Self {
            accepted: record.accepted(),
            spent: record.spent,
        }
    }

    /// What is lost when these become those of `durable`.
    pub(super) fn above(self, durable: Self) -> Amount {
        let accepted = self.accepted.saturating_sub(durable.accepted);
        accepted.max(self.spent.saturating_sub(durable.spent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The module's documentation promises it to whoever plans memory.
    #[test]
    fn a_channel_takes_about_a_kibibyte() {
        let bytes = size_of::<Slot>().saturating_add(size_of::<ChannelRecord>());
        assert!((512..=1_280).contains(&bytes), "{bytes}");
    }
}
