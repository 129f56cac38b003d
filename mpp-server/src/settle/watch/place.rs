//! One look at the chain: what is new, what is gone, and where to go on.

use std::collections::{BTreeMap, HashSet};

use alloy_primitives::B256;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mpp_core::Amount;
use mpp_tempo::{
    chain::{BlockInfo, ChainClient, ChannelRef, DynChain, LogReader},
    channel::{ChannelId, Existence},
};

use super::{
    cursor::{Cursor, KEPT},
    ended::{self, Round},
    interest::Watched,
    news::{News, Pair, fold},
    recent::{Recent, WINDOW},
};
use crate::{
    error::{Failure, Fault},
    event::ServerEvent,
    session::{
        SessionContext,
        command::Command,
        record::{ChannelRecord, Phase},
    },
    store::{ChannelStore, Version, Written},
};

/// Channels that are changed at once.
const CONCURRENT: usize = 16;

/// Channels that are read again at once.
const AT_ONCE: usize = 256;

/// Pages of closed channels that a start compares; the rest is left to the looks
/// that follow, one page each.
const PAGES_AT_START: usize = 16;

/// How often a doubted channel is read: a node may lag behind for so long.
const LOOKS: u8 = 12;

/// Blocks after which the position is written even if nothing has happened.
const SAVE_EVERY: u64 = 64;

/// How a look went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// Everything up to the node's newest block is noted.
    Seen,
    /// The node has not come as far as one that was asked before: nothing it
    /// says is believed.
    Behind,
}

/// Where the reading of events stands.
#[derive(Debug)]
pub(crate) struct Place {
    /// The block to go on from.
    next: Option<u64>,
    /// The newest block that was seen.
    head: Option<BlockInfo>,
    /// The block after the newest that this or another server has seen.
    furthest: u64,
    reader: LogReader,
    recent: Recent,
    /// Channels whose facts may have been taken back, and how often they were
    /// read since.
    doubts: BTreeMap<ChannelId, u8>,
    /// Channels that this look has news of.
    told: HashSet<ChannelId>,
    /// Closed channels are being compared with the chain.
    round: Option<Round>,
    /// The stored positions that are known.
    cursors: BTreeMap<Pair, Option<Version>>,
    /// Up to where the positions are written.
    saved: Option<u64>,
    /// Whether all channels were compared with the chain.
    pub(super) begun: bool,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            next: None,
            head: None,
            furthest: 0,
            reader: LogReader::new(),
            recent: Recent::default(),
            doubts: BTreeMap::new(),
            told: HashSet::new(),
            round: Some(Round::default()),
            cursors: BTreeMap::new(),
            saved: None,
            begun: false,
        }
    }
}

impl Place {
    /// Notes everything up to the newest block.
    ///
    /// Two calls when there are new blocks, one when there are none; one more
    /// while facts are in doubt, and more for ranges that the node cuts.
    ///
    /// # Cancel safety
    /// Dropped, the same events are read again; noting them twice is harmless.
    pub(super) async fn look<S: ChannelStore>(
        &mut self,
        context: &SessionContext<S>,
    ) -> Result<Looked, Fault> {
        let watched = context.interest.snapshot();
        self.join(context, &watched).await?;
        // Before the node is asked: what others see meanwhile does not put it behind.
        let seen = context.horizon.seen().max(self.furthest.saturating_sub(1));
        let head = context.chain.block().await.map_err(Fault::from)?;
        let next = *self.next.get_or_insert(head.number);
        let after = head.number.saturating_add(1);
        if head.number < seen {
            self.is_behind(context, head, seen);
            return Ok(Looked::Behind);
        }
        context.sight.caught_up();
        let is_replaced = |before: BlockInfo| before.number == head.number && before != head;
        if self.head.is_some_and(is_replaced) {
            self.round = Some(Round::default());
        }
        let mut is_new = self.head != Some(head) || next <= head.number;
        for news in context.interest.take_receipts() {
            is_new |= self.recent.note(&news);
            self.told.insert(news.event.channel_id());
        }
        let mut doubted: Vec<ChannelId> = self.doubts.keys().copied().collect();
        self.doubt(context.interest.take_unsure());
        if !watched.is_empty() && (is_new || !doubted.is_empty()) {
            self.read(context, &watched, head).await?;
            // A view of a channel that has news may be older than these are.
            let told = std::mem::take(&mut self.told);
            doubted.retain(|id| !told.contains(id));
            for (_, looks) in self.doubts.iter_mut().filter(|(id, _)| told.contains(*id)) {
                *looks = 0;
            }
            self.look_again(context, doubted).await?;
        }
        self.next = Some(after);
        self.furthest = after;
        self.head = Some(head);
        let young = self
            .recent
            .young(head.number, context.sight.finality_depth());
        context.sight.replace_young(young);
        if self.begun {
            context.sight.saw(head, context.clock.now());
            self.compare_page(context).await?;
        }
        self.save(context).await?;
        Ok(Looked::Seen)
    }

    fn is_behind<S: ChannelStore>(&self, context: &SessionContext<S>, head: BlockInfo, seen: u64) {
        tracing::warn!(
            head = head.number,
            seen,
            "the node is behind what was seen of the chain before"
        );
        let now = context.clock.now();
        if let Some(behind) = context.sight.fell_behind(head.number, seen, now) {
            tracing::error!(
                head = head.number,
                seen,
                "the node does not catch up; an operator must look"
            );
            context.events.send(ServerEvent::ChainBehind(behind));
        }
    }

    /// All channels were compared with the chain: from here on the picture of
    /// it is complete.
    pub(super) fn has_begun<S: ChannelStore>(&mut self, context: &SessionContext<S>) {
        self.begun = true;
        if let Some(head) = self.head {
            context.sight.saw(head, context.clock.now());
        }
    }

    /// Has channels read again, at the next look.
    pub(super) fn doubt(&mut self, ids: impl IntoIterator<Item = ChannelId>) {
        for id in ids {
            self.doubts.insert(id, 0);
        }
    }

    /// Compares the channels that were closed lately with the chain, as many as
    /// a start may.
    pub(super) async fn compare_closed<S: ChannelStore>(
        &mut self,
        context: &SessionContext<S>,
    ) -> Result<(), Fault> {
        for _ in 0..PAGES_AT_START {
            self.compare_page(context).await?;
        }
        Ok(())
    }

    async fn compare_page<S: ChannelStore>(
        &mut self,
        context: &SessionContext<S>,
    ) -> Result<(), Fault> {
        let Some(round) = self.round else {
            return Ok(());
        };
        let page = round.page(context).await?;
        if !page.reverted.is_empty() {
            tracing::error!(
                channels = page.reverted.len(),
                "channels that were closed are open on chain again"
            );
        }
        self.doubt(page.reverted);
        self.round = page.next;
        Ok(())
    }

    /// Reads all doubted channels again now.
    pub(super) async fn settle_doubts<S: ChannelStore>(
        &mut self,
        context: &SessionContext<S>,
    ) -> Result<(), Fault> {
        let doubted = self.doubts.keys().copied().collect();
        self.look_again(context, doubted).await
    }

    /// Goes on from where an earlier process has stopped.
    async fn join<S: ChannelStore>(
        &mut self,
        context: &SessionContext<S>,
        watched: &Watched,
    ) -> Result<(), Fault> {
        let (store, chain_id) = (context.driver.store(), context.chain.chain_id());
        // Something may be taken back: has another server seen it since?
        if !self.begun || !self.doubts.is_empty() {
            context.horizon.learn(store, chain_id).await?;
        }
        for pair in watched.pairs() {
            if self.cursors.contains_key(&pair) {
                continue;
            }
            let found = Cursor::load(store, chain_id, pair).await?;
            if let Some((cursor, _)) = &found {
                let next = self.next.unwrap_or(cursor.next);
                self.next = Some(next.min(cursor.next));
                self.furthest = self.furthest.max(cursor.next);
                for (key, noted) in cursor.recent(pair) {
                    self.recent.restore(key, noted);
                }
            }
            self.cursors.insert(pair, found.map(|(_, version)| version));
            self.saved = None;
        }
        Ok(())
    }

    /// Reads the events from the first block on that could still change.
    ///
    /// The newest blocks are read again although they were read, however long ago
    /// that was: one of several nodes behind an address may have had less of them
    /// to show.
    async fn read<S: ChannelStore>(
        &mut self,
        context: &SessionContext<S>,
        watched: &Watched,
        head: BlockInfo,
    ) -> Result<(), Fault> {
        context.interest.reads(head.number);
        let next = self.next.unwrap_or(head.number);
        let first = next.min(head.number).saturating_sub(self.window(context));
        self.recent.forget_before(first);
        let mut filter = watched.filter(first);
        let mut shown = HashSet::new();
        while filter.from_block <= head.number {
            let read = self.reader.read(&context.chain, &filter, head.number);
            let batch = read.await?;
            let news: Vec<News> = batch
                .logs
                .iter()
                .filter_map(|log| News::read(log, watched.protocol(log.address)?, batch.last))
                .collect();
            shown.extend(news.iter().map(|news| news.key));
            self.note(context, &news).await?;
            filter.from_block = batch.last.saturating_add(1);
            // A long way is not gone twice.
            self.next = Some(next.max(filter.from_block));
            if filter.from_block <= head.number {
                self.save(context).await?;
            }
        }
        let missing = self.recent.take_missing(&shown, head.number);
        let was_final = context.finality();
        let seen = self.head.map_or(0, |before| before.number);
        let is_deep = |(_, block): &(ChannelId, u64)| block.saturating_add(was_final) <= seen;
        if missing.iter().any(is_deep) {
            // Older events may be gone, too, and nobody looks for those.
            self.round = Some(Round::default());
        }
        if !missing.is_empty() {
            tracing::warn!(
                channels = missing.len(),
                "events are gone from the chain; their channels will be read again"
            );
            self.saved = None;
        }
        self.doubt(missing.into_iter().map(|(id, _)| id));
        Ok(())
    }

    fn window<S: ChannelStore>(&self, context: &SessionContext<S>) -> u64 {
        WINDOW.max(context.sight.finality_depth())
    }

    /// Passes on what is new, one command for each channel.
    async fn note<S: ChannelStore>(
        &mut self,
        context: &SessionContext<S>,
        news: &[News],
    ) -> Result<(), Fault> {
        let fresh: Vec<&News> = news
            .iter()
            .filter(|news| !self.recent.knows(news))
            .collect();
        self.told
            .extend(fresh.iter().map(|news| news.event.channel_id()));
        if let Some(newest) = fresh.iter().map(|news| news.block).max() {
            context.reach(newest).await?;
        }
        let noted = stream::iter(fold(fresh))
            .map(|(id, command)| async move {
                match context.run(id, command).await {
                    // Not one of ours, or not served any more.
                    Ok(_) | Err(Failure::Rejected(_)) => Ok(()),
                    Err(Failure::Fault(fault)) => Err(fault),
                }
            })
            .buffer_unordered(CONCURRENT);
        noted.try_collect::<()>().await?;
        for news in news {
            if self.recent.note(news) {
                self.saved = None;
            }
        }
        Ok(())
    }

    /// Reads doubted channels and believes what the chain shows now, even if
    /// it is less than what was known.
    async fn look_again<S: ChannelStore>(
        &mut self,
        context: &SessionContext<S>,
        doubted: Vec<ChannelId>,
    ) -> Result<(), Fault> {
        for ids in doubted.chunks(AT_ONCE) {
            let mut records = Vec::with_capacity(ids.len());
            for id in ids {
                match context.driver.store().load(*id).await? {
                    Some(found) => records.push(found.record),
                    None => {
                        self.doubts.remove(id);
                    }
                }
            }
            let asked = records.iter().map(|record| place_of(record)).collect();
            let views = context.chain.channels(asked).await?;
            context.reach_views(records.iter().zip(&views)).await?;
            for (record, view) in records.into_iter().zip(views) {
                let seen = Seen::of(&record);
                // What was learned meanwhile is newer than the view.
                let is_same = |record: &ChannelRecord| Seen::of(record) == seen;
                let command = Command::Reorged(view);
                match context.run_if(record.id, command, is_same).await {
                    // Its transaction may be mined once more: look again.
                    Ok(Some(applied))
                        if view.existence == Existence::Open
                            && ended::is_closed(&applied.get().record) => {}
                    Ok(_) | Err(Failure::Rejected(_)) => self.looked_at(record.id),
                    Err(Failure::Fault(fault)) => return Err(fault),
                }
            }
        }
        Ok(())
    }

    fn looked_at(&mut self, id: ChannelId) {
        if let Some(looks) = self.doubts.get_mut(&id) {
            *looks = looks.saturating_add(1);
            if *looks >= LOOKS {
                self.doubts.remove(&id);
            }
        }
    }

    /// Writes the positions, unless they have hardly moved.
    ///
    /// Another server over the same store may have written too; then its
    /// position is as good, and ours is written over it next time.
    async fn save<S: ChannelStore>(&mut self, context: &SessionContext<S>) -> Result<(), Fault> {
        let Some(next) = self.next else {
            return Ok(());
        };
        let is_due = |saved: u64| next >= saved.saturating_add(SAVE_EVERY);
        if self.cursors.is_empty() || !self.saved.is_none_or(is_due) {
            return Ok(());
        }
        let (store, chain_id) = (context.driver.store(), context.chain.chain_id());
        let mut writes = Vec::with_capacity(self.cursors.len());
        for (pair, version) in &self.cursors {
            let cursor = Cursor::new(next, self.recent.of(*pair, KEPT));
            writes.push(cursor.write(chain_id, *pair, *version)?);
        }
        match store.write_documents(writes).await? {
            Written::Done => {
                for version in self.cursors.values_mut() {
                    let before = version.map_or(0, |version| version.0);
                    *version = Some(Version(before.saturating_add(1)));
                }
                self.saved = Some(next);
            }
            Written::Conflict => {
                for (pair, version) in &mut self.cursors {
                    let found = Cursor::load(store, chain_id, *pair).await?;
                    *version = found.map(|(_, version)| version);
                }
            }
        }
        Ok(())
    }
}

/// What a record knows of the chain.
#[derive(PartialEq, Eq)]
struct Seen {
    deposit: Amount,
    settled: Amount,
    phase: Phase,
}

impl Seen {
    fn of(record: &ChannelRecord) -> Self {
        Self {
            deposit: record.deposit,
            settled: record.settled,
            phase: record.phase.clone(),
        }
    }
}

/// Where the chain keeps a channel.
pub(crate) fn place_of(record: &ChannelRecord) -> ChannelRef {
    ChannelRef {
        protocol: record.terms.protocol,
        escrow: record.terms.escrow,
        id: record.id,
    }
}

/// How the chain ended channels that it does not know any more, as far as a
/// few calls tell.
pub(crate) async fn find_ends(
    chain: &DynChain,
    watched: &Watched,
    ids: &[ChannelId],
) -> Result<BTreeMap<ChannelId, Command>, Fault> {
    /// A node that cuts the history into more parts than this is not asked on.
    const CALLS: usize = 64;
    let head = chain.block().await.map_err(Fault::from)?.number;
    let mut filter = watched.filter(0);
    if let Some(of_channel) = filter.topics.get_mut(1) {
        *of_channel = ids.iter().map(|id| B256::from(id.0)).collect();
    }
    let (mut reader, mut news) = (LogReader::new(), Vec::new());
    for _ in 0..CALLS {
        if filter.from_block > head {
            break;
        }
        let batch = reader.read(chain, &filter, head).await?;
        let read = |log| News::read(log, watched.protocol(log.address)?, batch.last);
        news.extend(batch.logs.iter().filter_map(read));
        filter.from_block = batch.last.saturating_add(1);
    }
    let is_end = |command: &Command| !matches!(command, Command::Follow(_));
    let mut ends = fold(&news);
    ends.retain(|_, command| is_end(command));
    Ok(ends)
}
