//! The store port: where accepted vouchers and charges become durable.

pub mod codec;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;

mod document;
mod durability;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod export;
mod memory;
mod outcome;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod shared;

use std::{future::Future, sync::Arc};

use alloy_primitives::{Address, B256};
use mpp_core::Timestamp;
use mpp_tempo::channel::ChannelId;

#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresConfig, PostgresStore};
#[cfg(feature = "redis")]
pub use self::redis::{RedisConfig, RedisStore};
#[cfg(any(feature = "postgres", feature = "redis"))]
pub use self::shared::{ConnectError, ConnectionString, Distrust};
pub use self::{
    document::{Document, DocumentKey, DocumentKind, DocumentPage, DocumentWrite, Written},
    durability::{Durability, LossCaps},
    memory::MemoryStore,
    outcome::{OutcomeKey, StoredOutcome, StoredResponse},
};
use crate::session::record::{ChannelRecord, LedgerEntry};

/// Keeps channel records, ledger, claims and documents.
///
/// Threat model: a store is trusted to tell the truth and to keep what it
/// acknowledged. It is not trusted to be up: when it fails, the server stops
/// selling (it never goes on from memory).
///
/// Every method is linearizable per channel or key. Two implementations that
/// share one backend may serve the same channels.
pub trait ChannelStore: Send + Sync + 'static {
    /// Reads a channel.
    ///
    /// # Cancel safety
    /// Reads only.
    fn load(
        &self,
        id: ChannelId,
    ) -> impl Future<Output = Result<Option<Versioned>, StoreFault>> + Send;

    /// Replaces a record if its version is still the expected one, and writes
    /// ledger entry and outcome with it: all or nothing.
    ///
    /// Of the outcomes of one channel the newest [`OUTCOMES_PER_CHANNEL`] are
    /// kept, by their [`StoredOutcome::number`].
    ///
    /// When this returns [`Commit::Done`], the data is durable as far as
    /// [`durability`](Self::durability) says.
    ///
    /// # Cancel safety
    /// Dropped, the commit happens whole or not at all.
    fn commit(&self, write: Write) -> impl Future<Output = Result<Commit, StoreFault>> + Send;

    /// Stores `value` under `key` unless a value that has not expired is
    /// there. Exactly one of many concurrent callers gets [`Claim::New`].
    ///
    /// # Cancel safety
    /// Dropped, the claim may have been made.
    fn claim(
        &self,
        key: ClaimKey,
        value: B256,
        expires: Timestamp,
        now: Timestamp,
    ) -> impl Future<Output = Result<Claim, StoreFault>> + Send;

    /// Reads what became of an idempotent request, unless it has expired.
    ///
    /// # Cancel safety
    /// Reads only.
    fn outcome(
        &self,
        key: OutcomeKey,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<StoredOutcome>, StoreFault>> + Send;

    /// Reads the outcome of a channel with the lowest number that is kept,
    /// whether or not it has expired.
    ///
    /// What is missing before it was removed: because newer ones took its place,
    /// or because it had ended. Found under no lock, it is the lowest at one
    /// moment between call and answer.
    ///
    /// # Cancel safety
    /// Reads only.
    fn oldest_outcome(
        &self,
        id: ChannelId,
    ) -> impl Future<Output = Result<Option<StoredOutcome>, StoreFault>> + Send;

    /// Waits until the channel's version is greater than `since`.
    ///
    /// A change that came before the call counts: no wake-up is lost. Without
    /// such a channel there is nothing to wait for, and it returns at once.
    ///
    /// # Cancel safety
    /// Reads only.
    fn changed(
        &self,
        id: ChannelId,
        since: Version,
    ) -> impl Future<Output = Result<(), StoreFault>> + Send;

    /// Reads channels in the order of their ids, page by page.
    ///
    /// # Cancel safety
    /// Reads only.
    fn scan(&self, scan: Scan) -> impl Future<Output = Result<Vec<Versioned>, StoreFault>> + Send;

    /// Reads ledger entries in the order of their numbers, page by page.
    ///
    /// # Cancel safety
    /// Reads only.
    fn ledger(
        &self,
        page: LedgerPage,
    ) -> impl Future<Output = Result<Vec<Numbered>, StoreFault>> + Send;

    /// Reads a document.
    ///
    /// # Cancel safety
    /// Reads only.
    fn document(
        &self,
        key: DocumentKey,
    ) -> impl Future<Output = Result<Option<Document>, StoreFault>> + Send;

    /// Writes documents if the versions of all are still the expected ones:
    /// all of them or none. When this returns [`Written::Done`], they are
    /// durable; none may be lost as relaxed commits may.
    ///
    /// # Errors
    /// [`StoreFault`]; also when one document is to be written twice.
    ///
    /// # Cancel safety
    /// Dropped, the write happens whole or not at all.
    fn write_documents(
        &self,
        writes: Vec<DocumentWrite>,
    ) -> impl Future<Output = Result<Written, StoreFault>> + Send;

    /// Reads documents of a kind in the order of their ids, page by page.
    ///
    /// # Cancel safety
    /// Reads only.
    fn documents(
        &self,
        page: DocumentPage,
    ) -> impl Future<Output = Result<Vec<(B256, Document)>, StoreFault>> + Send;

    /// Removes claims and outcomes that have ended by `now`, at most `limit` of
    /// them, and says how many. Nothing else: what has ended is not found
    /// without this too, and only takes room.
    ///
    /// [`PaymentServer`](crate::PaymentServer) calls it again and again; several
    /// servers may do so at once. A backend that removes what has ended by
    /// itself has nothing to do.
    ///
    /// # Cancel safety
    /// Dropped, some of them are removed.
    fn sweep(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<usize, StoreFault>> + Send;

    /// What survives a crash of this process and of its machine.
    fn durability(&self) -> Durability;
}

/// One page of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Which channels.
    pub which: Which,
    /// Channels with greater ids than this.
    pub after: Option<ChannelId>,
    /// At most so many.
    pub limit: usize,
}

/// Which channels a [`Scan`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that may hold money on chain: neither failed nor closed.
    Live,
    /// All.
    All,
}

/// One page of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerPage {
    /// Only entries of this channel.
    pub channel: Option<ChannelId>,
    /// Entries with greater numbers than this; they count from 1.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
}

/// A ledger entry with its number.
///
/// Numbers grow in the order in which the entries of one channel were
/// committed; there may be gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The number.
    pub number: u64,
    /// The entry.
    pub entry: LedgerEntry,
}

/// How many outcomes are kept for one channel (SECURITY-CASES A16).
///
/// As many as the requests that are served at once
/// ([`MAX_HOLDS`](crate::session::record::MAX_HOLDS)): when a connection ends
/// and the answers to all of them are lost, each is found by its retry.
pub const OUTCOMES_PER_CHANNEL: u64 = 256;

/// The least that any version has kept for one channel: what a server of such a
/// version has dropped from the same store is gone.
pub(crate) const FEWEST_OUTCOMES: u64 = 32;

/// Counts the commits of a record, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u64);

/// A record with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// Version of this state.
    pub version: Version,
    /// The state. Shared with a store that keeps records in memory.
    pub record: Arc<ChannelRecord>,
}

/// One conditional write.
#[derive(Clone, Debug)]
pub struct Write {
    /// Version the new record was made from; `None`: there is no record yet.
    pub expected: Option<Version>,
    /// The record to store.
    pub next: Arc<ChannelRecord>,
    /// The ledger entry to append.
    pub entry: Option<LedgerEntry>,
    /// What became of an idempotent request, to be found by its key.
    pub outcome: Option<StoredOutcome>,
}

impl Write {
    /// The version that the write makes.
    #[must_use]
    pub fn version(&self) -> Version {
        let before = self.expected.map_or(0, |version| version.0);
        Version(before.saturating_add(1))
    }
}

/// How a conditional write went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Durable, with this version.
    Done(Version),
    /// Somebody else wrote first; load and try again.
    Conflict,
}

/// What is claimed: one key space for everything that may happen only once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimKey {
    /// The fee payer's signature for a challenge, whoever was given that. Nothing
    /// is claimed so any more; beside servers of before, which still do, a challenge
    /// may be answered once at them and once here, within the same budgets.
    Cosign(mpp_core::ChallengeId),
    /// The fee payer's signature for a challenge and who has signed in answer to it
    /// (SECURITY-CASES A15): several clients may be given the same challenge.
    CosignFor(mpp_core::ChallengeId, Address),
    /// The proof of identity that answers a challenge (PROTOCOL 4).
    Proof(mpp_core::ChallengeId),
}

/// How a claim went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The caller made it.
    New,
    /// Somebody made it before, with this value.
    Existing(B256),
}

/// The store could not do its work.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreFault {
    message: String,
    transient: bool,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreFault {
    /// A fault that may pass, such as a lost connection.
    pub fn transient(
        message: impl Into<String>,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            message: message.into(),
            transient: true,
            source,
        }
    }

    /// A fault that needs a person, such as a damaged file.
    pub fn lasting(
        message: impl Into<String>,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            message: message.into(),
            transient: false,
            source,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.transient
    }
}

/// Damage needs a person: a copy of the store, or its removal.
impl From<codec::CodecError> for StoreFault {
    fn from(error: codec::CodecError) -> Self {
        Self::lasting(
            "a value in the channel store is damaged",
            Some(error.into()),
        )
    }
}
