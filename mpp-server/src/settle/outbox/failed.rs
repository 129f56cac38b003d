//! What to do about an effect that did not happen.

use std::time::Duration;

use mpp_core::Timestamp;
use mpp_tempo::{
    chain::ChainClient,
    channel::{ChannelId, Existence},
};

use super::{
    Beginning, Guard, Put, Tracked,
    effect::{Effect, Item, Why},
};
use crate::{
    error::{Failure, Fault},
    event::ServerEvent,
    session::{
        SessionContext,
        command::Command,
        record::{ChannelRecord, Phase},
    },
    settle::{
        desk::{LONGEST, Refused},
        lease::{Blocked, Lease},
        schedule::Collect,
        watch,
    },
    store::ChannelStore,
};

/// The pause before the first repetition; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Payers that are remembered as blocked.
const MAX_BLOCKED: usize = 1_024;

impl<S: ChannelStore> SessionContext<S> {
    /// Decides what becomes of an effect that failed: another transaction, two
    /// smaller ones, or nothing.
    ///
    /// # Cancel safety
    /// Dropped, the effect is still the failed one, or what follows is stored.
    pub(crate) async fn after_failure(
        &self,
        tracked: Tracked,
        why: Why,
        guard: Guard,
    ) -> Result<(), Fault> {
        match why {
            Why::Superseded => self.give_up(&tracked).await,
            // What the payer asked for, it may ask for again.
            Why::Expired | Why::Refused
                if tracked.effect.is_favor() && !self.has_deadline(&tracked).await? =>
            {
                self.give_up(&tracked).await
            }
            // It may be too large for the node.
            Why::Refused if tracked.effect.items.len() > 1 && tracked.effect.attempts.len() > 1 => {
                self.split(&tracked, guard).await
            }
            Why::Refused => {
                self.note_refusals(&tracked, guard).await?;
                self.pause(&tracked.effect);
                self.replace(tracked, guard).await
            }
            // Its validity was the pause. What expired in a longer one, before
            // it was sent, goes out at once.
            Why::Expired => self.replace(tracked, guard).await,
            Why::Reverted(_) if tracked.effect.items.len() > 1 => self.split(&tracked, guard).await,
            Why::Reverted(_) => self.blame(&tracked, guard).await,
        }
    }

    /// What a node refuses again is not collected for now, as when the token
    /// that pays the fee stands still: until it is, little more is sold
    /// (SECURITY-CASES A29). It is tried on as before.
    async fn note_refusals(&self, tracked: &Tracked, guard: Guard) -> Result<(), Fault> {
        let is_repeated = tracked.effect.attempts.len() > 1;
        match tracked.effect.items.as_slice() {
            [item] if is_repeated && guard == Guard::Leader => self.block(item).await,
            _ => Ok(()),
        }
    }

    /// Signs a new transaction for what is still to be collected.
    async fn replace(&self, mut tracked: Tracked, guard: Guard) -> Result<(), Fault> {
        let open = self.still_open(&tracked.effect).await?;
        if open.len() < tracked.effect.items.len() {
            return self.carry_on(&tracked, vec![open], guard).await;
        }
        let earlier = tracked.effect.attempts.len();
        let attempt = self.sign(&tracked.effect.items, earlier).await?;
        match self.advance_to(&mut tracked, attempt, guard).await? {
            Put::Done | Put::Conflict => Ok(()),
            // It is planned again when there is room for it.
            Put::OverBudget => self.give_up(&tracked).await,
        }
    }

    /// The next transaction waits a little longer each time.
    fn pause(&self, effect: &Effect) {
        let failures = effect.attempts.len();
        // The first repetition is made at once.
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        if doublings == 0 {
            return;
        }
        let factor = 1_u32.checked_shl(doublings.min(16)).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(factor).min(LONGEST);
        let refused = Refused {
            at: self.clock.now(),
            pause,
        };
        self.settlement.desk().refused.insert(effect.id, refused);
    }

    /// One bad channel makes all of a transaction fail: halves find it, and
    /// the others are collected from.
    async fn split(&self, tracked: &Tracked, guard: Guard) -> Result<(), Fault> {
        let mut first = self.still_open(&tracked.effect).await?;
        let second = first.split_off(first.len().div_ceil(2));
        self.carry_on(tracked, vec![first, second], guard).await
    }

    /// Ends an effect, and begins others with parts of what it was to collect.
    async fn carry_on(
        &self,
        tracked: &Tracked,
        parts: Vec<Vec<Item>>,
        guard: Guard,
    ) -> Result<(), Fault> {
        let before = tracked.effect.newest().map(|attempt| attempt.hash);
        let mut effects = Vec::with_capacity(parts.len());
        for mut items in parts.into_iter().filter(|items| !items.is_empty()) {
            for item in &mut items {
                item.before = before;
            }
            let attempt = self.sign(&items, 0).await?;
            let (reason, now) = (tracked.effect.reason, self.clock.now());
            effects.push(Effect::prepared(reason, items, attempt, now));
        }
        match self.begin(Some(tracked), effects, guard, |_| {}).await? {
            Beginning::Begun(_) | Beginning::Elsewhere => Ok(()),
            Beginning::OverBudget => self.give_up(tracked).await,
        }
    }

    /// A channel that is collected from alone, and can not be.
    async fn blame(&self, tracked: &Tracked, guard: Guard) -> Result<(), Fault> {
        let open = self.still_open(&tracked.effect).await?;
        self.give_up(tracked).await?;
        let [item] = open.as_slice() else {
            return Ok(());
        };
        tracing::warn!(channel_id = %item.channel, "a channel can not be collected from");
        self.events.send(ServerEvent::CollectionFailed {
            channel_id: item.channel,
        });
        if guard == Guard::Leader {
            self.block(item).await?;
        }
        Ok(())
    }

    async fn block(&self, item: &Item) -> Result<(), Fault> {
        let Ok((record, _)) = self.driver.load(item.channel).await else {
            return Ok(());
        };
        let parties = record.terms.descriptor;
        let now = self.clock.now();
        self.begin(None, Vec::new(), Guard::Leader, |lease: &mut Lease| {
            block(&mut lease.blocked, (parties.payer, parties.token), now);
        })
        .await?;
        self.publish_blocked().await;
        Ok(())
    }

    /// The payer's account pays out again.
    ///
    /// # Cancel safety
    /// Dropped, it counts as blocked until the next collection.
    pub(in crate::settle) async fn unblock(&self, record: &ChannelRecord) -> Result<(), Fault> {
        let parties = record.terms.descriptor;
        if self
            .settlement
            .blocked(parties.payer, parties.token)
            .is_none()
        {
            return Ok(());
        }
        self.begin(None, Vec::new(), Guard::Leader, |lease: &mut Lease| {
            lease
                .blocked
                .retain(|blocked| (blocked.payer, blocked.token) != (parties.payer, parties.token));
        })
        .await?;
        self.publish_blocked().await;
        Ok(())
    }

    async fn publish_blocked(&self) {
        let seat = self.settlement.seat.lock().await;
        if let Some(lease) = seat.lease(self.clock.now()) {
            self.settlement.note_blocked(lease.blocked.clone());
        }
    }

    /// Nothing is sent for this effect any more; the chain says where its
    /// channels stand.
    ///
    /// That is noted first: a channel that is over must not go back into
    /// service in between.
    async fn give_up(&self, tracked: &Tracked) -> Result<(), Fault> {
        for item in &tracked.effect.items {
            if item.collect == Collect::Close {
                self.reopen(tracked, item).await?;
            }
        }
        self.finish(tracked).await
    }

    async fn reopen(&self, tracked: &Tracked, item: &Item) -> Result<(), Fault> {
        let Some(record) = known(self.driver.load(item.channel).await)? else {
            return Ok(());
        };
        let record = record.0;
        if !matches!(record.phase, Phase::Closing { .. }) {
            return Ok(());
        }
        // What a node that is behind shows as open may be closed.
        let seen = self.learn_seen().await?;
        let head = self.chain.block().await?;
        let view = self.view(&record).await?;
        seen.require_caught_up(head)?;
        self.reach_views([(&record, &view)]).await?;
        if view.existence != Existence::Open {
            // How it ended, and for v2 that it ended: the event tells.
            watch::catch_up(self).await?;
        }
        let noted = known(self.observe(record.id, view).await)?;
        let closing = noted.is_none_or(|noted| {
            let record = &noted.get().record;
            matches!(record.phase, Phase::Closing { .. })
        });
        // Its end may be older than the events that are read: it is looked up.
        if closing
            && view.existence == Existence::Unknown
            && known(self.note_vanished(record.id).await)? != Some(true)
        {
            return Err(Fault::OutcomeUnknown);
        }
        let hashes = tracked.effect.attempts.iter().map(|attempt| attempt.hash);
        for transaction in hashes.chain(item.before) {
            let failed = Command::CloseFailed { transaction };
            known(self.run(record.id, failed).await)?;
        }
        Ok(())
    }

    /// The items that the chain has not paid yet, and still can.
    async fn still_open(&self, effect: &Effect) -> Result<Vec<Item>, Fault> {
        let mut open = Vec::with_capacity(effect.items.len());
        for item in &effect.items {
            let Some((record, _)) = known(self.driver.load(item.channel).await)? else {
                continue;
            };
            let view = self.view(&record).await?;
            self.reach_views([(&record, &view)]).await?;
            let paid = view.settled >= item.amount && item.collect == Collect::Settle;
            if view.existence == Existence::Open && !paid {
                open.push(item.clone());
                continue;
            }
            // Somebody else has done it, or nothing can be done any more.
            if view.existence != Existence::Open {
                watch::catch_up(self).await?;
            }
            known(self.observe(record.id, view).await)?;
            if view.existence == Existence::Unknown {
                self.explain(record.id).await?;
            }
        }
        Ok(open)
    }

    /// A channel in service that the chain does not show: its end is looked up,
    /// or it would be planned again and again.
    async fn explain(&self, id: ChannelId) -> Result<(), Fault> {
        let found = known(self.driver.load(id).await)?;
        if found.is_some_and(|(record, _)| record.is_live())
            && known(self.note_vanished(id).await)? != Some(true)
        {
            self.interest.doubt(id);
        }
        Ok(())
    }

    /// Whether the payer has asked the chain, too: then it is not a favor.
    async fn has_deadline(&self, tracked: &Tracked) -> Result<bool, Fault> {
        for item in &tracked.effect.items {
            let found = known(self.driver.load(item.channel).await)?;
            let requested = found.is_some_and(|(record, _)| {
                matches!(
                    record.phase,
                    Phase::Closing {
                        requested_at: Some(_),
                        ..
                    }
                )
            });
            if requested {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What was asked of a channel that may be gone.
fn known<T>(asked: Result<T, Failure>) -> Result<Option<T>, Fault> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(Failure::Rejected(_)) => Ok(None),
        Err(Failure::Fault(fault)) => Err(fault),
    }
}

/// Adds a failure of a payer and token.
fn block(
    all: &mut Vec<Blocked>,
    (payer, token): (alloy_primitives::Address, alloy_primitives::Address),
    now: Timestamp,
) {
    let known = all
        .iter()
        .position(|blocked| blocked.payer == payer && blocked.token == token);
    let failures = known
        .and_then(|at| all.get(at))
        .map_or(0, |old| old.failures);
    if let Some(at) = known {
        all.swap_remove(at);
    } else if all.len() >= MAX_BLOCKED {
        all.swap_remove(0);
    }
    let mut blocked = Blocked {
        payer,
        token,
        failures: failures.saturating_add(1),
        retry_at: now,
    };
    blocked.retry_at = now.checked_add(blocked.pause()).unwrap_or(now);
    all.push(blocked);
}
