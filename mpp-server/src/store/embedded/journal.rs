//! What is on the disk and not in its tables yet.
//!
//! A group of commits touches as many pages of the tables as it has channels,
//! and each of them again with the next group. So the changes of channels are
//! written behind each other first, in a few rows for each group; that they are
//! on the disk is what counts. Now and then everything that has gathered goes
//! into the tables: the newest record of each channel once, and in the order of
//! ids. A crash in between loses nothing: whoever opens the file does the same
//! first.

use super::{
    file::StoreFile,
    queue::{Job, Task},
    tables::Writing,
};
use crate::store::{OutcomeKey, StoreFault, Version, codec::journal::Row};

/// So many commits go into the tables at once. More would save little, and
/// whoever commits then waits.
pub(super) const COMMITS: usize = 4_096;
/// They go earlier when they have so many bytes. They are in memory until then.
const BYTES: usize = 4 * 1024 * 1024;

/// The rows that are not in the tables, and what to tell when they are.
#[derive(Debug)]
pub(super) struct Journal {
    /// So many commits go into the tables at once.
    commits: usize,
    rows: Vec<Vec<u8>>,
    bytes: usize,
    /// How many of the rows are on the disk.
    on_disk: usize,
    unfolded: Folded,
    /// What has gone into the tables since it was told last.
    folded: Option<Folded>,
}

/// Commits that have gone into the tables.
#[derive(Debug, Default)]
pub(super) struct Folded {
    pub(super) commits: usize,
    pub(super) outcomes: Vec<(OutcomeKey, Version)>,
}

impl Journal {
    /// An empty journal that takes so many commits.
    pub(super) fn of(commits: usize) -> Self {
        Self {
            commits,
            rows: Vec::new(),
            bytes: 0,
            on_disk: 0,
            unfolded: Folded::default(),
            folded: None,
        }
    }

    /// Writes jobs and the rows that belong to them. When it returns, they are
    /// on the disk.
    pub(super) fn write(
        &mut self,
        file: &StoreFile,
        rows: Vec<Row>,
        jobs: &[Job],
    ) -> Result<(), StoreFault> {
        for row in rows {
            let row = row.seal();
            self.bytes = self.bytes.saturating_add(row.len());
            self.rows.push(row);
        }
        for job in jobs {
            if let Task::Commit {
                version, outcome, ..
            } = &job.task
            {
                self.unfolded.commits = self.unfolded.commits.saturating_add(1);
                let outcome = outcome.map(|key| (key, *version));
                self.unfolded.outcomes.extend(outcome);
            }
        }
        let asked = jobs.iter().any(|job| matches!(job.task, Task::Fold));
        let full = self.unfolded.commits >= self.commits || self.bytes >= BYTES;
        let folds = (asked || full) && !self.rows.is_empty();
        let has_rows = folds || self.on_disk < self.rows.len();
        // What only waits for others has waited: those were written before.
        if !has_rows && !jobs.iter().any(Job::writes) {
            return Ok(());
        }
        file.write(|writing| {
            match folds {
                true => self.put(writing)?,
                false => self.append(writing)?,
            }
            jobs.iter().try_for_each(|job| job.write(writing))
        })?;
        match folds {
            true => self.forget(),
            false => self.on_disk = self.rows.len(),
        }
        Ok(())
    }

    /// Puts everything into the tables.
    pub(super) fn fold(&mut self, file: &StoreFile) -> Result<(), StoreFault> {
        if !self.rows.is_empty() {
            file.write(|writing| self.put(writing))?;
            self.forget();
        }
        Ok(())
    }

    /// What has gone into the tables since this was asked last.
    pub(super) fn take_folded(&mut self) -> Option<Folded> {
        self.folded.take()
    }

    fn append(&self, writing: &Writing<'_>) -> Result<(), StoreFault> {
        let mut number = u64::try_from(self.on_disk).unwrap_or(u64::MAX);
        let new = self.rows.get(self.on_disk..).unwrap_or_default();
        new.iter().try_for_each(|row| {
            number = number.saturating_add(1);
            writing.append(number, row)
        })
    }

    fn put(&self, writing: &Writing<'_>) -> Result<(), StoreFault> {
        writing.fold(self.rows.iter().map(Vec::as_slice))?;
        match self.on_disk {
            0 => Ok(()),
            _ => writing.strike_all(),
        }
    }

    fn forget(&mut self) {
        self.folded = Some(std::mem::take(&mut self.unfolded));
        self.rows.clear();
        self.bytes = 0;
        self.on_disk = 0;
    }
}

impl Job {
    /// Whether it writes to tables that have no journal.
    fn writes(&self) -> bool {
        match &self.task {
            Task::Claim { .. } | Task::Documents(_) => true,
            Task::Ended(claims) => !claims.is_empty(),
            Task::Commit { .. } | Task::Fold | Task::Barrier => false,
        }
    }

    fn write(&self, writing: &Writing<'_>) -> Result<(), StoreFault> {
        match &self.task {
            Task::Claim(claim) => writing.claim(claim),
            Task::Documents(rows) => writing.documents(rows),
            Task::Ended(claims) if !claims.is_empty() => writing.end_claims(claims),
            Task::Ended(_) | Task::Commit { .. } | Task::Fold | Task::Barrier => Ok(()),
        }
    }
}
