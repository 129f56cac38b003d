//! What went wrong with which file.

use std::io;
use std::path::{Path, PathBuf};

use crate::session::book::BookError;

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{} can not be used", .path.display())]
struct FileError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The disk failed to keep an earlier change.
#[derive(Debug, thiserror::Error)]
#[error("an earlier change could not be written; open the book again")]
pub(super) struct Failed;

impl BookError {
    /// A file that does not say what was written to it.
    pub(super) fn damaged(path: &Path) -> Self {
        Self::Damaged {
            file: path.to_owned(),
        }
    }
}

/// Says which file an error is about.
pub(super) trait At<T> {
    fn at(self, path: &Path) -> Result<T, BookError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, BookError> {
        self.map_err(|source| {
            let path = path.to_owned();
            BookError::Storage(Box::new(FileError { path, source }))
        })
    }
}
