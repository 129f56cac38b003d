//! The promises of the store port as checks, for every implementation.
//!
//! A store of your own is right when this passes on a runtime with several
//! threads:
//!
//! ```no_run
//! use mpp_server::{MemoryStore, store::conformance::{self, Backend}};
//!
//! struct Memory;
//!
//! impl Backend for Memory {
//!     type Store = MemoryStore;
//!
//!     async fn create(&self) -> MemoryStore {
//!         MemoryStore::new()
//!     }
//!
//!     async fn another(&self, store: &MemoryStore) -> MemoryStore {
//!         store.clone()
//!     }
//!
//!     async fn reopen(&self, _store: MemoryStore) -> Option<MemoryStore> {
//!         None
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() {
//!     conformance::run_all(&Memory).await;
//! }
//! ```
//!
//! Each check panics with what it found when a promise is broken.

#![expect(
    clippy::panic,
    reason = "a broken promise must fail the test that called the suite"
)]

mod atomic;
mod claims;
mod documents;
mod history;
mod model;
mod notify;
mod outcomes;
mod pages;
mod restart;
pub(crate) mod sample;
mod sweep;
mod versions;

use std::future::Future;

use super::{ChannelStore, Commit, StoreFault, Version, Versioned, Write};

pub use self::{
    atomic::{a_commit_is_seen_whole, a_conflict_writes_nothing},
    claims::{
        a_clock_that_was_ahead_ends_no_other_claim, claims_are_made_once, claims_end, claims_race,
    },
    documents::{
        document_writes_race, documents_are_read_in_pages,
        documents_are_removed_while_they_are_read, documents_are_written_together,
        documents_survive,
    },
    history::histories_are_serial,
    model::behaves_like_the_model,
    notify::{a_change_before_the_wait_counts, no_wake_up_is_lost},
    outcomes::{outcomes_are_found_until_they_expire, the_newest_outcomes_are_kept},
    pages::{ledgers_are_read_in_pages, scans_are_read_in_pages},
    restart::everything_acknowledged_survives,
    sweep::what_counts_is_not_swept,
    versions::{no_update_is_lost, stale_versions_conflict},
};

/// Makes the stores that are checked.
pub trait Backend: Send + Sync {
    /// The implementation.
    type Store: ChannelStore;

    /// An empty store that shares nothing with any other.
    fn create(&self) -> impl Future<Output = Self::Store> + Send;

    /// A second way to the same data, as independent as the backend allows:
    /// another process's connection if it serves several, else a clone.
    fn another(&self, store: &Self::Store) -> impl Future<Output = Self::Store> + Send;

    /// Ends a store as a crash would and opens its data again. `None` when
    /// the backend keeps nothing.
    ///
    /// No other handle to the data is left when this is called.
    fn reopen(&self, store: Self::Store) -> impl Future<Output = Option<Self::Store>> + Send;

    /// How many random sequences [`behaves_like_the_model`] tries.
    fn model_cases(&self) -> u32 {
        64
    }
}

/// Checks every promise, one after the other.
///
/// # Panics
/// When one is broken.
///
/// # Cancel safety
/// Dropped, the checks end; what they wrote stays in their stores.
pub async fn run_all(backend: &impl Backend) {
    stale_versions_conflict(backend).await;
    no_update_is_lost(backend).await;
    histories_are_serial(backend).await;
    a_conflict_writes_nothing(backend).await;
    a_commit_is_seen_whole(backend).await;
    claims_are_made_once(backend).await;
    claims_end(backend).await;
    a_clock_that_was_ahead_ends_no_other_claim(backend).await;
    claims_race(backend).await;
    outcomes_are_found_until_they_expire(backend).await;
    the_newest_outcomes_are_kept(backend).await;
    what_counts_is_not_swept(backend).await;
    scans_are_read_in_pages(backend).await;
    ledgers_are_read_in_pages(backend).await;
    a_change_before_the_wait_counts(backend).await;
    no_wake_up_is_lost(backend).await;
    everything_acknowledged_survives(backend).await;
    documents_are_written_together(backend).await;
    document_writes_race(backend).await;
    documents_are_read_in_pages(backend).await;
    documents_are_removed_while_they_are_read(backend).await;
    documents_survive(backend).await;
    behaves_like_the_model(backend).await;
}

/// What a call returned; a fault breaks the suite's assumption of a healthy
/// backend.
fn healthy<T>(result: Result<T, StoreFault>) -> T {
    match result {
        Ok(value) => value,
        Err(fault) => {
            let source = std::error::Error::source(&fault).map(ToString::to_string);
            panic!("the store failed: {fault} ({source:?})")
        }
    }
}

/// Commits and expects no conflict.
pub(crate) async fn done(store: &impl ChannelStore, write: Write) -> Version {
    match healthy(store.commit(write).await) {
        Commit::Done(version) => version,
        Commit::Conflict => panic!("a commit of the current version conflicts"),
    }
}

/// Loads a channel that is there.
async fn found(store: &impl ChannelStore, id: mpp_tempo::ChannelId) -> Versioned {
    match healthy(store.load(id).await) {
        Some(found) => found,
        None => panic!("a committed channel is not found"),
    }
}

#[cfg(test)]
mod tests;
