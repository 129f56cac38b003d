//! How well the chain is seen, and what that means for what may be sold.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use mpp_core::{Amount, Timestamp};
use mpp_tempo::{chain::BlockInfo, channel::ChannelId};

use crate::{
    health::{Behind, ChainHealth},
    session::machine::Bounds,
};

/// How far the server trusts its picture of the chain.
///
/// # Examples
///
/// ```
/// let mut policy = mpp_server::FollowPolicy::default();
/// policy.finality_depth = 2;
/// policy.unfinal_cap = mpp_core::Amount::new(500_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FollowPolicy {
    /// Without a look at the chain for so long, sales are bounded. `None`: a
    /// minute, or three looks if that is longer.
    pub unseen_after: Option<Duration>,
    /// What a channel may owe beyond what was settled while the chain is not
    /// seen, in base units. Default: one token.
    pub unseen_cap: Amount,
    /// A newest block that is older than this shows nothing: the node does not
    /// follow the chain itself. `None`, the default: any age will do.
    pub max_head_age: Option<Duration>,
    /// A node that has been behind what was seen of the chain before for so long
    /// is reported ([`ChainHealth::behind`], an event). Default: a minute.
    pub behind_after: Duration,
    /// A channel that was closed within this time is compared with the chain when
    /// the server starts, and when it meets a reorganization deeper than what
    /// counts as final: what was taken back is closed again. Default: a day.
    pub closed_window: Duration,
    /// So many blocks must follow an open or a top-up before it is final.
    /// Default: 0, since Tempo's blocks are final.
    pub finality_depth: u64,
    /// What may be sold on a deposit that is not final, in base units. Default:
    /// one token.
    pub unfinal_cap: Amount,
}

impl Default for FollowPolicy {
    fn default() -> Self {
        Self {
            unseen_after: None,
            unseen_cap: Amount::new(1_000_000),
            max_head_age: None,
            behind_after: Duration::from_secs(60),
            closed_window: Duration::from_secs(24 * 60 * 60),
            finality_depth: 0,
            unfinal_cap: Amount::new(1_000_000),
        }
    }
}

/// Never seen.
const NEVER: i64 = i64::MIN;

/// The newest look at the chain, and the deposits that are not final.
///
/// Asked for every command; it holds no lock across anything that waits.
#[derive(Debug)]
pub(crate) struct Sight {
    /// `None`: the chain is taken for firm.
    policy: Option<FollowPolicy>,
    unseen_after: Duration,
    /// Milliseconds of the newest look.
    seen_at: AtomicI64,
    head: Mutex<Option<BlockInfo>>,
    /// How the node is behind, and whether that was told.
    behind: Mutex<Option<(Behind, Told)>>,
    /// What of a deposit is final, for channels where not all of it is.
    young: Mutex<HashMap<ChannelId, Young>>,
}

/// Whether subscribers have heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    NotYet,
    Before,
}

/// A deposit that is not final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Young {
    /// The block of the event.
    pub(crate) block: u64,
    /// The deposit before it, in base units.
    pub(crate) before: Amount,
}

impl Sight {
    /// A chain that is always seen and final.
    pub(crate) fn firm() -> Self {
        Self::with(None, Duration::MAX)
    }

    /// Sees the chain through a look every `every`.
    pub(crate) fn new(policy: FollowPolicy, every: Duration) -> Self {
        let usual = every.saturating_mul(3).max(Duration::from_secs(60));
        Self::with(Some(policy), policy.unseen_after.unwrap_or(usual))
    }

    fn with(policy: Option<FollowPolicy>, unseen_after: Duration) -> Self {
        Self {
            policy,
            unseen_after,
            seen_at: AtomicI64::new(NEVER),
            head: Mutex::default(),
            behind: Mutex::default(),
            young: Mutex::default(),
        }
    }

    /// What may be promised on a channel at `now`.
    pub(crate) fn bounds(&self, id: ChannelId, now: Timestamp) -> Bounds {
        let Some(policy) = &self.policy else {
            return Bounds::default();
        };
        let is_final = policy.finality_depth == 0;
        let young = (!is_final)
            .then(|| self.young().get(&id).copied())
            .flatten();
        Bounds {
            unsettled: (!self.is_fresh(now)).then_some(policy.unseen_cap),
            promised: young.map(|young| {
                let most = young.before.checked_add(policy.unfinal_cap);
                most.unwrap_or(Amount::MAX)
            }),
        }
    }

    /// The chain was seen up to `head`.
    pub(crate) fn saw(&self, head: BlockInfo, now: Timestamp) {
        let max_age = self.policy.and_then(|policy| policy.max_head_age);
        let age = u64::try_from(now.as_secs())
            .unwrap_or_default()
            .saturating_sub(head.timestamp);
        if max_age.is_some_and(|max| Duration::from_secs(age) > max) {
            tracing::warn!(age, "the node's newest block is too old to be believed");
            return;
        }
        *lock(&self.head) = Some(head);
        self.seen_at.store(now.as_millis(), Ordering::SeqCst);
    }

    /// The node is behind what was seen before. Returns what is to be told, once
    /// that has lasted too long.
    pub(crate) fn fell_behind(&self, head: u64, seen: u64, now: Timestamp) -> Option<Behind> {
        let mut behind = lock(&self.behind);
        let (since, told) = match *behind {
            Some((before, told)) => (before.since, told),
            None => (now, Told::NotYet),
        };
        let current = Behind { since, head, seen };
        let lasts = self.is_lasting(&current, now);
        let is_news = lasts && told == Told::NotYet;
        let told = if lasts { Told::Before } else { told };
        *behind = Some((current, told));
        is_news.then_some(current)
    }

    /// The node has come as far as was seen before.
    pub(crate) fn caught_up(&self) {
        *lock(&self.behind) = None;
    }

    fn is_lasting(&self, behind: &Behind, now: Timestamp) -> bool {
        let after = self.policy.map(|policy| policy.behind_after);
        after.is_some_and(|after| now.saturating_duration_since(behind.since) >= after)
    }

    /// Channels that were closed since then may be open again.
    pub(crate) fn closed_since(&self, now: Timestamp) -> Option<Timestamp> {
        let window = self.policy?.closed_window;
        now.checked_sub(window)
    }

    /// Blocks that must follow an event.
    pub(crate) fn finality_depth(&self) -> u64 {
        self.policy.map_or(0, |policy| policy.finality_depth)
    }

    /// A deposit grew in a block that is not final yet.
    pub(crate) fn grew(&self, id: ChannelId, young: Young) {
        if self.finality_depth() == 0 {
            return;
        }
        let mut all = self.young();
        let known = all.entry(id).or_insert(young);
        known.block = known.block.max(young.block);
        known.before = known.before.min(young.before);
    }

    /// Only these deposits are not final.
    pub(crate) fn replace_young(&self, young: impl IntoIterator<Item = (ChannelId, Young)>) {
        if self.finality_depth() == 0 {
            return;
        }
        self.young().clear();
        for (id, young) in young {
            self.grew(id, young);
        }
    }

    pub(crate) fn health(&self, now: Timestamp) -> ChainHealth {
        let seen_at = match self.seen_at.load(Ordering::SeqCst) {
            NEVER => None,
            millis => Some(Timestamp::from_millis(millis)),
        };
        ChainHealth {
            seen_at,
            head: lock(&self.head).map(|head| head.number),
            is_fresh: self.is_fresh(now),
            behind: lock(&self.behind)
                .map(|(behind, _)| behind)
                .filter(|behind| self.is_lasting(behind, now)),
        }
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        let seen_at = self.seen_at.load(Ordering::SeqCst);
        let unseen = u128::try_from(now.as_millis().saturating_sub(seen_at));
        // A clock that went back shows nothing about the chain.
        seen_at != NEVER && unseen.unwrap_or(0) <= self.unseen_after.as_millis()
    }

    fn young(&self) -> MutexGuard<'_, HashMap<ChannelId, Young>> {
        lock(&self.young)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;
    use crate::testing::{amount, at};

    const ID: ChannelId = B256::repeat_byte(1);

    fn head(timestamp: i64) -> BlockInfo {
        BlockInfo {
            number: 7,
            timestamp: u64::try_from(at(timestamp).as_secs()).unwrap(),
            hash: B256::ZERO,
        }
    }

    fn sight(change: impl FnOnce(&mut FollowPolicy)) -> Sight {
        let mut policy = FollowPolicy::default();
        change(&mut policy);
        Sight::new(policy, Duration::from_secs(5))
    }

    // SECURITY-CASES A12: staleness is bounded.
    #[test]
    fn sales_are_bounded_before_the_first_look_and_a_minute_after_the_last() {
        let sight = sight(|policy| policy.unseen_cap = amount(5));
        let bounded = |seconds| sight.bounds(ID, at(seconds)).unsettled == Some(amount(5));
        assert!(bounded(0));
        assert!(!sight.health(at(0)).is_fresh);
        sight.saw(head(0), at(0));
        assert!(!bounded(0) && !bounded(60) && bounded(61));
        assert!(sight.health(at(60)).is_fresh && !sight.health(at(61)).is_fresh);
        assert_eq!(sight.health(at(61)).seen_at, Some(at(0)));
        assert!(Sight::firm().bounds(ID, at(0)).unsettled.is_none());
    }

    #[test]
    fn a_node_that_stands_still_shows_nothing() {
        let sight = sight(|policy| policy.max_head_age = Some(Duration::from_secs(30)));
        sight.saw(head(0), at(31));
        assert!(!sight.health(at(31)).is_fresh);
        sight.saw(head(1), at(31));
        assert!(sight.health(at(31)).is_fresh);
    }

    // SECURITY-CASES A14.
    #[test]
    fn a_deposit_that_is_not_final_is_sold_up_to_a_cap() {
        let sight = sight(|policy| {
            policy.finality_depth = 2;
            policy.unfinal_cap = amount(5);
        });
        let young = |block, before| Young {
            block,
            before: amount(before),
        };
        sight.grew(ID, young(7, 100));
        sight.grew(ID, young(8, 150));
        assert_eq!(sight.bounds(ID, at(0)).promised, Some(amount(105)));
        assert_eq!(sight.bounds(B256::ZERO, at(0)).promised, None);
        sight.replace_young([]);
        assert_eq!(sight.bounds(ID, at(0)).promised, None);
    }
}
