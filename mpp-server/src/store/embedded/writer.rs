//! The thread that writes, and what it shares with the callers.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    SyncMode,
    file::StoreFile,
    journal::Journal,
    queue::{Group, Job},
    state::State,
};
use crate::store::StoreFault;

/// How long a group waits for company. It ends sooner when as many have come as
/// the last time, and a lone commit never waits.
const COMPANY: Duration = Duration::from_millis(2);

/// What callers and writer share.
#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// Signals that there is enough to write, or that the store closes.
    work: Condvar,
}

#[derive(Debug)]
struct Inner {
    state: State,
    health: Health,
    /// So many jobs wake the writer.
    wanted: usize,
}

#[derive(Debug)]
enum Health {
    Open,
    /// The last handle is gone; the writer finishes.
    Closing,
    /// A write failed. Memory is ahead of the disk, and what the disk holds is
    /// not known: only opening it again tells.
    Failed(Arc<StoreFault>),
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self {
            inner: Mutex::new(Inner {
                state,
                health: Health::Open,
                wanted: 1,
            }),
            work: Condvar::new(),
        }
    }

    /// Works on the state, and wakes the writer when that is worth it.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> Result<T, StoreFault> {
        let mut inner = self.lock();
        if let Health::Failed(cause) = &inner.health {
            return Err(failed(cause));
        }
        let result = work(&mut inner.state);
        if inner.state.queue.len() >= inner.wanted {
            self.work.notify_one();
        }
        Ok(result)
    }

    /// Why somebody who waited for the disk waits in vain.
    pub(super) fn why_lost(&self) -> StoreFault {
        match &self.lock().health {
            Health::Failed(cause) => failed(cause),
            Health::Open | Health::Closing => {
                StoreFault::lasting("the channel store is gone", None)
            }
        }
    }

    /// Lets the writer finish what is queued, and end.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        if matches!(inner.health, Health::Open) {
            inner.health = Health::Closing;
        }
        self.work.notify_one();
    }

    /// The writer's whole life.
    pub(super) fn write_all(&self, file: &StoreFile, mode: SyncMode, mut journal: Journal) {
        let _abandon = AbandonOnPanic(self);
        let mut last = 1;
        while let Some(group) = self.next_group(mode, last) {
            let Group { jobs, rows } = group;
            last = jobs.len();
            match journal.write(file, rows, &jobs) {
                Ok(()) => self.settle(jobs, &mut journal),
                Err(fault) => {
                    // Whoever waits for these jobs asks why when they are
                    // dropped, so the answer comes first.
                    self.fail(fault);
                    drop(jobs);
                    return;
                }
            }
        }
        if let Err(fault) = journal.fold(file) {
            self.fail(fault);
        }
    }

    /// What is queued, once there is something; `None` when the store closes.
    fn next_group(&self, mode: SyncMode, last: usize) -> Option<Group> {
        let mut inner = self.lock();
        while inner.state.queue.is_empty() {
            if !matches!(inner.health, Health::Open) {
                return None;
            }
            inner.wanted = 1;
            inner = self.wait(inner);
        }
        if mode == SyncMode::Strict {
            return Some(inner.state.queue.take_one());
        }
        inner.wanted = last;
        let missing = |inner: &mut Inner| {
            inner.state.queue.len() < last && matches!(inner.health, Health::Open)
        };
        let waited = self.work.wait_timeout_while(inner, COMPANY, missing);
        let mut inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        Some(inner.state.queue.take_all())
    }

    fn settle(&self, jobs: Vec<Job>, journal: &mut Journal) {
        let mut inner = self.lock();
        inner.state.settle(&jobs);
        if let Some(folded) = journal.take_folded() {
            inner.state.folded(&folded);
        }
        drop(inner);
        for job in jobs {
            job.acknowledge();
        }
    }

    fn fail(&self, fault: StoreFault) {
        tracing::error!(
            error = %fault,
            cause = fault.source().map(tracing::field::display),
            "the channel store can not be written; nothing is sold until it is opened again"
        );
        let mut inner = self.lock();
        inner.health = Health::Failed(Arc::new(fault));
        inner.state.abandon();
    }

    fn wait<'a>(&'a self, inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        let inner = self.work.wait(inner);
        inner.unwrap_or_else(PoisonError::into_inner)
    }

    // Nothing below can panic halfway through a change of the state; and if it
    // did, the writer refuses to go on.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A writer that ends in a panic leaves nobody waiting.
struct AbandonOnPanic<'a>(&'a Shared);

impl Drop for AbandonOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .fail(StoreFault::lasting("the writer panicked", None));
        }
    }
}

fn failed(cause: &Arc<StoreFault>) -> StoreFault {
    let message = "the channel store has failed and must be opened again";
    StoreFault::lasting(message, Some(Box::new(Cause(Arc::clone(cause)))))
}

/// The one failure, as the source of every refusal after it.
#[derive(Debug)]
struct Cause(Arc<StoreFault>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
