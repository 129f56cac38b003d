//! Runs candidates in turns and takes medians.

use std::time::Duration;

use crate::clock;
use crate::report::{Row, Work};

/// Rounds whose times are thrown away: they build tables and fill caches.
const WARM_UP: usize = 3;

/// Something that does the same work on a number of items each time it runs.
pub struct Candidate<'a> {
    id: String,
    label: String,
    work: Work,
    clock: fn() -> Duration,
    items: u64,
    run: Box<dyn FnMut() + 'a>,
}

impl std::fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Candidate").field(&self.id).finish()
    }
}

impl<'a> Candidate<'a> {
    /// A candidate that judges `items` signatures per run, on the calling thread.
    pub fn new(
        id: impl Into<String>,
        label: impl Into<String>,
        items: usize,
        run: impl FnMut() + 'a,
    ) -> Self {
        Self {
            id: id.into(),
            label: label.into(),
            work: Work::Signature,
            clock: clock::of_this_thread,
            items: items as u64,
            run: Box::new(run),
        }
    }

    /// Something else is done to the items.
    #[must_use]
    pub fn doing(mut self, work: Work) -> Self {
        self.work = work;
        self
    }

    /// Other threads do the work, so the clock on the wall counts.
    #[must_use]
    pub fn on_other_threads(mut self) -> Self {
        self.clock = clock::on_the_wall;
        self
    }

    fn picoseconds_per_item(&mut self) -> u64 {
        let start = (self.clock)();
        (self.run)();
        let elapsed = (self.clock)().saturating_sub(start);
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        nanoseconds.saturating_mul(1000) / self.items
    }
}

/// Runs every candidate once per round, and reports the median of `rounds` rounds.
#[must_use]
pub fn interleaved(mut candidates: Vec<Candidate<'_>>, rounds: usize) -> Vec<Row> {
    let mut times = vec![Vec::with_capacity(rounds); candidates.len()];
    for round in 0..WARM_UP + rounds {
        for (candidate, times) in candidates.iter_mut().zip(&mut times) {
            let time = candidate.picoseconds_per_item();
            if round >= WARM_UP {
                times.push(time);
            }
        }
    }
    let rows = candidates.into_iter().zip(times);
    rows.map(|(candidate, mut times)| {
        times.sort_unstable();
        Row {
            id: candidate.id,
            label: candidate.label,
            work: candidate.work,
            median_ps: times[rounds / 2],
            fastest_ps: times[0],
            slowest_ps: times[rounds - 1],
        }
    })
    .collect()
}
