//! The embedded store keeps its promises, on files and on failing disks.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "tests count to small numbers and run with overflow checks"
)]

mod crash;
mod disk;
mod faults;
mod files;
mod journal;
mod kill;
mod modes;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use mpp_core::Amount;

use super::*;
use crate::{
    clock::ManualClock,
    store::conformance::{self, Backend, sample},
};

/// A folder of its own for a test, removed at the end.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("mpp-embedded-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn options(mode: SyncMode) -> StoreOptions {
    EmbeddedStore::options()
        .mode(mode)
        .clock(ManualClock::new(sample::at(0)))
}

fn caps(per_channel: u128, total: u128) -> SyncMode {
    SyncMode::Relaxed(LossCaps {
        per_channel: Amount::new(per_channel),
        total: Amount::new(total),
    })
}

/// Stores on files of one folder.
struct Files {
    folder: Folder,
    options: StoreOptions,
    count: AtomicU32,
}

impl Backend for Files {
    type Store = EmbeddedStore;

    async fn create(&self) -> EmbeddedStore {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let path = self.folder.file(&format!("{number}.store"));
        self.options.clone().open(path).unwrap()
    }

    async fn another(&self, store: &EmbeddedStore) -> EmbeddedStore {
        store.clone()
    }

    async fn reopen(&self, store: EmbeddedStore) -> Option<EmbeddedStore> {
        let path = store.path().to_owned();
        drop(store);
        Some(self.options.clone().open(path).unwrap())
    }

    fn model_cases(&self) -> u32 {
        8
    }
}

async fn keeps_every_promise(options: StoreOptions) {
    let files = Files {
        folder: Folder::new(),
        options,
        count: AtomicU32::new(0),
    };
    conformance::run_all(&files).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn strict_keeps_every_promise() {
    keeps_every_promise(options(SyncMode::Strict)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn group_keeps_every_promise() {
    keeps_every_promise(options(SyncMode::Group)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn relaxed_keeps_every_promise() {
    keeps_every_promise(options(caps(20, 100))).await;
}

// Commits are promised before they are in the tables, and after.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_promise_holds_wherever_the_commits_are() {
    for mode in [SyncMode::Strict, SyncMode::Group, caps(20, 100)] {
        keeps_every_promise(options(mode).folds(3)).await;
    }
}
