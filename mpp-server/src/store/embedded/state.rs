//! What is in memory: every record, and what waits for the disk.
//!
//! The order of commits is the order in which they get here; the version check
//! happens here. Nothing below waits, reads or writes a file.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use alloy_primitives::B256;
use mpp_core::{Amount, Timestamp};
use mpp_tempo::channel::ChannelId;
use tokio::sync::{oneshot, watch};

use super::{
    SyncMode,
    documents::{Documents, Place},
    file::OutcomeRow,
    journal::Folded,
    queue::{Job, Queue, Task},
    slot::{Pending, Slot, Sums},
    tables::ClaimRow,
};
use crate::{
    session::record::ChannelRecord,
    store::{
        Claim, ClaimKey, DocumentKey, DocumentWrite, LossCaps, OUTCOMES_PER_CHANNEL, OutcomeKey,
        Scan, StoredOutcome, Version, Versioned, Which, Write, codec::journal::Image,
    },
};

/// Everything a store knows.
#[derive(Debug)]
pub(super) struct State {
    mode: SyncMode,
    channels: BTreeMap<ChannelId, Slot>,
    outcomes: HashMap<OutcomeKey, OutcomeSlot>,
    outcomes_by_end: BTreeSet<(Timestamp, OutcomeKey)>,
    claims: HashMap<ClaimKey, ClaimSlot>,
    claims_by_end: BTreeSet<(Timestamp, ClaimKey)>,
    documents: Documents,
    newest_entry: u64,
    /// What a crash would lose of what was acknowledged.
    at_risk: Amount,
    /// What the writer has not taken yet, in the order of commits.
    pub(super) queue: Queue,
    /// How many commits are not in the file's tables yet.
    unfolded: usize,
}

#[derive(Debug)]
struct OutcomeSlot {
    channel_id: ChannelId,
    expires: Timestamp,
    /// The outcome itself and the version it came with, until it is in its table.
    pending: Option<(Version, Arc<StoredOutcome>)>,
}

#[derive(Debug)]
struct ClaimSlot {
    value: B256,
    expires: Timestamp,
    durable: bool,
}

/// How a commit went, as far as memory can tell.
#[derive(Debug)]
pub(super) enum Submitted {
    Conflict,
    /// Acknowledged; `Relaxed` only.
    Acknowledged(Version),
    /// Acknowledged when the sender says so.
    Waiting(Version, oneshot::Receiver<()>),
}

/// Where an outcome is found.
#[derive(Debug)]
pub(super) enum Found {
    Nowhere,
    InFile,
    InMemory(Pending<Arc<StoredOutcome>>),
}

impl State {
    /// What a file holds.
    pub(super) fn new(
        mode: SyncMode,
        records: Vec<Versioned>,
        outcomes: Vec<OutcomeRow>,
        claims: Vec<ClaimRow>,
        newest_entry: u64,
    ) -> Self {
        let slots = records.into_iter().map(|found| {
            let sums = Sums::of(&found.record);
            (found.record.id, Slot::durable(found, sums))
        });
        let mut state = Self {
            mode,
            channels: slots.collect(),
            outcomes: HashMap::new(),
            outcomes_by_end: BTreeSet::new(),
            claims: HashMap::new(),
            claims_by_end: BTreeSet::new(),
            documents: Documents::default(),
            newest_entry,
            at_risk: Amount::ZERO,
            queue: match mode {
                SyncMode::Strict => Queue::alone(),
                SyncMode::Group | SyncMode::Relaxed(_) => Queue::default(),
            },
            unfolded: 0,
        };
        let mut outcomes = outcomes;
        outcomes.sort_by_key(|row| row.number);
        for row in outcomes {
            if let Some(slot) = state.channels.get_mut(&row.channel_id) {
                slot.outcomes.push_back((row.number, row.key));
            }
            let kept = OutcomeSlot {
                channel_id: row.channel_id,
                expires: row.expires,
                pending: None,
            };
            state.add_outcome(row.key, kept);
        }
        for row in claims {
            state.keep_claim(row.key, row.value, row.expires, true);
        }
        state
    }

    /// With the documents of the file.
    pub(super) fn with_documents(mut self, documents: Documents) -> Self {
        self.documents = documents;
        self
    }

    /// The newest state of a channel. It is the caller's to wait until that
    /// state may be shown.
    pub(super) fn load(&mut self, id: ChannelId) -> Option<Pending<Arc<ChannelRecord>>> {
        let slot = self.channels.get_mut(&id)?;
        Some(slot.pending())
    }

    pub(super) fn scan(&mut self, scan: Scan) -> Vec<Pending<Arc<ChannelRecord>>> {
        use std::ops::Bound;
        let from = scan.after.map_or(Bound::Unbounded, Bound::Excluded);
        let channels = self.channels.range_mut((from, Bound::Unbounded));
        let chosen = channels.map(|(_, slot)| slot);
        let chosen = chosen.filter(|slot| scan.which == Which::All || slot.record.is_live());
        chosen.take(scan.limit).map(Slot::pending).collect()
    }

    /// Follows the shown version of a channel.
    pub(super) fn follow(&mut self, id: ChannelId) -> Option<watch::Receiver<Version>> {
        self.channels.get_mut(&id).map(Slot::follow)
    }

    /// Takes a commit into the order of commits, or not. `image` is its form
    /// with the version that follows the expected one.
    pub(super) fn submit(&mut self, write: Write, image: &Image) -> Submitted {
        let (id, version) = (write.next.id, write.version());
        let sums = Sums::of(&write.next);
        let acks_first = self.acks_first(&write.next, sums);
        let record = write.next;
        let slot = self.channels.get_mut(&id);
        if slot.as_ref().map(|slot| slot.version) != write.expected {
            return Submitted::Conflict;
        }
        match slot {
            Some(slot) => {
                slot.version = version;
                slot.record = record;
            }
            None => {
                let found = Slot::new(version, record);
                self.channels.insert(id, found);
            }
        }
        let entry = write.entry.map(|_| {
            self.newest_entry = self.newest_entry.saturating_add(1);
            self.newest_entry
        });
        let outcome = write.outcome.as_ref().map(|outcome| outcome.key);
        let ended = match write.outcome {
            Some(outcome) => self.keep_outcome(outcome, version),
            None => Vec::new(),
        };
        self.queue.change(image, entry, &ended);
        self.unfolded = self.unfolded.saturating_add(1);
        let task = Task::Commit {
            id,
            version,
            sums,
            outcome,
        };
        if !acks_first {
            return Submitted::Waiting(version, self.queue.push_awaited(task));
        }
        self.queue.push(task);
        if let Some(slot) = self.channels.get_mut(&id) {
            slot.show(version);
        }
        self.weigh(id);
        Submitted::Acknowledged(version)
    }

    /// Whether a commit may be acknowledged before it is on the disk.
    ///
    /// Only vouchers and charges may be lost, and no more of them than the
    /// caps allow. What the chain is told or has told always waits.
    fn acks_first(&self, next: &ChannelRecord, sums: Sums) -> bool {
        let SyncMode::Relaxed(caps) = self.mode else {
            return false;
        };
        let Some(slot) = self.channels.get(&next.id) else {
            return false;
        };
        let before = &slot.record;
        let same_chain = before.phase == next.phase
            && before.deposit == next.deposit
            && before.settled == next.settled;
        // What was given back, a crash would take again: no cap allows that.
        let only_grows = before.spent <= next.spent && before.accepted() <= next.accepted();
        // Behind a commit that waits, this one waits too.
        let in_order = slot.shown == slot.version;
        let at_risk = sums.above(slot.durable);
        same_chain && only_grows && in_order && self.within(caps, slot, at_risk)
    }

    fn within(&self, caps: LossCaps, slot: &Slot, at_risk: Amount) -> bool {
        let others = self.at_risk.saturating_sub(slot.at_risk);
        let total = others.checked_add(at_risk);
        at_risk <= caps.per_channel && total.is_some_and(|total| total <= caps.total)
    }

    /// Counts again what a crash would lose of a channel.
    fn weigh(&mut self, id: ChannelId) {
        // Nothing else is acknowledged before it is on the disk.
        if !matches!(self.mode, SyncMode::Relaxed(_)) {
            return;
        }
        let Some(slot) = self.channels.get_mut(&id) else {
            return;
        };
        let at_risk = match slot.shown == slot.version {
            true => Sums::of(&slot.record).above(slot.durable),
            // A commit that waits was not acknowledged; the part that was
            // weighed when it was, and can only have shrunk since.
            false => slot.at_risk,
        };
        let others = self.at_risk.saturating_sub(slot.at_risk);
        slot.at_risk = at_risk;
        self.at_risk = others.checked_add(at_risk).unwrap_or(Amount::MAX);
    }

    /// The key of the oldest outcome of a channel.
    pub(super) fn oldest_outcome(&self, id: ChannelId) -> Option<OutcomeKey> {
        let oldest = self.channels.get(&id)?.outcomes.front();
        oldest.map(|(_, key)| *key)
    }

    /// Keeps an outcome. Says which ones it pushes out.
    fn keep_outcome(&mut self, outcome: StoredOutcome, version: Version) -> Vec<OutcomeKey> {
        let (key, channel_id) = (outcome.key, outcome.channel_id);
        let mut forget = Vec::new();
        if let Some(slot) = self.channels.get_mut(&channel_id) {
            let oldest = outcome.number.saturating_sub(OUTCOMES_PER_CHANNEL);
            slot.outcomes.retain(|(number, other)| {
                let stays = *number > oldest && *other != key;
                if !stays && *other != key {
                    forget.push(*other);
                }
                stays
            });
            slot.outcomes.push_back((outcome.number, key));
        }
        for key in &forget {
            self.remove_outcome(*key);
        }
        let kept = OutcomeSlot {
            channel_id,
            expires: outcome.expires,
            pending: Some((version, Arc::new(outcome))),
        };
        self.add_outcome(key, kept);
        forget
    }

    fn add_outcome(&mut self, key: OutcomeKey, slot: OutcomeSlot) {
        self.remove_outcome(key);
        self.outcomes_by_end.insert((slot.expires, key));
        self.outcomes.insert(key, slot);
    }

    fn remove_outcome(&mut self, key: OutcomeKey) -> Option<OutcomeSlot> {
        let slot = self.outcomes.remove(&key)?;
        self.outcomes_by_end.remove(&(slot.expires, key));
        Some(slot)
    }

    /// Looks for an outcome that has not expired.
    pub(super) fn outcome(&mut self, key: OutcomeKey, now: Timestamp) -> Found {
        let Some(slot) = self.outcomes.get(&key).filter(|slot| slot.expires > now) else {
            return Found::Nowhere;
        };
        let Some((version, outcome)) = &slot.pending else {
            return Found::InFile;
        };
        let (version, value) = (*version, Arc::clone(outcome));
        let channel = self.channels.get_mut(&slot.channel_id);
        let shown = channel.filter(|channel| channel.shown < version);
        Found::InMemory(Pending {
            value,
            version,
            shown: shown.map(Slot::follow),
        })
    }

    /// Makes a claim, or finds it made. Either counts once the receiver says
    /// so; without a receiver it counts already.
    pub(super) fn claim(
        &mut self,
        key: ClaimKey,
        value: B256,
        expires: Timestamp,
        now: Timestamp,
    ) -> (Claim, Option<oneshot::Receiver<()>>) {
        if let Some(slot) = self.claims.get(&key).filter(|slot| slot.expires > now) {
            let claim = Claim::Existing(slot.value);
            let waits = !slot.durable;
            return (claim, waits.then(|| self.barrier()));
        }
        // What else has ended by this clock is for the sweep, which allows for
        // clocks that differ.
        self.keep_claim(key.clone(), value, expires, false);
        let claim = ClaimRow {
            key,
            value,
            expires,
        };
        let task = Task::Claim(claim);
        (Claim::New, Some(self.queue.push_awaited(task)))
    }

    /// Forgets claims that have ended, at most `limit` of them.
    fn end_claims(&mut self, now: Timestamp, limit: usize) -> Vec<ClaimKey> {
        let mut ended = Vec::new();
        while ended.len() < limit
            && let Some((end, _)) = self.claims_by_end.first()
            && *end <= now
            && let Some((_, key)) = self.claims_by_end.pop_first()
        {
            self.claims.remove(&key);
            ended.push(key);
        }
        ended
    }

    /// Forgets outcomes that have ended, at most `limit` of them.
    fn end_outcomes(&mut self, now: Timestamp, limit: usize) -> Vec<OutcomeKey> {
        let mut ended = Vec::new();
        while ended.len() < limit
            && let Some((end, key)) = self.outcomes_by_end.first().copied()
            && end <= now
        {
            let channel = self.remove_outcome(key).map(|slot| slot.channel_id);
            if let Some(slot) = channel.and_then(|id| self.channels.get_mut(&id)) {
                slot.outcomes.retain(|(_, kept)| *kept != key);
            }
            ended.push(key);
        }
        ended
    }

    /// Forgets what has ended, at most `limit` of it. Says how much, and when
    /// that is on the disk.
    pub(super) fn sweep(
        &mut self,
        now: Timestamp,
        limit: usize,
    ) -> (usize, Option<oneshot::Receiver<()>>) {
        let claims = self.end_claims(now, limit);
        let outcomes = self.end_outcomes(now, limit.saturating_sub(claims.len()));
        let count = claims.len().saturating_add(outcomes.len());
        let job = (count > 0).then(|| {
            self.queue.end_outcomes(&outcomes);
            self.queue.push_awaited(Task::Ended(claims))
        });
        (count, job)
    }

    fn keep_claim(&mut self, key: ClaimKey, value: B256, expires: Timestamp, durable: bool) {
        let slot = ClaimSlot {
            value,
            expires,
            durable,
        };
        if let Some(before) = self.claims.insert(key.clone(), slot) {
            self.claims_by_end.remove(&(before.expires, key.clone()));
        }
        self.claims_by_end.insert((expires, key));
    }

    /// Looks for a document. What is in memory counts once the receiver says
    /// so.
    pub(super) fn document(&mut self, key: DocumentKey) -> (Place, Option<oneshot::Receiver<()>>) {
        let place = self.documents.find(key);
        let waits = matches!(place, Place::InMemory(_));
        (place, waits.then(|| self.barrier()))
    }

    /// Takes a write of documents into the order of commits, or not. Documents
    /// concern the chain, so that no mode acknowledges them first.
    pub(super) fn write_documents(
        &mut self,
        writes: Vec<DocumentWrite>,
    ) -> Option<oneshot::Receiver<()>> {
        let rows = self.documents.write(writes)?;
        Some(self.queue.push_awaited(Task::Documents(rows)))
    }

    /// Ready once all documents are on the disk.
    pub(super) fn documents_written(&mut self) -> Option<oneshot::Receiver<()>> {
        self.documents.is_waiting().then(|| self.barrier())
    }

    /// Ready once everything that was taken before is on the disk.
    pub(super) fn barrier(&mut self) -> oneshot::Receiver<()> {
        self.queue.push_awaited(Task::Barrier)
    }

    /// Ready once everything that was taken before is in the file's tables;
    /// `None`: it is.
    pub(super) fn in_tables(&mut self) -> Option<oneshot::Receiver<()>> {
        (self.unfolded > 0).then(|| self.queue.push_awaited(Task::Fold))
    }

    /// Notes that jobs are on the disk.
    pub(super) fn settle(&mut self, jobs: &[Job]) {
        for job in jobs {
            match &job.task {
                Task::Commit {
                    id, version, sums, ..
                } => {
                    if let Some(slot) = self.channels.get_mut(id) {
                        slot.durable = *sums;
                        slot.show(*version);
                    }
                    self.weigh(*id);
                }
                Task::Claim(claim) => {
                    if let Some(slot) = self.claims.get_mut(&claim.key) {
                        slot.durable = true;
                    }
                }
                Task::Documents(rows) => self.documents.settle(rows),
                Task::Ended(_) | Task::Fold | Task::Barrier => {}
            }
        }
    }

    /// Notes that commits are in the file's tables.
    pub(super) fn folded(&mut self, folded: &Folded) {
        self.unfolded = self.unfolded.saturating_sub(folded.commits);
        for (key, version) in &folded.outcomes {
            if let Some(slot) = self.outcomes.get_mut(key) {
                slot.pending.take_if(|(pending, _)| pending == version);
            }
        }
    }

    /// Forgets whoever waits: they learn of the failure.
    pub(super) fn abandon(&mut self) {
        self.queue.clear();
        for slot in self.channels.values_mut() {
            slot.abandon();
        }
    }
}
