//! The channel book: one record per channel and charge, written before the money can move.
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

use crate::charge::{ChargeId, ChargeRecord};

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
    /// Writes the record of a new channel, if `admit` agrees after a look at all others; no channel
    /// is added between look and writing, through whatever handle. When this returns
    /// [`Admission::Added`], a crash does not lose it.
    ///
    /// # Errors
    /// [`BookError::Exists`] when the channel is known, [`BookError::Storage`] when it could not
    /// be written; then nothing may be sent.
    fn add_channel(
        &self,
        record: ChannelRecord,
        admit: &mut dyn FnMut(&[ChannelRecord]) -> bool,
    ) -> Result<Admission, BookError>;

    /// As [`ChannelBook::add_channel`], whatever else there is.
    ///
    /// # Errors
    /// As there.
    fn insert(&self, record: ChannelRecord) -> Result<(), BookError> {
        self.add_channel(record, &mut |_| true).map(drop)
    }

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

    /// Those that the first payment to an origin named: the payee, then those who got splits. Empty
    /// for an origin that nothing was paid to.
    ///
    /// # Errors
    /// [`BookError::Storage`].
    fn payees_of(&self, origin: &str) -> Result<Vec<Address>, BookError>;

    /// Pins an origin to these payees, of whom there is at least one, unless it is pinned already;
    /// returns those that it is pinned to.
    ///
    /// # Errors
    /// [`BookError::Storage`].
    fn pin_payees(&self, origin: &str, payees: &[Address]) -> Result<Vec<Address>, BookError>;

    /// Writes the record of a new charge, if `admit` agrees after a look at all other charges; no
    /// charge is added between look and writing, through whatever handle. When this returns
    /// [`Admission::Added`], a crash does not lose it.
    ///
    /// Charges that are settled may be forgotten after two days.
    ///
    /// # Errors
    /// [`BookError::Exists`] when the charge is known, [`BookError::Storage`].
    fn add_charge(
        &self,
        record: ChargeRecord,
        admit: &mut dyn FnMut(&[ChargeRecord]) -> bool,
    ) -> Result<Admission, BookError>;

    /// Changes the record of a charge atomically, and on the disk before this returns.
    ///
    /// # Errors
    /// [`BookError::Unknown`], or [`BookError::Storage`]; then nothing has changed.
    fn update_charge(
        &self,
        id: &ChargeId,
        change: &mut dyn FnMut(&mut ChargeRecord),
    ) -> Result<(), BookError>;

    /// All charges that are remembered, in no particular order.
    ///
    /// # Errors
    /// [`BookError::Storage`].
    fn charges(&self) -> Result<Vec<ChargeRecord>, BookError>;

    /// One charge, if it is remembered.
    ///
    /// # Errors
    /// [`BookError::Storage`].
    fn charge(&self, id: &ChargeId) -> Result<Option<ChargeRecord>, BookError> {
        Ok(self.charges()?.into_iter().find(|charge| charge.id == *id))
    }

    /// The lock under which channels of `key` are opened, refilled and closed, one at a time.
    fn gate(&self, key: &ChannelKey) -> Gate;

    /// The lock under which a channel is left without its server, one at a time. It is none of the
    /// gates of keys: those are held for as long as a server takes to answer.
    fn exit_gate(&self, id: &ChannelId) -> Gate;
}

/// Whether a channel or charge was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is in the book now.
    Added,
    /// It was not admitted, and nothing has changed.
    Refused,
}

/// Seconds after which a settled charge may be forgotten: twice what budgets look back.
const FORGET_AFTER: std::time::Duration = std::time::Duration::from_secs(48 * 60 * 60);

/// Whether a charge must be kept when one of this time is added.
fn is_remembered(charge: &ChargeRecord, now: mpp_core::Timestamp) -> bool {
    let since = now.checked_sub(FORGET_AFTER);
    !charge.state.is_settled() || since.is_none_or(|since| charge.at > since)
}

/// Why the book did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BookError {
    /// The channel or charge is in the book already.
    #[error("the channel or charge is in the book already")]
    Exists,
    /// No record has this id.
    #[error("the channel or charge is not in the book")]
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
