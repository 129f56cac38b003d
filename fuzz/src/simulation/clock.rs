//! A clock that goes wherever it is put, also backwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use mpp_core::Timestamp;
use mpp_server::clock::Clock;

use super::START;

/// The servers' clock.
#[derive(Clone, Debug)]
pub(crate) struct Steered(Arc<AtomicI64>);

impl Steered {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(START as i64)))
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Steered {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.0.load(Ordering::SeqCst))
    }
}
