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
    file::{Change, ClaimRow, OutcomeRow},
    slot::{Pending, Slot, Sums},
};
use crate::{
    session::record::ChannelRecord,
    store::{
        Claim, ClaimKey, DocumentKey, DocumentWrite, LossCaps, OUTCOMES_PER_CHANNEL, OutcomeKey,
        Scan, StoredOutcome, Version, Versioned, Which, Write, codec, codec::CodecError,
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
    pub(super) queue: Vec<Job>,
}

#[derive(Debug)]
struct OutcomeSlot {
    channel_id: ChannelId,
    expires: Timestamp,
    /// The outcome itself and the version it came with, until it is on the disk.
    pending: Option<(Version, Arc<StoredOutcome>)>,
}

#[derive(Debug)]
struct ClaimSlot {
    value: B256,
    expires: Timestamp,
    durable: bool,
}

/// Something for the writer to do.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) change: Option<Change>,
    sums: Sums,
    /// Dropped without a word when the write fails.
    done: Option<oneshot::Sender<()>>,
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

/// A write in stored form, made before the lock is taken.
#[derive(Debug)]
pub(super) struct Encoded {
    record: bytes::Bytes,
    entry: Option<bytes::Bytes>,
    outcome: Option<bytes::Bytes>,
}

impl Encoded {
    pub(super) fn of(write: &Write) -> Result<Self, CodecError> {
        let entry = write.entry.as_ref().map(codec::encode_entry);
        let outcome = write.outcome.as_ref().map(codec::encode_outcome);
        Ok(Self {
            record: codec::encode_record(&write.next)?,
            entry: entry.transpose()?,
            outcome: outcome.transpose()?,
        })
    }
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
            queue: Vec::new(),
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

    /// Takes a commit into the order of commits, or not.
    pub(super) fn submit(&mut self, write: Write, encoded: Encoded) -> Submitted {
        let id = write.next.id;
        let current = self.channels.get(&id).map(|slot| slot.version);
        if current != write.expected {
            return Submitted::Conflict;
        }
        let version = Version(current.map_or(1, |version| version.0.saturating_add(1)));
        let sums = Sums::of(&write.next);
        let acks_first = self.acks_first(&write.next, sums);
        let record = write.next;
        match self.channels.get_mut(&id) {
            Some(slot) => {
                slot.version = version;
                slot.record = record;
            }
            None => {
                let found = Slot::new(version, record);
                self.channels.insert(id, found);
            }
        }
        let entry = encoded.entry.map(|entry| {
            self.newest_entry = self.newest_entry.saturating_add(1);
            (self.newest_entry, entry)
        });
        let outcome = write.outcome.zip(encoded.outcome);
        let (outcome, forget) = match outcome {
            Some((outcome, value)) => self.keep_outcome(outcome, value, version),
            None => (None, Vec::new()),
        };
        let change = Change::Record {
            id,
            version,
            record: encoded.record,
            entry,
            outcome,
            forget,
        };
        let (done, waiting) = match acks_first {
            true => (None, None),
            false => {
                let (done, waiting) = oneshot::channel();
                (Some(done), Some(waiting))
            }
        };
        self.queue.push(Job {
            change: Some(change),
            sums,
            done,
        });
        if let Some(waiting) = waiting {
            return Submitted::Waiting(version, waiting);
        }
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
        // Behind a commit that waits, this one waits too.
        let in_order = slot.shown == slot.version;
        same_chain && in_order && self.within(caps, slot, sums.above(slot.durable))
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

    fn keep_outcome(
        &mut self,
        outcome: StoredOutcome,
        value: bytes::Bytes,
        version: Version,
    ) -> (Option<OutcomeRow>, Vec<OutcomeKey>) {
        let row = OutcomeRow {
            key: outcome.key,
            channel_id: outcome.channel_id,
            number: outcome.number,
            expires: outcome.expires,
            value,
        };
        let mut forget = Vec::new();
        if let Some(slot) = self.channels.get_mut(&row.channel_id) {
            let oldest = row.number.saturating_sub(OUTCOMES_PER_CHANNEL);
            slot.outcomes.retain(|(number, key)| {
                let stays = *number > oldest && *key != row.key;
                if !stays && *key != row.key {
                    forget.push(*key);
                }
                stays
            });
            slot.outcomes.push_back((row.number, row.key));
        }
        for key in &forget {
            self.remove_outcome(*key);
        }
        let kept = OutcomeSlot {
            channel_id: row.channel_id,
            expires: row.expires,
            pending: Some((version, Arc::new(outcome))),
        };
        self.add_outcome(row.key, kept);
        (Some(row), forget)
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
        let forget = self.end_claims(now, usize::MAX);
        self.keep_claim(key.clone(), value, expires, false);
        let change = Change::Claim {
            key,
            value,
            expires,
            forget,
        };
        (Claim::New, Some(self.push(Some(change))))
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
        let job = (count > 0).then(|| self.push(Some(Change::Ended { claims, outcomes })));
        (count, job)
    }

    fn keep_claim(&mut self, key: ClaimKey, value: B256, expires: Timestamp, durable: bool) {
        self.claims_by_end.insert((expires, key.clone()));
        let slot = ClaimSlot {
            value,
            expires,
            durable,
        };
        self.claims.insert(key, slot);
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
        Some(self.push(Some(Change::Documents(rows))))
    }

    /// Ready once all documents are on the disk.
    pub(super) fn documents_written(&mut self) -> Option<oneshot::Receiver<()>> {
        self.documents.is_waiting().then(|| self.barrier())
    }

    /// Ready once everything that was taken before is on the disk.
    pub(super) fn barrier(&mut self) -> oneshot::Receiver<()> {
        self.push(None)
    }

    fn push(&mut self, change: Option<Change>) -> oneshot::Receiver<()> {
        let (done, waiting) = oneshot::channel();
        self.queue.push(Job {
            change,
            sums: Sums::default(),
            done: Some(done),
        });
        waiting
    }

    /// What waits for the writer. The next jobs find as much room.
    pub(super) fn take_queue(&mut self) -> Vec<Job> {
        let room = Vec::with_capacity(self.queue.len());
        std::mem::replace(&mut self.queue, room)
    }

    /// Notes that jobs are on the disk.
    pub(super) fn settle(&mut self, jobs: &[Job]) {
        for job in jobs {
            match &job.change {
                Some(Change::Record {
                    id,
                    version,
                    outcome,
                    ..
                }) => {
                    if let Some(slot) = self.channels.get_mut(id) {
                        slot.durable = job.sums;
                        slot.show(*version);
                    }
                    self.weigh(*id);
                    let key = outcome.as_ref().map(|outcome| outcome.key);
                    if let Some(slot) = key.and_then(|key| self.outcomes.get_mut(&key)) {
                        slot.pending.take_if(|(pending, _)| pending == version);
                    }
                }
                Some(Change::Claim { key, .. }) => {
                    if let Some(slot) = self.claims.get_mut(key) {
                        slot.durable = true;
                    }
                }
                Some(Change::Documents(rows)) => self.documents.settle(rows),
                Some(Change::Ended { .. }) | None => {}
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

impl Job {
    /// Tells whoever waits that the job is on the disk.
    pub(super) fn acknowledge(self) {
        if let Some(done) = self.done {
            // A caller that has gone does not need to know.
            let _gone = done.send(());
        }
    }
}
