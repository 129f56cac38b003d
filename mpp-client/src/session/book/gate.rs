//! One at a time: who may open, refill or close channels of a key, or leave a channel.

use std::sync::Arc;

use futures_util::lock::{Mutex, OwnedMutexGuard};

use super::BookError;

/// An asynchronous lock: whoever holds the guard opens, refills, closes or leaves.
///
/// Dropping the guard, even in the middle, lets the next one go on from what the book says.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    local: Arc<Mutex<()>>,
    #[cfg(feature = "durable-book")]
    file: Option<std::path::PathBuf>,
}

impl Gate {
    /// A gate among the users of one handle of a book.
    #[must_use]
    pub fn local() -> Self {
        Self::default()
    }

    /// A gate that also keeps out whoever locks the same file, in this process or another.
    #[cfg(feature = "durable-book")]
    pub(super) fn over_file(file: std::path::PathBuf) -> Self {
        Self {
            local: Arc::default(),
            file: Some(file),
        }
    }

    /// Waits for the gate.
    ///
    /// # Errors
    /// [`BookError::Storage`] when its file can not be locked.
    ///
    /// # Cancel safety
    /// Dropped, the gate is not taken.
    pub async fn enter(self) -> Result<GateGuard, BookError> {
        let local = self.local.lock_owned().await;
        #[cfg(feature = "durable-book")]
        let file = match self.file {
            Some(path) => Some(super::durable::lock::wait_for(path).await?),
            None => None,
        };
        Ok(GateGuard {
            #[cfg(feature = "durable-book")]
            _file: file,
            _local: local,
        })
    }
}

/// The right to open, refill or close channels of one key, or to leave one channel.
#[derive(Debug)]
#[must_use = "the gate is open again when the guard is dropped"]
pub struct GateGuard {
    // Dropped first: the file is free before the next one in this process looks at it.
    #[cfg(feature = "durable-book")]
    _file: Option<super::durable::lock::FileLock>,
    _local: OwnedMutexGuard<()>,
}
