//! Keeps the leases of requests that are still being served from lapsing.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mpp_core::Timestamp;

/// The leases of this process, with the moment at which each lapses.
///
/// A lease is written once for most requests: only those that take longer than
/// a third of it are extended.
#[derive(Debug)]
pub(crate) struct Keeper<K> {
    lease: Duration,
    leases: Mutex<HashMap<K, Timestamp>>,
}

impl<K: Copy + Ord + Hash> Keeper<K> {
    pub(crate) fn new(lease: Duration) -> Self {
        Self {
            lease,
            leases: Mutex::default(),
        }
    }

    /// When a lease lapses that is made or extended now.
    pub(crate) fn until(&self, now: Timestamp) -> Timestamp {
        now.checked_add(self.lease).unwrap_or(now)
    }

    pub(crate) fn add(&self, key: K, until: Timestamp) {
        self.lock().insert(key, until);
    }

    pub(crate) fn forget(&self, key: K) {
        self.lock().remove(&key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Timestamp>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A third of the lease: it can miss one extension and still lives.
    pub(crate) fn pause(&self) -> Duration {
        self.lease.checked_div(3).unwrap_or(self.lease)
    }

    /// The leases that lapse before the next but one look, the first first.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<K> {
        let margin = self.lease.saturating_sub(self.pause());
        let soon = now.checked_add(margin).unwrap_or(now);
        let leases = self.lock();
        let due = leases.iter().filter(|(_, until)| **until <= soon);
        let mut due: Vec<_> = due.map(|(key, until)| (*until, *key)).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, key)| key).collect()
    }

    pub(crate) fn renewed(&self, key: K, until: Timestamp) {
        if let Some(kept) = self.lock().get_mut(&key) {
            *kept = until;
        }
    }
}
