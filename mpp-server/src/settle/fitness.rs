//! Whether this process can do what a leader has to.
//!
//! The lease shows that its holder is alive, not that its node or its signer
//! answers, or that its node gets anything done: one that stands still answers all
//! questions. So a leader whose looks fail for as long as the lease lasts lets go of
//! it after each, and takes it again a little later unless somebody else has it.
//! Who waits takes such a lease only if its own node answers and follows the chain,
//! and it has not let go itself just before: those that are equally ill do not take
//! turns, or less and less often.

use std::time::Duration;

use mpp_core::Timestamp;
use mpp_tempo::chain::{BlockInfo, ChainClient, ChainError};

use super::{collect::Collected, desk::LONGEST};
use crate::{error::Fault, session::SessionContext, store::ChannelStore};

/// Looks that must fail in a row: one alone may have met a node that restarts.
const LOOKS: u32 = 2;

/// Looks that failed so much earlier have nothing to do with this one.
const MEMORY: Duration = Duration::from_secs(5 * 60);

/// Who has let go takes over from others again only after so long; twice as long
/// each time that it does no better.
const REST: Duration = Duration::from_secs(60);

/// A chain may be so far behind our clock, as one is that is slow.
const SLOW: Duration = Duration::from_secs(30);

/// Who waits does not rely on a node whose newest block is older. It may be that of
/// a chain on which nothing happens: then it waits for no longer than the lease.
const OLD: Duration = Duration::from_secs(60);

/// A look without progress for so long hangs, as when a signer does not answer.
/// One step asks a node several times, and each call may take until its timeout.
const LONGEST_STEP: Duration = Duration::from_secs(120);

/// How the looks of this process went, while it led.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fitness {
    /// How they have failed so far.
    failing: Option<Failing>,
    /// When it last let go of the lease, and for how long it then rests.
    let_go: Option<(Timestamp, Duration)>,
    /// When the look that is going on came forward last.
    step: Option<Timestamp>,
    /// What that look has shown so far.
    shown: Shown,
}

/// Looks that have failed in a row.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Timestamp,
    /// When the last of them did.
    until: Timestamp,
    looks: u32,
}

/// What a look has shown of the node. Of several things the last one here counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shown {
    /// There was nothing to show it with.
    #[default]
    Nothing,
    /// It did not take what was sent for the first time.
    Refuses,
    /// It may have taken a transaction.
    MayTake,
    /// Its clock does not reach the end of a transaction that is long over.
    StandsStill,
    /// It has shown a transaction of ours in a block.
    Works,
}

/// How a look went, as far as node and signer are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    Well,
    Badly,
    /// What it has sent still waits, or something else failed: nobody can tell.
    Unknown,
}

impl Fitness {
    /// A look begins.
    pub(super) fn begins(&mut self, now: Timestamp) {
        (self.step, self.shown) = (Some(now), Shown::Nothing);
    }

    /// The node has shown something of itself.
    pub(super) fn shows(&mut self, shown: Shown) {
        self.shown = self.shown.max(shown);
    }

    fn judge(&self, looked: &Result<(), Fault>, collected: &Collected) -> Went {
        match (self.shown, looked) {
            _ if collected.done > 0 => Went::Well,
            (Shown::Works, _) => Went::Well,
            (Shown::Refuses | Shown::StandsStill, _)
            | (_, Err(Fault::Chain(_) | Fault::Signer(_))) => Went::Badly,
            // Of the fitness of this process it says nothing.
            (_, Err(_)) => Went::Unknown,
            (_, Ok(())) if collected.waiting > 0 => Went::Unknown,
            (_, Ok(())) => Went::Well,
        }
    }

    /// A look did what there was to do.
    pub(super) fn succeeded(&mut self) {
        (self.failing, self.let_go) = (None, None);
    }

    /// A look failed for a reason that another process need not have. Says
    /// whether it is time to let go of a lease that lasts for `lasts`.
    pub(super) fn failed(&mut self, now: Timestamp, lasts: Duration) -> bool {
        let before = self
            .failing
            .filter(|before| now.saturating_duration_since(before.until) < MEMORY);
        let failing = Failing {
            since: before.map_or(now, |before| before.since),
            until: now,
            looks: before.map_or(0, |before| before.looks).saturating_add(1),
        };
        self.failing = Some(failing);
        let time = now.saturating_duration_since(failing.since);
        let is_time = failing.looks >= LOOKS && time >= lasts;
        if is_time {
            let rest = match self.let_go {
                // Its turn came again, and it did no better.
                Some((_, rest)) if self.is_rested(now) => rest.saturating_mul(2).min(LONGEST),
                Some((_, rest)) => rest,
                None => REST,
            };
            self.let_go = Some((now, rest));
        }
        is_time
    }

    /// Whether others are to have the lease that this process has let go.
    pub(super) fn stands_aside(&self, now: Timestamp, lasts: Duration) -> bool {
        let half = lasts.checked_div(2).unwrap_or(lasts);
        self.has_let_go_within(now, |_| half)
    }

    /// Whether it may take the place of one that has let go.
    pub(super) fn is_rested(&self, now: Timestamp) -> bool {
        !self.has_let_go_within(now, |rest| rest)
    }

    fn has_let_go_within(&self, now: Timestamp, time: impl Fn(Duration) -> Duration) -> bool {
        // A clock that has gone back since is no reason to wait for it.
        self.let_go
            .is_some_and(|(at, rest)| at <= now && now.saturating_duration_since(at) < time(rest))
    }

    /// The look that is going on has come forward.
    pub(super) fn steps(&mut self, now: Timestamp) {
        self.step = Some(now);
    }

    /// The look is over.
    pub(super) fn rests(&mut self) {
        self.step = None;
    }

    /// Whether a look is going on that does not come forward.
    pub(super) fn hangs(&self, now: Timestamp) -> bool {
        self.step
            .is_some_and(|at| now.saturating_duration_since(at) > LONGEST_STEP)
    }
}

impl<S: ChannelStore> SessionContext<S> {
    /// Lets go of the lease when node or signer keep failing: another process
    /// may have better ones, and deadlines run.
    ///
    /// # Cancel safety
    /// Dropped, it is let go or ends by itself.
    pub(super) async fn note_fitness(&self, looked: &Result<(), Fault>, collected: &Collected) {
        let (now, lasts) = (self.clock.now(), self.settlement.policy.lease);
        let lets_go = {
            let mut fitness = self.settlement.fitness();
            match fitness.judge(looked, collected) {
                Went::Well => {
                    fitness.succeeded();
                    false
                }
                Went::Badly => fitness.failed(now, lasts),
                Went::Unknown => false,
            }
        };
        if !lets_go {
            return;
        }
        tracing::warn!("node or signer keep failing; another process may collect");
        if let Err(fault) = self.stop_leading().await {
            tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "the lease could not be given up"
            );
        }
    }

    /// Whether this process could collect, as far as its node and what it did
    /// before tell.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(super) async fn is_able(&self, now: Timestamp) -> bool {
        if !self.settlement.fitness().is_rested(now) {
            return false;
        }
        let asked = async {
            let seen = self.learn_seen().await?;
            let head = self.chain.block().await?;
            if is_older(head, OLD, now) {
                return Err(ChainError::unreachable("the node's newest block is old").into());
            }
            seen.require_caught_up(head)
        };
        let answered: Result<(), Fault> = asked.await;
        if let Err(fault) = &answered {
            tracing::warn!(
                error = fault as &dyn std::error::Error,
                "nobody collects, and this process can not either"
            );
        }
        answered.is_ok()
    }
}

/// Whether a node stands still that shows nothing of a transaction which could be
/// mined `until` some Unix time, in seconds.
pub(super) fn stands_still(until: u64, now: Timestamp) -> bool {
    let secs = u64::try_from(now.as_secs()).unwrap_or_default();
    secs >= until.saturating_add(SLOW.as_secs())
}

fn is_older(head: BlockInfo, age: Duration, now: Timestamp) -> bool {
    let secs = u64::try_from(now.as_secs()).unwrap_or_default();
    secs.saturating_sub(head.timestamp) > age.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    const LASTS: Duration = Duration::from_secs(10);

    #[test]
    fn who_fails_for_as_long_as_the_lease_lasts_lets_go() {
        let mut fitness = Fitness::default();
        assert!(!fitness.failed(at(0), LASTS) && !fitness.failed(at(9), LASTS));
        fitness.succeeded();
        assert!(!fitness.failed(at(10), LASTS) && !fitness.failed(at(19), LASTS));
        assert!(fitness.failed(at(20), LASTS) && fitness.failed(at(26), LASTS));
        // A single look that took long.
        let mut fitness = Fitness::default();
        assert!(!fitness.failed(at(40), LASTS));
        // What happened an hour ago is another matter.
        assert!(!fitness.failed(at(3_640), LASTS) && fitness.failed(at(3_650), LASTS));
    }

    #[test]
    fn who_has_let_go_stands_aside_and_takes_over_later() {
        let mut fitness = Fitness::default();
        assert!(!fitness.stands_aside(at(0), LASTS) && fitness.is_rested(at(0)));
        fitness.failed(at(0), LASTS);
        assert!(fitness.failed(at(10), LASTS));
        assert!(fitness.stands_aside(at(14), LASTS) && !fitness.stands_aside(at(15), LASTS));
        assert!(!fitness.is_rested(at(69)) && fitness.is_rested(at(70)));
        // It rests for longer when it had its turn and did no better.
        assert!(fitness.failed(at(15), LASTS) && fitness.is_rested(at(75)));
        assert!(fitness.failed(at(75), LASTS));
        assert!(!fitness.is_rested(at(194)) && fitness.is_rested(at(195)));
        fitness.succeeded();
        assert!(fitness.is_rested(at(76)));
    }

    #[track_caller]
    fn check(shown: &[Shown], looked: Result<(), Fault>, collected: Collected, went: Went) {
        let mut fitness = Fitness::default();
        fitness.begins(at(0));
        for shown in shown {
            fitness.shows(*shown);
        }
        assert_eq!(fitness.judge(&looked, &collected), went);
    }

    #[test]
    fn a_look_went_as_the_node_has_shown() {
        let gone = || Err(ChainError::unreachable("gone").into());
        let none = Collected::default();
        let waits = Collected {
            begun: 1,
            waiting: 1,
            ..none
        };
        let done = Collected { done: 1, ..waits };
        check(&[], Ok(()), none, Went::Well);
        check(&[], Ok(()), waits, Went::Unknown);
        check(&[Shown::MayTake], Ok(()), waits, Went::Unknown);
        check(&[Shown::Refuses], Ok(()), waits, Went::Badly);
        check(&[Shown::StandsStill], Ok(()), waits, Went::Badly);
        check(
            &[Shown::MayTake, Shown::Refuses],
            Ok(()),
            waits,
            Went::Unknown,
        );
        check(
            &[Shown::StandsStill, Shown::MayTake],
            Ok(()),
            waits,
            Went::Badly,
        );
        check(&[Shown::Works, Shown::Refuses], Ok(()), waits, Went::Well);
        check(&[Shown::Refuses], Ok(()), done, Went::Well);
        check(&[], gone(), waits, Went::Badly);
        check(&[Shown::Works], gone(), waits, Went::Well);
        check(&[], gone(), done, Went::Well);
        check(&[], Err(Fault::NotLeading), none, Went::Unknown);
        check(
            &[Shown::StandsStill],
            Err(Fault::OutcomeUnknown),
            waits,
            Went::Badly,
        );
    }

    #[test]
    fn a_look_hangs_that_does_not_come_forward() {
        let mut fitness = Fitness::default();
        fitness.steps(at(0));
        fitness.steps(at(50));
        assert!(!fitness.hangs(at(170)) && fitness.hangs(at(171)));
        fitness.rests();
        assert!(!fitness.hangs(at(171)));
    }
}
