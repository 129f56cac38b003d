//! Who waits on this node for a change of which channel.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mpp_tempo::channel::ChannelId;
use tokio::sync::watch;

use crate::store::{StoreFault, Version};

/// The channels that somebody waits for, each with the newest version that
/// was seen of it.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Waiters(Arc<Mutex<HashMap<ChannelId, watch::Sender<Version>>>>);

impl Waiters {
    /// Begins to listen for changes of a channel.
    pub(in crate::store) fn join(&self, id: ChannelId) -> Waiter {
        let mut channels = self.lock();
        let sender = channels
            .entry(id)
            .or_insert_with(|| watch::Sender::new(Version(0)));
        Waiter {
            id,
            version: Some(sender.subscribe()),
            all: self.clone(),
        }
    }

    /// Wakes who waits for this version or an earlier one.
    pub(in crate::store) fn saw(&self, id: ChannelId, version: Version) {
        if let Some(sender) = self.lock().get(&id) {
            sender.send_if_modified(|newest| {
                let newer = version > *newest;
                if newer {
                    *newest = version;
                }
                newer
            });
        }
    }

    /// Takes what was read from the server, also when it lies below what was
    /// announced: a failover may have lost commits.
    pub(in crate::store) fn read(&self, id: ChannelId, version: Version) {
        if let Some(sender) = self.lock().get(&id) {
            sender.send_if_modified(|newest| {
                let differs = version != *newest;
                *newest = version;
                differs
            });
        }
    }

    /// The channels that somebody waits for.
    pub(in crate::store) fn awaited(&self) -> Vec<ChannelId> {
        self.lock().keys().copied().collect()
    }

    // Every change below is one call that can not panic half-way.
    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, watch::Sender<Version>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits; the last of a channel takes its entry along.
#[derive(Debug)]
pub(in crate::store) struct Waiter {
    id: ChannelId,
    /// Taken out when it ends.
    version: Option<watch::Receiver<Version>>,
    all: Waiters,
}

impl Waiter {
    /// Waits until a version greater than `since` was seen after the joining.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(in crate::store) async fn newer_than(&mut self, since: Version) -> Result<(), StoreFault> {
        let gone = || StoreFault::lasting("the channel store is gone", None);
        let version = self.version.as_mut().ok_or_else(gone)?;
        loop {
            version.changed().await.map_err(|_| gone())?;
            if *version.borrow_and_update() > since {
                return Ok(());
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut channels = self.all.lock();
        // Under the lock: of two that end at once, the second has to count alone.
        drop(self.version.take());
        let last = channels
            .get(&self.id)
            .is_some_and(|sender| sender.receiver_count() == 0);
        if last {
            channels.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_by_newer_versions_only() {
        let waiters = Waiters::default();
        let id = ChannelId::repeat_byte(1);
        let mut waiter = waiters.join(id);
        waiters.saw(id, Version(5));
        waiters.saw(id, Version(3));
        waiters.saw(ChannelId::repeat_byte(2), Version(9));
        waiter.newer_than(Version(4)).await.unwrap();
        let waits = timeout(Duration::from_secs(9), waiter.newer_than(Version(5)));
        assert!(waits.await.is_err());
    }

    // Whoever joins reads the version from the server himself: an announced
    // one that the server has lost must not wake him over and over.
    #[tokio::test(start_paused = true)]
    async fn a_version_that_the_server_has_lost_wakes_nobody() {
        let waiters = Waiters::default();
        let id = ChannelId::repeat_byte(1);
        let _other = waiters.join(id);
        waiters.saw(id, Version(9));
        let mut waiter = waiters.join(id);
        let waits = timeout(Duration::from_secs(9), waiter.newer_than(Version(7)));
        assert!(waits.await.is_err());
        waiters.read(id, Version(7));
        waiters.saw(id, Version(8));
        waiter.newer_than(Version(7)).await.unwrap();
    }

    #[test]
    fn a_channel_is_forgotten_with_its_last_waiter() {
        let waiters = Waiters::default();
        let id = ChannelId::repeat_byte(1);
        let (first, second) = (waiters.join(id), waiters.join(id));
        drop(first);
        assert_eq!(waiters.awaited(), [id]);
        drop(second);
        assert!(waiters.awaited().is_empty());
    }
}
