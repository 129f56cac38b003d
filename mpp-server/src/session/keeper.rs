//! Keeps the holds of requests that are still being served from lapsing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mpp_core::Timestamp;
use mpp_tempo::channel::ChannelId;

use super::{SessionContext, command::Command, record::HoldId};
use crate::{error::Failure, store::ChannelStore};

type Key = (ChannelId, HoldId);

/// The holds of this process, with the moment at which each lapses.
///
/// A hold is written once for most requests: only those that take longer than
/// a third of the lease are extended.
#[derive(Debug)]
pub(crate) struct Keeper {
    lease: Duration,
    holds: Mutex<HashMap<Key, Timestamp>>,
}

impl Keeper {
    pub(crate) fn new(lease: Duration) -> Self {
        Self {
            lease,
            holds: Mutex::default(),
        }
    }

    /// When a hold lapses that is made or extended now.
    pub(crate) fn until(&self, now: Timestamp) -> Timestamp {
        now.checked_add(self.lease).unwrap_or(now)
    }

    pub(crate) fn add(&self, channel: ChannelId, hold: HoldId, until: Timestamp) {
        self.lock().insert((channel, hold), until);
    }

    pub(crate) fn forget(&self, channel: ChannelId, hold: HoldId) {
        self.lock().remove(&(channel, hold));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Timestamp>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A third of the lease: a hold can miss one extension and still lives.
    fn pause(&self) -> Duration {
        self.lease.checked_div(3).unwrap_or(self.lease)
    }

    /// The holds that lapse before the next but one look.
    fn due(&self, now: Timestamp) -> Vec<Key> {
        let margin = self.lease.saturating_sub(self.pause());
        let soon = now.checked_add(margin).unwrap_or(now);
        let holds = self.lock();
        let due = holds.iter().filter(|(_, until)| **until <= soon);
        due.map(|(key, _)| *key).collect()
    }

    fn renewed(&self, key: Key, until: Timestamp) {
        if let Some(kept) = self.lock().get_mut(&key) {
            *kept = until;
        }
    }
}

/// Extends holds for as long as the server runs.
pub(crate) async fn keep<S: ChannelStore>(context: Arc<SessionContext<S>>) {
    loop {
        tokio::time::sleep(context.keeper.pause()).await;
        context.extend_holds().await;
    }
}

impl<S: ChannelStore> SessionContext<S> {
    /// Extends the holds that would lapse soon.
    ///
    /// One that can not be extended is tried again; should it lapse, its
    /// request fails and is not charged.
    pub(crate) async fn extend_holds(&self) {
        let now = self.clock.now();
        for (channel, hold) in self.keeper.due(now) {
            let until = self.keeper.until(now);
            match self.run(channel, Command::Extend { hold, until }).await {
                Ok(_) => self.keeper.renewed((channel, hold), until),
                Err(Failure::Rejected(_)) => self.keeper.forget(channel, hold),
                Err(Failure::Fault(fault)) => tracing::warn!(
                    error = &fault as &dyn std::error::Error,
                    "a hold could not be extended"
                ),
            }
        }
    }
}
