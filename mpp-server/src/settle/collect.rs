//! One look at what is to be collected: lead, drive, plan, drive.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use mpp_core::{Amount, Timestamp};
use mpp_tempo::{ChannelId, voucher::second_opinion};

use super::{
    chosen::Chosen,
    lease::Standby,
    outbox::{
        Beginning, Driven, Guard, Tracked, batches,
        effect::{Effect, Item},
    },
    schedule::{Collect, Fees, Moment, Occasion, Planned, Reason, plan},
    standing::{Stage, Standing},
};
use crate::{
    error::{Failure, Fault},
    session::{
        SessionContext,
        command::Command,
        record::{ChannelRecord, PendingTx, Phase},
    },
    store::{ChannelStore, Scan, Which},
};

/// Channels that are read from the store at once.
const PAGE: usize = 256;
/// Effects that are driven at once.
const CONCURRENT: usize = 16;

/// What one look at what is to be collected came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Whether this process is the one that collects. What another one has done
    /// on demand is told all the same.
    pub leading: bool,
    /// So many transactions were begun.
    pub begun: usize,
    /// So many have succeeded and are final.
    pub done: usize,
    /// So many wait for the chain.
    pub waiting: usize,
    /// So many have failed; what is still to be collected is tried again.
    pub failed: usize,
}

/// Collects for as long as the server runs.
pub(crate) async fn run<S: ChannelStore>(context: Arc<SessionContext<S>>) {
    loop {
        if let Err(fault) = context.collect(Occasion::Routine).await {
            tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "nothing could be collected; trying again"
            );
        }
        tokio::time::sleep(context.settlement.policy.every).await;
    }
}

/// Keeps the lease while a look takes its time.
pub(crate) async fn lead<S: ChannelStore>(context: Arc<SessionContext<S>>) {
    let pause = context.settlement.policy.lease.checked_div(4);
    let pause = pause.unwrap_or(Duration::from_secs(1));
    loop {
        tokio::time::sleep(pause).await;
        let mut seat = context.settlement.seat.lock().await;
        let now = context.clock.now();
        let hangs = context.settlement.fitness().hangs(now);
        if hangs && seat.lease(now).is_some() {
            tracing::warn!("a look at what is to be collected hangs; the lease is not extended");
            continue;
        }
        // Only a look takes over: it then learns what is under way.
        if seat.lease(now).is_some() {
            let store = context.driver.store();
            let lasts = context.settlement.policy.lease;
            if let Err(fault) = seat.renew(store, now, lasts).await {
                tracing::warn!(
                    error = &fault as &dyn std::error::Error,
                    "the lease could not be extended"
                );
            }
        }
    }
}

impl<S: ChannelStore> SessionContext<S> {
    /// Does what is due: takes on what is under way, and begins what has
    /// become due. One look at a time.
    ///
    /// # Errors
    /// When chain or store fail; the next look goes on from there.
    ///
    /// # Cancel safety
    /// Dropped at any point, the next look goes on from what is stored.
    pub(crate) async fn collect(&self, occasion: Occasion) -> Result<Collected, Fault> {
        let _one_at_a_time = self.settlement.looking.lock().await;
        let now = self.clock.now();
        self.settlement.tell_deadlines(now, &self.events);
        let Some((standby, budget)) = self.take_the_lead(now).await? else {
            return Ok(Collected::default());
        };
        let mut collected = Collected {
            leading: standby != Standby::Waiting,
            ..Collected::default()
        };
        if standby == Standby::Waiting {
            return Ok(collected);
        }
        if standby == Standby::TookOver {
            tracing::info!("this process collects from now on");
            self.settlement.desk().scanned_at = None;
        }
        let going_on = self.settlement.begin_look(now);
        let looked = self
            .collect_due(occasion, budget, now, &mut collected)
            .await;
        drop(going_on);
        self.note_fitness(&looked, &collected).await;
        looked.map(|()| collected)
    }

    /// Takes on what is under way, and begins what has become due.
    async fn collect_due(
        &self,
        occasion: Occasion,
        budget: Option<Amount>,
        now: Timestamp,
        collected: &mut Collected,
    ) -> Result<(), Fault> {
        let demanded = self.open_demands().await?;
        let occasion = match (occasion, demanded) {
            (Occasion::Routine, Some(_)) => Occasion::Everything(Reason::Demand),
            (occasion, _) => occasion,
        };
        let mut chosen = self.settlement.choose();
        let standings = self.standings(occasion, now, &mut chosen).await?;
        self.settlement.tell_deadlines(now, &self.events);
        // What can not be taken on must not keep anything else from being begun.
        let before = self.drive_all(collected).await;
        let begun = self
            .begin_due((standings, chosen), budget, (occasion, now), collected)
            .await;
        let after = self.drive_all(collected).await;
        collected.waiting = self.settlement.desk().open.len();
        before.and(begun).and(after)?;
        if let Some(asked) = demanded {
            match self.meet(asked, collected).await {
                // Whoever leads now meets them.
                Ok(()) | Err(Fault::NotLeading) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Lets another process collect at once.
    ///
    /// # Errors
    /// When the store fails; another process then waits for the lease to end.
    ///
    /// # Cancel safety
    /// As an error.
    pub(crate) async fn stop_leading(&self) -> Result<(), Fault> {
        let mut seat = self.settlement.seat.lock().await;
        Ok(seat.leave(self.driver.store(), self.clock.now()).await?)
    }

    /// Leads if nobody else does. Returns what routine settlements may cost;
    /// `None`: others are to have the lease that this process has let go.
    async fn take_the_lead(
        &self,
        now: Timestamp,
    ) -> Result<Option<(Standby, Option<Amount>)>, Fault> {
        let policy = &self.settlement.policy;
        let store = self.driver.store();
        let mut seat = self.settlement.seat.lock().await;
        if seat.lease(now).is_none() {
            if self.settlement.fitness().stands_aside(now, policy.lease) {
                return Ok(None);
            }
            if seat.was_let_go(store, now, policy.lease).await? {
                drop(seat);
                if !self.is_able(now).await {
                    self.settlement.desk().wait();
                    return Ok(Some((Standby::Waiting, None)));
                }
                seat = self.settlement.seat.lock().await;
            }
        }
        let (standby, lease) = seat.renew(store, now, policy.lease).await?;
        drop(seat);
        let limit = policy.fees.per_day;
        let left = limit.map(|limit| {
            lease
                .as_ref()
                .map_or(limit, |lease| lease.budget.left(limit, now))
        });
        if let Some(lease) = lease {
            self.settlement.note_blocked(lease.blocked);
        }
        if standby == Standby::Waiting {
            self.settlement.desk().wait();
        }
        Ok(Some((standby, left)))
    }

    /// How the channels stand that are to be looked at now: all of them every
    /// so often, in between those whose payers have asked the chain to close.
    async fn standings(
        &self,
        occasion: Occasion,
        now: Timestamp,
        chosen: &mut Chosen<'_>,
    ) -> Result<Vec<Standing>, Fault> {
        let scanned_at = self.settlement.desk().scanned_at;
        let pause = self.settlement.policy.scan_every;
        let is_due = scanned_at.is_none_or(|at| now.saturating_duration_since(at) >= pause);
        if !is_due && occasion == Occasion::Routine {
            return self.chosen_standings(chosen.channels(), now).await;
        }
        self.load_effects().await?;
        let all = self.scan(now).await?;
        chosen.were_scanned(now);
        Ok(all)
    }

    async fn chosen_standings(
        &self,
        chosen: &BTreeSet<ChannelId>,
        now: Timestamp,
    ) -> Result<Vec<Standing>, Fault> {
        let mut standings = Vec::with_capacity(chosen.len());
        for id in chosen {
            standings.extend(self.standing(*id, now).await?);
        }
        Ok(standings)
    }

    async fn standing(&self, id: ChannelId, now: Timestamp) -> Result<Option<Standing>, Fault> {
        let standing = match self.driver.load(id).await {
            Ok((record, _)) => self.standing_of(&record, now),
            Err(Failure::Rejected(_)) => None,
            Err(Failure::Fault(fault)) => return Err(fault),
        };
        match &standing {
            Some(standing) => self.settlement.watch(standing),
            None => drop(self.settlement.unwatch(id)),
        }
        Ok(standing)
    }

    fn standing_of(&self, record: &ChannelRecord, now: Timestamp) -> Option<Standing> {
        let mut standing = Standing::of(record, now)?;
        let blocked = self.settlement.blocked(standing.payer, standing.token);
        standing.blocked = blocked.is_some();
        Some(standing)
    }

    /// Looks at all live channels, page by page; keeps those with something to
    /// collect.
    async fn scan(&self, now: Timestamp) -> Result<Vec<Standing>, Fault> {
        let mut standings = Vec::new();
        let mut live = BTreeSet::new();
        let mut after = None;
        loop {
            let scan = Scan {
                which: Which::Live,
                after,
                limit: PAGE,
            };
            let page = self.driver.store().scan(scan).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.record.id);
            self.settlement.fitness().steps(self.clock.now());
            for found in &page {
                let Some(standing) = self.standing_of(&found.record, now) else {
                    continue;
                };
                let closing = matches!(standing.stage, Stage::Closing { .. });
                if standing.unsettled.is_zero() && !closing {
                    continue;
                }
                if standing.stage != Stage::Open {
                    live.insert(standing.id);
                    self.settlement.watch(&standing);
                }
                standings.push(standing);
            }
        }
        let mut desk = self.settlement.desk();
        desk.deadlines.retain(|id, _| live.contains(id));
        Ok(standings)
    }

    /// Begins what is due and not under way yet.
    async fn begin_due(
        &self,
        (mut standings, mut chosen): (Vec<Standing>, Chosen<'_>),
        budget: Option<Amount>,
        (occasion, now): (Occasion, Timestamp),
        collected: &mut Collected,
    ) -> Result<(), Fault> {
        {
            let desk = self.settlement.desk();
            let busy = desk.busy();
            let waits = |standing: &Standing| {
                let mut blocked = desk.blocked.iter();
                blocked.any(|blocked| {
                    let who = (blocked.payer, blocked.token);
                    let has_deadline = desk.deadlines.contains_key(&standing.id);
                    who == (standing.payer, standing.token) && blocked.waits(has_deadline, now)
                })
            };
            standings.retain(|standing| !busy.contains(&standing.id) && !waits(standing));
        }
        let mut moment = Moment {
            now,
            occasion,
            fees: Fees::default(),
            budget,
        };
        // The node is asked what it costs only if there is something to do.
        let due = plan(&standings, &self.settlement.policy, &moment);
        chosen.are_due(due.iter().map(|planned| planned.channel));
        if due.is_empty() {
            chosen.were_looked_at();
            return Ok(());
        }
        moment.fees = self.fee_estimate().await?;
        let planned = plan(&standings, &self.settlement.policy, &moment);
        for group in self.groups(planned) {
            let begun = self.begin_group(group, &moment).await;
            self.settlement.fitness().steps(self.clock.now());
            collected.begun = collected.begun.saturating_add(begun?);
        }
        chosen.were_looked_at();
        Ok(())
    }

    /// What goes into one transaction: one token, urgent or not, and nobody
    /// shares one with a payer whose last collection has failed.
    fn groups(&self, planned: Vec<Planned>) -> Vec<Vec<Planned>> {
        let mut kinds: Vec<((bool, alloy_primitives::Address), Vec<Planned>)> = Vec::new();
        let mut groups = Vec::new();
        for one in planned {
            if self.settlement.blocked(one.payer, one.token).is_some() {
                groups.push(vec![one]);
                continue;
            }
            let kind = (one.reason.is_urgent(), one.token);
            match kinds.iter_mut().find(|(other, _)| *other == kind) {
                Some((_, group)) => group.push(one),
                None => kinds.push((kind, vec![one])),
            }
        }
        let batch = self.settlement.policy.batch;
        let shared = kinds
            .into_iter()
            .flat_map(|(_, group)| batches(group, batch, |planned| planned.collect));
        groups.splice(0..0, shared);
        groups
    }

    async fn begin_group(&self, group: Vec<Planned>, moment: &Moment) -> Result<usize, Fault> {
        let Some(reason) = group.iter().map(|planned| planned.reason).min() else {
            return Ok(0);
        };
        let mut items = Vec::with_capacity(group.len());
        let mut begun = Vec::new();
        for planned in &group {
            match self.item(planned).await? {
                Begun::Item(item) => items.push(item),
                Begun::Sent(item, sent) => {
                    begun.push(Effect::adopted(planned.reason, item, sent, moment.now));
                }
                Begun::Nothing => {}
            }
        }
        if !items.is_empty() {
            let attempt = self.sign(&items, 0).await?;
            begun.push(Effect::prepared(reason, items, attempt, moment.now));
        }
        let count = begun.len();
        if count == 0 {
            return Ok(0);
        }
        let begun = self.begin(None, begun, Guard::Leader, |_| {}).await?;
        match &begun {
            Beginning::Begun(_) => tracing::debug!(reason = reason.name(), count, "collecting"),
            Beginning::OverBudget => {
                tracing::info!(
                    reason = reason.name(),
                    "the day's fees leave no room for it"
                );
            }
            Beginning::Elsewhere => {}
        }
        Ok(begun.effects().map_or(0, |begun| begun.len()))
    }

    /// What is put on chain for a channel, checked once more by other code
    /// than took it.
    async fn item(&self, planned: &Planned) -> Result<Begun, Fault> {
        let id = planned.channel;
        if planned.collect == Collect::Close {
            match self.run(id, Command::CloseWithHeld).await {
                Ok(_) => {}
                // Something has happened to it meanwhile.
                Err(Failure::Rejected(_)) => return Ok(Begun::Nothing),
                Err(Failure::Fault(fault)) => return Err(fault),
            }
        }
        let record = match self.driver.load(id).await {
            Ok((record, _)) => record,
            Err(Failure::Rejected(_)) => return Ok(Begun::Nothing),
            Err(Failure::Fault(fault)) => return Err(fault),
        };
        let (item, sent) = match (&record.phase, planned.collect) {
            (
                Phase::Closing {
                    voucher,
                    capture,
                    sent,
                    ..
                },
                Collect::Close,
            ) => (Item::close(id, voucher, *capture), *sent),
            (Phase::Open | Phase::CloseRequested { .. }, Collect::Settle) => {
                let Some(voucher) = record.collectable() else {
                    return Ok(Begun::Nothing);
                };
                let item = Item::settle(id, voucher);
                if item.amount <= record.settled {
                    return Ok(Begun::Nothing);
                }
                (item, None)
            }
            _ => return Ok(Begun::Nothing),
        };
        if let Some(sent) = sent {
            return Ok(Begun::Sent(item, sent));
        }
        if self.is_disputed(&record, &item).await? {
            return Ok(Begun::Nothing);
        }
        Ok(Begun::Item(item))
    }

    /// Money moves on this voucher: other code than took it has to agree.
    ///
    /// # Cancel safety
    /// Dropped, the channel is quarantined or not; the next look repeats it.
    pub(crate) async fn is_disputed(
        &self,
        record: &ChannelRecord,
        item: &Item,
    ) -> Result<bool, Fault> {
        let Err(error) = second_opinion(&record.terms, &item.voucher) else {
            return Ok(false);
        };
        tracing::error!(channel_id = %record.id, %error, "a voucher to be settled is disputed");
        match self
            .run(record.id, Command::Dispute(item.voucher.clone()))
            .await
        {
            Ok(_) | Err(Failure::Rejected(_)) => Ok(true),
            Err(Failure::Fault(fault)) => Err(fault),
        }
    }

    /// Takes everything that is under way as far as it goes now.
    async fn drive_all(&self, collected: &mut Collected) -> Result<(), Fault> {
        let now = self.clock.now();
        let open: Vec<_> = {
            let desk = self.settlement.desk();
            let all = desk.open.values();
            all.filter(|open| !desk.pauses(&open.effect, now))
                .cloned()
                .collect()
        };
        let driven = stream::iter(open)
            .map(|tracked| self.drive_one(tracked))
            .buffer_unordered(CONCURRENT)
            .collect::<Vec<_>>()
            .await;
        let mut first = Ok(());
        for one in driven {
            match one {
                Ok(Some(Ended::Done)) => collected.done = collected.done.saturating_add(1),
                Ok(Some(Ended::Failed)) => collected.failed = collected.failed.saturating_add(1),
                Ok(None) => {}
                Err(fault) if first.is_ok() => first = Err(fault),
                Err(fault) => tracing::debug!(
                    error = &fault as &dyn std::error::Error,
                    "an effect could not be taken on"
                ),
            }
        }
        first
    }

    async fn drive_one(&self, tracked: Tracked) -> Result<Option<Ended>, Fault> {
        let Some(_claim) = self.settlement.claim(tracked.effect.id) else {
            return Ok(None);
        };
        let channels: Vec<_> = tracked
            .effect
            .items
            .iter()
            .map(|item| item.channel)
            .collect();
        let driven = self.drive(tracked, Guard::Leader).await;
        self.settlement.fitness().steps(self.clock.now());
        match driven? {
            Driven::Done(_) => {
                for channel in channels {
                    if let Ok((record, _)) = self.driver.load(channel).await {
                        self.unblock(&record).await?;
                    }
                }
                Ok(Some(Ended::Done))
            }
            Driven::Failed(tracked, why) => {
                self.after_failure(tracked, why, Guard::Leader).await?;
                // Its deadline may still run.
                self.settlement.desk().urgent.extend(channels);
                Ok(Some(Ended::Failed))
            }
            Driven::Waits(_) | Driven::Elsewhere => Ok(None),
        }
    }
}

enum Ended {
    Done,
    Failed,
}

/// What is begun for a channel.
enum Begun {
    Item(Item),
    /// A transaction that nobody follows.
    Sent(Item, PendingTx),
    Nothing,
}
