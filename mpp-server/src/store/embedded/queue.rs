//! What waits for the writer.

use std::collections::VecDeque;

use mpp_tempo::channel::ChannelId;
use tokio::sync::oneshot;

use super::{
    slot::Sums,
    tables::{ClaimRow, DocumentRow},
};
use crate::store::{
    ClaimKey, OutcomeKey, Version,
    codec::journal::{Image, Row},
};

/// A row of the journal takes no more changes when it has so many bytes.
const ROW_BYTES: usize = 60 * 1024;

/// Jobs in the order of commits, and the changes of channels among them as
/// they go into the journal.
#[derive(Debug, Default)]
pub(super) struct Queue {
    jobs: VecDeque<Job>,
    /// Rows that take no more.
    full: VecDeque<Row>,
    /// The row that takes what comes.
    open: Row,
    /// Each job that has something for the journal has a row of its own.
    alone: bool,
}

/// Something for the writer to do.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) task: Task,
    /// Dropped without a word when the write fails.
    done: Option<oneshot::Sender<()>>,
}

/// What there is to do.
#[derive(Debug)]
pub(super) enum Task {
    /// A commit of a channel. Its change is in a row.
    Commit {
        id: ChannelId,
        version: Version,
        sums: Sums,
        outcome: Option<OutcomeKey>,
    },
    /// A claim, in place of one of its key that has ended.
    Claim(ClaimRow),
    /// Documents that are written together.
    Documents(Vec<DocumentRow>),
    /// Claims that have ended. Outcomes that have are in a row.
    Ended(Vec<ClaimKey>),
    /// Everything before it goes into the tables.
    Fold,
    /// Nothing, but what comes before it.
    Barrier,
}

/// What the writer takes at once.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) jobs: Vec<Job>,
    pub(super) rows: Vec<Row>,
}

impl Queue {
    /// A queue whose jobs are written one by one.
    pub(super) fn alone() -> Self {
        Self {
            alone: true,
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Adds what a [`Task::Commit`] changes.
    pub(super) fn change(&mut self, image: &Image, entry: Option<u64>, ended: &[OutcomeKey]) {
        self.open.push(image, entry, ended);
        self.end_row();
    }

    /// Adds the outcomes that end with a [`Task::Ended`].
    pub(super) fn end_outcomes(&mut self, ended: &[OutcomeKey]) {
        self.open.end(ended);
        self.end_row();
    }

    fn end_row(&mut self) {
        if self.alone || self.open.len() >= ROW_BYTES {
            let room = match self.alone {
                true => 0,
                false => ROW_BYTES,
            };
            let full = std::mem::replace(&mut self.open, Row::with_capacity(room));
            self.full.push_back(full);
        }
    }

    /// Adds a job that nobody waits for.
    pub(super) fn push(&mut self, task: Task) {
        self.jobs.push_back(Job { task, done: None });
    }

    /// Adds a job; the receiver tells when it is on the disk.
    pub(super) fn push_awaited(&mut self, task: Task) -> oneshot::Receiver<()> {
        let (done, waiting) = oneshot::channel();
        let done = Some(done);
        self.jobs.push_back(Job { task, done });
        waiting
    }

    /// The first job, where each has its own row.
    pub(super) fn take_one(&mut self) -> Group {
        let job = self.jobs.pop_front();
        let has_row = job
            .as_ref()
            .is_some_and(|job| matches!(job.task, Task::Commit { .. } | Task::Ended(_)));
        let row = has_row.then(|| self.full.pop_front()).flatten();
        Group {
            jobs: job.into_iter().collect(),
            rows: row.into_iter().collect(),
        }
    }

    /// All jobs. The next ones find as much room.
    pub(super) fn take_all(&mut self) -> Group {
        let room = VecDeque::with_capacity(self.jobs.len());
        let jobs = std::mem::replace(&mut self.jobs, room);
        let mut rows = Vec::from(std::mem::take(&mut self.full));
        if !self.open.is_empty() {
            let room = Row::with_capacity(self.open.len());
            rows.push(std::mem::replace(&mut self.open, room));
        }
        Group {
            jobs: jobs.into(),
            rows,
        }
    }

    /// Forgets everything: whoever waits learns that it is in vain.
    pub(super) fn clear(&mut self) {
        self.jobs.clear();
        self.full.clear();
        self.open = Row::default();
    }
}

impl Job {
    /// Tells whoever waits that the job is on the disk.
    pub(super) fn acknowledge(self) {
        if let Some(done) = self.done {
            // A caller that has gone does not need to know.
            let _gone = done.send(());
        }
    }
}
