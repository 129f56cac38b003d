//! Two servers over one store and one chain, of which everything may fail.
//!
//! Nothing here waits for real time and nothing is stubbed: the servers are
//! `PaymentServer`s, the chain is `mpp-devnet`, signatures are real. Between
//! a server and its store or node stands a handle that can fail, lose an
//! answer, or be where the process dies. What is committed is audited where it
//! becomes durable, so that no rule can be broken and mended unseen.

pub(crate) mod audit;
pub(crate) mod books;
pub(crate) mod cashbook;
pub(crate) mod chain;
pub(crate) mod clock;
pub(crate) mod crowd;
pub(crate) mod life;
pub(crate) mod outbox;
pub(crate) mod site;
pub(crate) mod store;
pub(crate) mod story;
pub(crate) mod wallet;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When every run begins, in Unix seconds.
pub(crate) const START: u64 = 1_800_000_000;

/// Never within a run: what timers do is called by hand.
pub(crate) const NEVER: Duration = Duration::from_secs(1_000_000_000);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
