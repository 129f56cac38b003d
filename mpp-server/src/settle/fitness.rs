//! Whether this process can do what a leader has to.
//!
//! The lease shows that its holder is alive, not that its node or its signer
//! answers. So a leader whose looks fail for as long as the lease lasts lets go of
//! it after each, and takes it again a little later unless somebody else has it.
//! Who waits takes such a lease only if its own node answers and it has not let go
//! itself just before: those that are equally ill do not take turns.

use std::time::Duration;

use mpp_core::Timestamp;
use mpp_tempo::chain::ChainClient;

use super::collect::Collected;
use crate::{error::Fault, session::SessionContext, store::ChannelStore};

/// Looks that must fail in a row: one alone may have met a node that restarts.
const LOOKS: u32 = 2;

/// Who has let go takes over from others again only after so long.
const REST: Duration = Duration::from_secs(60);

/// A look without progress for so long hangs, as when a signer does not answer.
/// One step asks a node several times, and each call may take until its timeout.
const LONGEST_STEP: Duration = Duration::from_secs(120);

/// How the looks of this process went, while it led.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fitness {
    /// Since when they fail, and how many have.
    failing: Option<(Timestamp, u32)>,
    /// When it last let go of the lease.
    let_go: Option<Timestamp>,
    /// When the look that is going on came forward last.
    step: Option<Timestamp>,
}

impl Fitness {
    /// A look did what there was to do.
    pub(super) fn succeeded(&mut self) {
        (self.failing, self.let_go) = (None, None);
    }

    /// A look failed for a reason that another process need not have. Says
    /// whether it is time to let go of a lease that lasts for `lasts`.
    pub(super) fn failed(&mut self, now: Timestamp, lasts: Duration) -> bool {
        let (since, looks) = self.failing.unwrap_or((now, 0));
        let looks = looks.saturating_add(1);
        self.failing = Some((since, looks));
        let is_time = looks >= LOOKS && now.saturating_duration_since(since) >= lasts;
        if is_time {
            self.let_go = Some(now);
        }
        is_time
    }

    /// Whether others are to have the lease that this process has let go.
    pub(super) fn stands_aside(&self, now: Timestamp, lasts: Duration) -> bool {
        self.has_let_go_within(lasts.checked_div(2).unwrap_or(lasts), now)
    }

    /// Whether it may take the place of one that has let go.
    pub(super) fn is_rested(&self, now: Timestamp) -> bool {
        !self.has_let_go_within(REST, now)
    }

    fn has_let_go_within(&self, time: Duration, now: Timestamp) -> bool {
        // A clock that has gone back since is no reason to wait for it.
        self.let_go
            .is_some_and(|at| at <= now && now.saturating_duration_since(at) < time)
    }

    /// A look has begun, or come forward.
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
        let now = self.clock.now();
        let has_done = collected.begun > 0 || collected.done > 0;
        let lets_go = match looked {
            Err(Fault::Chain(_) | Fault::Signer(_)) if !has_done => {
                let lasts = self.settlement.policy.lease;
                self.settlement.fitness().failed(now, lasts)
            }
            // Of its own fitness it says nothing.
            Err(_) if !has_done => false,
            Ok(()) | Err(_) => {
                self.settlement.fitness().succeeded();
                false
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
    }

    #[test]
    fn who_has_let_go_stands_aside_and_takes_over_later() {
        let mut fitness = Fitness::default();
        assert!(!fitness.stands_aside(at(0), LASTS) && fitness.is_rested(at(0)));
        fitness.failed(at(0), LASTS);
        assert!(fitness.failed(at(10), LASTS));
        assert!(fitness.stands_aside(at(14), LASTS) && !fitness.stands_aside(at(15), LASTS));
        assert!(!fitness.is_rested(at(69)) && fitness.is_rested(at(70)));
        fitness.succeeded();
        assert!(fitness.is_rested(at(11)));
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
