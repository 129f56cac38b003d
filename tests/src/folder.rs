//! A directory for what a test keeps on disk.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mpp_server::EmbeddedStore;

/// A directory that is gone with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("mpp-tests-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// The store in a file, as soon as the server before has let go of it.
pub(crate) async fn opened(file: &Path) -> EmbeddedStore {
    for _ in 0..500 {
        if let Ok(store) = EmbeddedStore::open(file) {
            return store;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the store is not closed");
}
