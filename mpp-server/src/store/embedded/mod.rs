//! A durable store in one file, for one process.
//!
//! Every record is in memory, so a load never reads the disk. Every write goes
//! through one thread, in the order of commits. In the mode
//! [`SyncMode::Group`] whatever has gathered while the disk was busy is
//! written together: many commits share one wait for the disk.
//!
//! A commit is durable once it is in the file's journal; from there commits go
//! into the tables thousands at a time (see `journal`).
//!
//! Nothing is shown before it is acknowledged: a load of a channel whose
//! commit is under way waits for it. Showing the old state instead would let
//! the caller's own commit fail on a version it can not see, again and again
//! until the disk is done; showing the new one would let it act on what a
//! crash takes back.
//!
//! After a failed write the store refuses everything, since what the disk
//! holds then is unknown (a failed `fsync` may have dropped the pages that it
//! did not write). Opening it again tells.
//!
//! A channel takes about 1 KiB of memory, also when it is closed; a document
//! takes about 100 bytes.

mod documents;
mod file;
mod fsck;
mod journal;
mod queue;
mod slot;
mod snapshot;
mod state;
mod tables;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use alloy_primitives::B256;
use mpp_core::Timestamp;
use mpp_tempo::channel::ChannelId;
use tokio::sync::oneshot;

pub use self::fsck::{Defect, Finding, Place, Report, StoreReader};
use self::{
    documents::{Documents, Place as DocumentPlace},
    file::{StoreFile, Values},
    journal::Journal,
    slot::Pending,
    state::{Found, State, Submitted},
    writer::Shared,
};
use super::{
    ChannelStore, Claim, ClaimKey, Commit, Document, DocumentKey, DocumentPage, DocumentWrite,
    Durability, LedgerPage, LossCaps, Numbered, OutcomeKey, Scan, StoreFault, StoredOutcome,
    Version, Versioned, Write, Written,
    codec::{self, journal::Image},
    document,
};
use crate::{
    clock::SharedClock,
    session::{record::ChannelRecord, restart::after_restart},
};

/// When a commit is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// On the disk, each commit with a wait of its own.
    Strict,
    /// On the disk; commits that come together share a wait.
    #[default]
    Group,
    /// At once, as long as a crash would lose no more than this. What comes
    /// on top waits. Commits that concern the chain always wait.
    Relaxed(LossCaps),
}

/// How to open an [`EmbeddedStore`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a store is opened with them"]
pub struct StoreOptions {
    mode: SyncMode,
    clock: SharedClock,
    /// So many commits go from the journal into the tables at once.
    folds: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            mode: SyncMode::default(),
            clock: SharedClock::default(),
            folds: journal::COMMITS,
        }
    }
}

impl StoreOptions {
    /// When commits are acknowledged. Default: [`SyncMode::Group`].
    pub fn mode(mut self, mode: SyncMode) -> Self {
        self.mode = mode;
        self
    }

    /// Where the time comes from. Default: the system's clock.
    pub fn clock(mut self, clock: impl crate::clock::Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }

    /// Opens the store at `path`, or creates it. Blocks while it reads the
    /// records, and after a crash while it repairs the file.
    ///
    /// # Errors
    /// When another process has it open, the disk fails, or a record is
    /// damaged; [`StoreReader::check`] names what.
    pub fn open(self, path: impl AsRef<Path>) -> Result<EmbeddedStore, StoreFault> {
        let path = path.as_ref();
        let file = StoreFile::open(path)?;
        EmbeddedStore::start(file, self, path.to_owned())
    }

    /// How many commits go from the journal into the tables at once.
    #[cfg(test)]
    fn folds(mut self, commits: usize) -> Self {
        self.folds = commits;
        self
    }

    /// Opens the store on any storage.
    #[cfg(test)]
    fn open_on(self, storage: impl redb::StorageBackend) -> Result<EmbeddedStore, StoreFault> {
        EmbeddedStore::start(StoreFile::on(storage)?, self, PathBuf::from("memory"))
    }
}

/// A durable store in one file, for one process.
///
/// Cheap to clone. When the last clone is dropped, everything that was
/// committed is written and the file is closed.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mpp_server::EmbeddedStore;
/// # let path = std::env::temp_dir().join(format!("mpp-doc-{}.store", std::process::id()));
///
/// let store = EmbeddedStore::open(&path)?;
/// // A second opener is refused.
/// assert!(EmbeddedStore::open(&path).is_err());
/// # drop(store);
/// # std::fs::remove_file(path)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EmbeddedStore(Arc<Handle>);

/// Closes the store when the last clone is gone.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    file: Arc<StoreFile>,
    mode: SyncMode,
    path: PathBuf,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the store at `path` in the mode [`SyncMode::Group`], or creates
    /// it. See [`StoreOptions::open`].
    ///
    /// # Errors
    /// As [`StoreOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreFault> {
        StoreOptions::default().open(path)
    }

    /// How to open a store otherwise.
    pub fn options() -> StoreOptions {
        StoreOptions::default()
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    fn start(file: StoreFile, options: StoreOptions, path: PathBuf) -> Result<Self, StoreFault> {
        let mode = options.mode;
        let records = after_crash(&file, options.clock.now())?;
        let mut outcomes = Vec::new();
        let keep = |row| {
            outcomes.push(row);
            Ok(())
        };
        file.outcomes(keep, Values::Leave)?;
        let claims = file.claims()?;
        let state = State::new(mode, records, outcomes, claims, file.newest_entry()?)
            .with_documents(Documents::new(file.document_versions()?));
        let (shared, file) = (Arc::new(Shared::new(state)), Arc::new(file));
        let writer = {
            let (shared, file) = (Arc::clone(&shared), Arc::clone(&file));
            let journal = Journal::of(options.folds);
            let work = move || shared.write_all(&file, mode, journal);
            std::thread::Builder::new()
                .name("mpp-store".into())
                .spawn(work)
        };
        let writer = writer.map_err(|error| {
            StoreFault::lasting("the store's writer can not start", Some(error.into()))
        })?;
        Ok(Self(Arc::new(Handle {
            shared,
            file,
            mode,
            path,
            writer: Some(writer),
        })))
    }

    /// Waits until a job is on the disk.
    async fn written(&self, job: oneshot::Receiver<()>) -> Result<(), StoreFault> {
        job.await.map_err(|_| self.0.shared.why_lost())
    }

    /// Waits until a value counts.
    async fn shown<T>(&self, pending: Pending<T>) -> Result<(Version, T), StoreFault> {
        let Pending {
            value,
            version,
            shown,
        } = pending;
        if let Some(mut shown) = shown {
            let waited = shown.wait_for(|shown| *shown >= version).await;
            waited.map_err(|_| self.0.shared.why_lost())?;
        }
        Ok((version, value))
    }

    /// Reads from the file, where that does not hold up other tasks.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&StoreFile) -> Result<T, StoreFault> + Send + 'static,
    ) -> Result<T, StoreFault> {
        let file = Arc::clone(&self.0.file);
        let read = tokio::task::spawn_blocking(move || read(&file)).await;
        read.map_err(|error| StoreFault::transient("a read was given up", Some(error.into())))?
    }
}

/// The records of a file, without what ended with the process before.
fn after_crash(file: &StoreFile, now: Timestamp) -> Result<Vec<Versioned>, StoreFault> {
    let mut records = file.decoded_records()?;
    let mut changes = Vec::new();
    for found in &mut records {
        let Some(next) = after_restart(&found.record, now) else {
            continue;
        };
        found.version = Version(found.version.0.saturating_add(1));
        found.record = Arc::new(next);
        let (id, record) = (found.record.id, codec::encode_record(&found.record)?);
        changes.push((id, found.version, record));
    }
    if !changes.is_empty() {
        file.write(|writing| {
            let mut changes = changes.iter();
            changes.try_for_each(|(id, version, record)| writing.record(*id, *version, record))
        })?;
    }
    Ok(records)
}

impl ChannelStore for EmbeddedStore {
    async fn load(&self, id: ChannelId) -> Result<Option<Versioned>, StoreFault> {
        match self.0.shared.with(|state| state.load(id))? {
            Some(pending) => Ok(Some(versioned(self.shown(pending).await?))),
            None => Ok(None),
        }
    }

    async fn commit(&self, write: Write) -> Result<Commit, StoreFault> {
        let image = Image::of(write.version(), &write)?;
        match self.0.shared.with(|state| state.submit(write, &image))? {
            Submitted::Conflict => Ok(Commit::Conflict),
            Submitted::Acknowledged(version) => Ok(Commit::Done(version)),
            Submitted::Waiting(version, job) => {
                self.written(job).await?;
                Ok(Commit::Done(version))
            }
        }
    }

    async fn claim(
        &self,
        key: ClaimKey,
        value: B256,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Claim, StoreFault> {
        let work = |state: &mut State| state.claim(key, value, expires, now);
        let (claim, job) = self.0.shared.with(work)?;
        if let Some(job) = job {
            self.written(job).await?;
        }
        Ok(claim)
    }

    async fn outcome(
        &self,
        key: OutcomeKey,
        now: Timestamp,
    ) -> Result<Option<StoredOutcome>, StoreFault> {
        match self.0.shared.with(|state| state.outcome(key, now))? {
            Found::Nowhere => Ok(None),
            Found::InFile => self.read(move |file| file.outcome(key)).await,
            Found::InMemory(pending) => {
                let (_, outcome) = self.shown(pending).await?;
                Ok(Some(Arc::unwrap_or_clone(outcome)))
            }
        }
    }

    async fn oldest_outcome(&self, id: ChannelId) -> Result<Option<StoredOutcome>, StoreFault> {
        // Newer ones may take the place of the one that is read.
        loop {
            let oldest = self.0.shared.with(|state| state.oldest_outcome(id))?;
            let Some(key) = oldest else {
                return Ok(None);
            };
            let found = self.outcome(key, Timestamp::MIN).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    async fn changed(&self, id: ChannelId, since: Version) -> Result<(), StoreFault> {
        let Some(mut shown) = self.0.shared.with(|state| state.follow(id))? else {
            return Ok(());
        };
        let waited = shown.wait_for(|shown| *shown > since).await;
        waited.map(drop).map_err(|_| self.0.shared.why_lost())
    }

    async fn scan(&self, scan: Scan) -> Result<Vec<Versioned>, StoreFault> {
        let mut found = Vec::new();
        for pending in self.0.shared.with(|state| state.scan(scan))? {
            found.push(versioned(self.shown(pending).await?));
        }
        Ok(found)
    }

    /// With a channel in the page, all entries are read to find its own.
    async fn ledger(&self, page: LedgerPage) -> Result<Vec<Numbered>, StoreFault> {
        // Entries are read from their table, and some may be acknowledged that
        // are not there yet.
        if let Some(job) = self.0.shared.with(State::in_tables)? {
            self.written(job).await?;
        }
        self.read(move |file| file.ledger(page)).await
    }

    async fn document(&self, key: DocumentKey) -> Result<Option<Document>, StoreFault> {
        let (place, job) = self.0.shared.with(|state| state.document(key))?;
        if let Some(job) = job {
            self.written(job).await?;
        }
        match place {
            DocumentPlace::Nowhere => Ok(None),
            DocumentPlace::InFile => self.read(move |file| file.document(key)).await,
            DocumentPlace::InMemory(document) => Ok(document),
        }
    }

    async fn write_documents(&self, writes: Vec<DocumentWrite>) -> Result<Written, StoreFault> {
        let writes = document::in_order(writes)?;
        match self.0.shared.with(|state| state.write_documents(writes))? {
            None => Ok(Written::Conflict),
            Some(job) => {
                self.written(job).await?;
                Ok(Written::Done)
            }
        }
    }

    async fn documents(&self, page: DocumentPage) -> Result<Vec<(B256, Document)>, StoreFault> {
        if let Some(job) = self.0.shared.with(State::documents_written)? {
            self.written(job).await?;
        }
        self.read(move |file| file.documents(page)).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreFault> {
        let (count, job) = self.0.shared.with(|state| state.sweep(now, limit))?;
        if let Some(job) = job {
            self.written(job).await?;
        }
        Ok(count)
    }

    fn durability(&self) -> Durability {
        match self.0.mode {
            SyncMode::Strict => Durability::Strict,
            SyncMode::Group => Durability::Group,
            SyncMode::Relaxed(caps) => Durability::Relaxed(caps),
        }
    }
}

fn versioned((version, record): (Version, Arc<ChannelRecord>)) -> Versioned {
    Versioned { version, record }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(writer) = self.writer.take() {
            // Its panic was reported when it happened.
            drop(writer.join());
        }
    }
}

#[cfg(test)]
mod tests;
