//! The channel book: one record per channel, written before the money can move.
//!
//! A record is inserted before the open transaction leaves the process and is never removed while
//! the channel may hold money, so whatever happens to a request, a connection or a server, the
//! client knows which channels exist, what it has signed on them and how to get the rest back.

#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "durable-book")]
mod durable;
mod gate;
mod memory;
mod record;

use alloy_primitives::Address;
use mpp_tempo::ChannelId;

#[cfg(feature = "durable-book")]
pub use self::durable::DurableBook;
pub use self::gate::{Gate, GateGuard};
pub use self::memory::MemoryBook;
pub use self::record::{
    ChannelKey, ChannelRecord, ChannelSummary, OpenAttempt, PendingTopUp, Phase, StaleReason,
};

/// Where channel records live.
///
/// Several clients may share one book: the accounts are in the records, so that they sign on a
/// channel as one. Methods are synchronous and short; a durable implementation writes ahead and
/// may block for one disk write.
///
/// # Threat model
/// Whoever writes to the book can make the client forget deposits or sign too much. It holds
/// signed vouchers and transactions, which are worth money to the payee only.
pub trait ChannelBook: Send + Sync + 'static {
    /// Writes the record of a new channel; when this returns, a crash does not lose it.
    ///
    /// # Errors
    /// [`BookError::Exists`] when the channel is known, [`BookError::Storage`] when it could not
    /// be written; then nothing may be sent.
    fn insert(&self, record: ChannelRecord) -> Result<(), BookError>;

    /// Reads a record.
    ///
    /// # Errors
    /// [`BookError::Unknown`], or [`BookError::Storage`].
    fn read(&self, id: &ChannelId) -> Result<ChannelRecord, BookError>;

    /// The channel that requests under `key` use: one that is open or being opened.
    ///
    /// # Errors
    /// [`BookError::Storage`].
    fn usable(&self, key: &ChannelKey) -> Result<Option<(ChannelId, Phase)>, BookError>;

    /// Changes a record atomically: `change` sees the latest record, and what it leaves is
    /// written before this returns.
    ///
    /// # Errors
    /// [`BookError::Unknown`], or [`BookError::Storage`]; then nothing has changed.
    fn update(
        &self,
        id: &ChannelId,
        change: &mut dyn FnMut(&mut ChannelRecord),
    ) -> Result<(), BookError>;

    /// All records, in no particular order.
    ///
    /// # Errors
    /// [`BookError::Storage`].
    fn records(&self) -> Result<Vec<ChannelRecord>, BookError>;

    /// The payee that an origin was first paid to.
    ///
    /// # Errors
    /// [`BookError::Storage`].
    fn payee_of(&self, origin: &str) -> Result<Option<Address>, BookError>;

    /// Pins an origin to a payee, unless it is pinned already; returns the pinned one.
    ///
    /// # Errors
    /// [`BookError::Storage`].
    fn pin_payee(&self, origin: &str, payee: Address) -> Result<Address, BookError>;

    /// The lock under which channels of `key` are opened, refilled and closed, one at a time.
    fn gate(&self, key: &ChannelKey) -> Gate;
}

/// Why the book did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BookError {
    /// The channel is in the book already.
    #[error("the channel is in the book already")]
    Exists,
    /// No record has this id.
    #[error("the channel is not in the book")]
    Unknown,
    /// A file does not say what was written to it; nothing is guessed from the rest of it.
    #[error("the channel book is damaged: {}", .file.display())]
    Damaged {
        /// The file.
        file: std::path::PathBuf,
    },
    /// The directory holds something else than a book that this version can use.
    #[error("the directory is no channel book of this version: {found}")]
    Format {
        /// What it holds, safe to print.
        found: String,
    },
    /// The storage failed.
    #[error("the channel book's storage failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Changes a record and passes on what the change computes.
pub(crate) fn update<T>(
    book: &dyn ChannelBook,
    id: &ChannelId,
    change: impl FnOnce(&mut ChannelRecord) -> T,
) -> Result<T, BookError> {
    let mut change = Some(change);
    let mut result = None;
    book.update(id, &mut |record| {
        if let Some(change) = change.take() {
            result = Some(change(record));
        }
    })?;
    result.ok_or(BookError::Unknown)
}
