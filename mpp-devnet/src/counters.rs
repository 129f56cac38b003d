//! Who asked the node, and how often.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::lock;

/// Counts of calls since the start or the last reset.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    inner: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    rpc: BTreeMap<String, u64>,
    client: u64,
}

impl Counters {
    pub(crate) fn count_rpc(&self, method: &str) {
        let mut counts = lock(&self.inner);
        let entry = counts.rpc.entry(method.to_owned()).or_default();
        *entry = entry.saturating_add(1);
    }

    pub(crate) fn count_client(&self) {
        let mut counts = lock(&self.inner);
        counts.client = counts.client.saturating_add(1);
    }

    pub(crate) fn rpc(&self) -> u64 {
        lock(&self.inner)
            .rpc
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub(crate) fn rpc_by_method(&self, method: &str) -> u64 {
        lock(&self.inner)
            .rpc
            .get(method)
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn client(&self) -> u64 {
        lock(&self.inner).client
    }

    pub(crate) fn reset(&self) {
        *lock(&self.inner) = Counts::default();
    }
}
