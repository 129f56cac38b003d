//! Linearizability: what concurrent callers saw is what a serial order gives.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::task::JoinSet;

use super::{Backend, done, found, healthy, sample};
use crate::store::{ChannelStore, Commit};

/// One call, between two ticks of a clock that all callers share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) saw: Saw,
}

/// What a call returned.
#[derive(Clone, Copy, Debug)]
pub(super) enum Saw {
    /// A load: the version and what was spent in it.
    Loaded(u64, u128),
    /// A commit that made this version, with this spent.
    Committed(u64, u128),
    /// A commit that found another version than this.
    Conflicted(u64),
}

impl Saw {
    /// Where the call stands in the one serial order there can be: commits by
    /// their version, loads behind the commit that they show. A conflict
    /// shows only that its version had gone.
    fn position(self) -> Option<u64> {
        match self {
            Self::Committed(version, _) => Some(version.saturating_mul(2)),
            Self::Loaded(version, _) => Some(version.saturating_mul(2).saturating_add(1)),
            Self::Conflicted(_) => None,
        }
    }
}

/// Every history of one channel equals a serial one, in real-time order.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn histories_are_serial(backend: &impl Backend) {
    for round in 0..4 {
        let calls = record_history(backend, round).await;
        if let Err(why) = check(&calls) {
            panic!("no serial order explains what callers saw: {why}");
        }
    }
}

async fn record_history(backend: &impl Backend, round: u64) -> Vec<Call> {
    const CALLERS: u64 = 6;
    const EACH: u64 = 40;
    let store = Arc::new(backend.create().await);
    let other = Arc::new(backend.another(&store).await);
    let record = sample::record(round);
    let id = record.id;
    done(&*store, sample::first(record)).await;
    let clock = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let store = Arc::clone(if caller.is_multiple_of(2) {
            &store
        } else {
            &other
        });
        let clock = Arc::clone(&clock);
        callers.spawn(async move {
            let tick = || clock.fetch_add(1, Ordering::SeqCst);
            let mut calls = Vec::new();
            for _ in 0..EACH {
                let start = tick();
                let seen = found(&*store, id).await;
                let saw = Saw::Loaded(seen.version.0, seen.record.spent.base_units());
                calls.push(Call {
                    start,
                    end: tick(),
                    saw,
                });
                // Others come between load and commit.
                tokio::task::yield_now().await;
                let charge = sample::charge(seen.version, &seen.record);
                let spent = charge.next.spent.base_units();
                let start = tick();
                let saw = match healthy(store.commit(charge).await) {
                    Commit::Done(version) => Saw::Committed(version.0, spent),
                    Commit::Conflict => Saw::Conflicted(seen.version.0),
                };
                calls.push(Call {
                    start,
                    end: tick(),
                    saw,
                });
            }
            calls
        });
    }
    callers.join_all().await.into_iter().flatten().collect()
}

/// Looks for a reason why no serial order explains the calls on one channel
/// that began with version 1 and nothing spent.
pub(super) fn check(calls: &[Call]) -> Result<(), String> {
    let mut states = BTreeMap::from([(1, 0)]);
    for call in calls {
        if let Saw::Committed(version, spent) = call.saw
            && states.insert(version, spent).is_some()
        {
            return Err(format!("version {version} was made twice"));
        }
    }
    let last = states.keys().next_back().copied().unwrap_or(1);
    if u64::try_from(states.len()) != Ok(last) {
        return Err(format!("{} commits made version {last}", states.len()));
    }
    for call in calls {
        if let Saw::Loaded(version, spent) = call.saw
            && states.get(&version) != Some(&spent)
        {
            return Err(format!("{call:?} shows what nobody committed"));
        }
        check_order(call, calls, last)?;
    }
    Ok(())
}

/// A call stands behind all that had ended before it began, and before all
/// that began after it had ended.
fn check_order(call: &Call, calls: &[Call], last: u64) -> Result<(), String> {
    let before = calls.iter().filter(|other| other.end < call.start);
    let after = calls.iter().filter(|other| other.start > call.end);
    let earliest = before
        .filter_map(|other| other.saw.position())
        .max()
        .unwrap_or(0);
    let latest = after
        .filter_map(|other| other.saw.position())
        .min()
        .unwrap_or(u64::MAX);
    let fits = match call.saw {
        Saw::Conflicted(expected) => (expected.saturating_add(1)..=last).any(|version| {
            let shown = version.saturating_mul(2).saturating_add(1);
            (earliest..=latest).contains(&shown)
        }),
        saw => saw
            .position()
            .is_some_and(|at| (earliest..=latest).contains(&at)),
    };
    if fits {
        Ok(())
    } else {
        Err(format!(
            "{call:?} fits nowhere between {earliest} and {latest}"
        ))
    }
}
