//! Locks that the operating system takes back when their process ends.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_channel::oneshot;

use super::fault::At as _;
use crate::session::book::BookError;

/// How soon a lock that was taken is looked at again, at first and after a while.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(20);

/// An exclusive lock on a file, until it is dropped or its process is gone.
#[derive(Debug)]
pub(in crate::session::book) struct FileLock(File);

impl FileLock {
    /// Waits for the lock, which others hold for a moment only.
    pub(super) fn acquire(path: &Path) -> Result<Self, BookError> {
        let file = open(path)?;
        file.lock().at(path)?;
        Ok(Self(file))
    }

    /// Takes the lock if nobody has it.
    pub(super) fn try_acquire(path: &Path) -> Result<Option<Self>, BookError> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).at(path),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file would do as well, but not if a child has inherited it.
        if self.0.unlock().is_err() {
            tracing::debug!("a lock is given back by closing its file");
        }
    }
}

/// Waits for a lock that others may hold for as long as a transaction takes.
///
/// A thread does the waiting, since no runtime is known here. It looks again and again rather than
/// block on the lock, so that it ends soon after a wait that was broken off: whoever holds the lock
/// may do so for as long as some server likes.
///
/// # Cancel safety
/// Dropped, the lock is not taken.
pub(in crate::session::book) async fn wait_for(path: PathBuf) -> Result<FileLock, BookError> {
    if let Some(lock) = FileLock::try_acquire(&path)? {
        return Ok(lock);
    }
    let (sender, receiver) = oneshot::channel();
    let shown = path.clone();
    std::thread::Builder::new()
        .name(String::from("channel-book-lock"))
        .spawn(move || watch(&path, sender))
        .at(&shown)?;
    receiver
        .await
        .unwrap_or_else(|gone| Err(BookError::Storage(Box::new(gone))))
}

/// Takes the lock as soon as it is free, unless nobody waits for it any more.
fn watch(path: &Path, waiting: oneshot::Sender<Result<FileLock, BookError>>) {
    let mut pause = FIRST_LOOK;
    while !waiting.is_canceled() {
        let Some(found) = FileLock::try_acquire(path).transpose() else {
            std::thread::sleep(pause);
            pause = pause.saturating_mul(2).min(LAST_LOOK);
            continue;
        };
        // A lock that nobody wants any more is given back at once.
        drop(waiting.send(found));
        return;
    }
}

fn open(path: &Path) -> Result<File, BookError> {
    let mut options = OpenOptions::new();
    private(options.write(true).create(true).truncate(false))
        .open(path)
        .at(path)
}

/// New files are for their owner only.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Makes a folder for its owner only, with the ones above it.
pub(super) fn private_folder(path: &Path) -> Result<(), BookError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).at(path)
}
