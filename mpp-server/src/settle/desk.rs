//! What this process knows of collecting; the truth is in the store.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use alloy_primitives::{Address, B256};
use mpp_core::{Amount, Timestamp};
use mpp_tempo::ChannelId;

use super::{
    deadline::Watch,
    fitness::Fitness,
    lease::{Blocked, Seat},
    outbox::{Tracked, effect::Effect},
    policy::{OnShutdown, SettlePolicy},
};
use crate::{error::Rejection, random::random, session::record::ChannelRecord};

/// The longest pause while a payer's deadline runs.
const LONGEST_URGENT: Duration = Duration::from_secs(15);
/// The longest pause otherwise.
pub(super) const LONGEST: Duration = Duration::from_secs(60 * 60);

/// An effect that a node refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) at: Timestamp,
    /// How long it waits if nothing is urgent.
    pub(super) pause: Duration,
}

/// Everything about collecting that outlives one look.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(super) policy: SettlePolicy,
    pub(super) seat: tokio::sync::Mutex<Seat>,
    /// One look at a time.
    pub(super) looking: tokio::sync::Mutex<()>,
    desk: Mutex<Desk>,
    fitness: Mutex<Fitness>,
    /// Whether anybody is blocked: most requests ask no more.
    any_blocked: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Desk {
    /// What is under way, as far as this process knows.
    pub(super) open: BTreeMap<B256, Tracked>,
    /// What a task of this process works on now.
    driving: HashSet<B256>,
    /// Channels to look at before the next look at all.
    pub(super) urgent: BTreeSet<ChannelId>,
    /// When all channels were looked at last.
    pub(super) scanned_at: Option<Timestamp>,
    /// Channels that must be collected from in time.
    pub(super) deadlines: BTreeMap<ChannelId, Watch>,
    /// Effects that a node refused, and how long they wait.
    pub(super) refused: BTreeMap<B256, Refused>,
    pub(super) blocked: Vec<Blocked>,
}

impl Settlement {
    pub(crate) fn new(policy: SettlePolicy) -> Self {
        Self {
            policy,
            seat: tokio::sync::Mutex::new(Seat::new(B256::from(random::<[u8; 32]>()))),
            looking: tokio::sync::Mutex::default(),
            desk: Mutex::default(),
            fitness: Mutex::default(),
            any_blocked: AtomicBool::new(false),
        }
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fitness(&self) -> MutexGuard<'_, Fitness> {
        self.fitness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A look begins; it is over when this is dropped.
    pub(super) fn begin_look(&self, now: Timestamp) -> Look<'_> {
        self.fitness().begins(now);
        Look { settlement: self }
    }

    /// Blocks that must follow a transaction of ours.
    pub(crate) fn finality(&self) -> u64 {
        self.policy.finality
    }

    pub(crate) fn settles_on_shutdown(&self) -> bool {
        self.policy.on_shutdown == OnShutdown::Settle
    }

    /// Has a channel looked at as soon as possible.
    pub(crate) fn is_urgent(&self, channel: ChannelId) {
        self.desk().urgent.insert(channel);
    }

    pub(super) fn note_blocked(&self, blocked: Vec<Blocked>) {
        self.any_blocked
            .store(!blocked.is_empty(), Ordering::Release);
        self.desk().blocked = blocked;
    }

    /// Whether nothing can be collected from this payer in this token.
    pub(super) fn blocked(&self, payer: Address, token: Address) -> Option<Blocked> {
        if !self.any_blocked.load(Ordering::Acquire) {
            return None;
        }
        let desk = self.desk();
        let mut all = desk.blocked.iter();
        all.find(|blocked| blocked.payer == payer && blocked.token == token)
            .copied()
    }

    /// Nothing more is sold to a payer whose account does not pay out, beyond
    /// what may be lost (SECURITY-CASES A29).
    pub(crate) fn check_exposure(&self, record: &ChannelRecord) -> Result<(), Rejection> {
        let parties = &record.terms.descriptor;
        let unsettled = record.spent.saturating_sub(record.settled);
        if unsettled < self.policy.blocked_exposure
            || self.blocked(parties.payer, parties.token).is_none()
        {
            return Ok(());
        }
        Err(Rejection::ExposureReached {
            channel_id: record.id,
        })
    }

    /// Whether an effect that failed is not to be tried again yet. Whoever
    /// drives one keeps to it, or each failure would be followed by the next.
    pub(crate) fn pauses(&self, effect: &Effect, now: Timestamp) -> bool {
        self.desk().pauses(effect, now)
    }

    /// Claims an effect for a task of this process; `None`: one has it.
    pub(crate) fn claim(&self, id: B256) -> Option<Driving<'_>> {
        let free = self.desk().driving.insert(id);
        free.then_some(Driving {
            settlement: self,
            id,
        })
    }
}

/// A look that is going on.
#[derive(Debug)]
pub(super) struct Look<'a> {
    settlement: &'a Settlement,
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.settlement.fitness().rests();
    }
}

/// The claim of a task on an effect.
#[derive(Debug)]
pub(crate) struct Driving<'a> {
    settlement: &'a Settlement,
    id: B256,
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        self.settlement.desk().driving.remove(&self.id);
    }
}

impl Desk {
    /// Whether an effect that failed is not to be tried again yet.
    ///
    /// How long it may wait is decided now, not when it failed: a payer's
    /// deadline may have begun to run since (SECURITY-CASES A12).
    pub(super) fn pauses(&self, effect: &Effect, now: Timestamp) -> bool {
        let Some(refused) = self.refused.get(&effect.id) else {
            return false;
        };
        let mut items = effect.items.iter();
        let has_deadline = items.any(|item| self.deadlines.contains_key(&item.channel));
        // A favor is done again only when the payer has asked the chain, too.
        let is_urgent = has_deadline || effect.reason.is_urgent() || effect.is_favor();
        let longest = if is_urgent { LONGEST_URGENT } else { LONGEST };
        // A clock that has gone back since is no reason to wait for it.
        refused.at <= now && now.saturating_duration_since(refused.at) < refused.pause.min(longest)
    }

    /// Another process collects: what it has to look at, and what it has under
    /// way, is none of this one's business. What payers have asked for here is.
    pub(super) fn wait(&mut self) {
        self.urgent.clear();
        self.deadlines.clear();
        let Self { open, driving, .. } = self;
        open.retain(|id, open| open.effect.is_favor() || driving.contains(id));
    }

    /// Takes over an effect from the store, unless this process has written it
    /// since.
    pub(super) fn learn(&mut self, found: Tracked) {
        let known = self.open.get(&found.effect.id);
        if known.is_none_or(|known| known.version < found.version) {
            self.open.insert(found.effect.id, found);
        }
    }

    /// These effects are not under way any more, by the store. What a task of
    /// this process works on it finds out itself.
    pub(super) fn forget(&mut self, gone: &BTreeSet<B256>) {
        for id in gone.iter().filter(|id| !self.driving.contains(*id)) {
            self.open.remove(id);
            self.refused.remove(id);
        }
    }

    /// Channels that something is under way for.
    pub(super) fn busy(&self) -> HashSet<ChannelId> {
        let items = self.open.values().flat_map(|open| &open.effect.items);
        items.map(|item| item.channel).collect()
    }

    /// The effect that is under way for a channel.
    pub(super) fn of_channel(&self, channel: ChannelId) -> Option<Tracked> {
        let mut open = self.open.values();
        let found = open.find(|open| {
            let mut items = open.effect.items.iter();
            items.any(|item| item.channel == channel)
        });
        found.cloned()
    }

    /// The effect that is under way and closes a channel. A settlement of the
    /// same channel may be under way beside it.
    pub(super) fn close_of(&self, channel: ChannelId) -> Option<Tracked> {
        let mut open = self.open.values();
        open.find(|open| open.effect.closes(channel)).cloned()
    }

    /// How much is at stake in the channels with a deadline.
    pub(super) fn at_stake(&self) -> Amount {
        let mut amounts = self.deadlines.values().map(|watch| watch.unsettled);
        amounts
            .try_fold(Amount::ZERO, Amount::checked_add)
            .unwrap_or(Amount::MAX)
    }
}
