//! Who has requests running: one locked file for each open handle of the book.

use std::fs;
use std::path::PathBuf;

use alloy_primitives::hex;

use super::fault::At as _;
use super::lock::FileLock;
use crate::session::book::BookError;

/// This handle, for as long as it lives.
#[derive(Debug)]
pub(super) struct Owner {
    id: String,
    folder: PathBuf,
    _alive: FileLock,
}

impl Owner {
    /// Registers a new handle and forgets those that are gone. The caller holds the book's lock,
    /// so that no file of a handle is seen before it is locked.
    pub(super) fn register(folder: PathBuf) -> Result<Self, BookError> {
        for entry in fs::read_dir(&folder).at(&folder)? {
            let path = entry.at(&folder)?.path();
            // A handle without a file is gone as well.
            if FileLock::try_acquire(&path)?.is_some() {
                fs::remove_file(&path).at(&path)?;
            }
        }
        let id = hex::encode(rand::random::<[u8; 16]>());
        let alive = FileLock::acquire(&folder.join(&id))?;
        Ok(Self {
            id,
            folder,
            _alive: alive,
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether another handle is still open, here or in another process.
    pub(super) fn is_alive(&self, owner: &str) -> Result<bool, BookError> {
        let path = self.folder.join(owner);
        if !path.try_exists().at(&path)? {
            return Ok(false);
        }
        Ok(FileLock::try_acquire(&path)?.is_none())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // If it stays, the next handle removes it.
        drop(fs::remove_file(self.folder.join(&self.id)));
    }
}
