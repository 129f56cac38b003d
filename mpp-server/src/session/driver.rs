//! Load, apply, commit; retry on conflict. It never decides.

use std::sync::Arc;

use mpp_core::Amount;
use mpp_tempo::channel::ChannelId;

use super::{
    command::{Command, Outcome},
    machine::{Bounds, apply_within},
    record::{ChannelRecord, Idempotency, Phase},
};
use crate::{
    clock::SharedClock,
    error::{Failure, Rejection},
    settle::sight::Sight,
    store::{ChannelStore, Commit, FEWEST_OUTCOMES, StoreFault, StoredOutcome, Version, Write},
};

/// Something the store has acknowledged. Only the driver and the charge desk
/// make these, and only a `Durable` leads to service, a broadcast or a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    /// What the store has acknowledged just now.
    pub(crate) fn acknowledged(value: T) -> Self {
        Self(value)
    }

    /// The acknowledged value.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.0
    }

    /// The acknowledged value, taken out.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// A record as committed, with what the command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The state before the command.
    pub before: Arc<ChannelRecord>,
    /// The state after the command.
    pub record: Arc<ChannelRecord>,
    /// Its version in the store.
    pub version: Version,
    /// What the command did.
    pub outcome: Outcome,
}

/// Runs commands against a store.
#[derive(Debug)]
pub struct Driver<S> {
    store: Arc<S>,
    clock: SharedClock,
    sight: Arc<Sight>,
}

impl<S> Clone for Driver<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            sight: Arc::clone(&self.sight),
        }
    }
}

impl<S: ChannelStore> Driver<S> {
    /// A driver over `store` that takes the chain for firm.
    #[must_use]
    pub fn new(store: Arc<S>, clock: SharedClock) -> Self {
        Self::watching(store, clock, Arc::new(Sight::firm()))
    }

    /// A driver over `store` that is bounded by what is seen of the chain.
    pub(crate) fn watching(store: Arc<S>, clock: SharedClock, sight: Arc<Sight>) -> Self {
        Self {
            store,
            clock,
            sight,
        }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Reads a channel.
    ///
    /// # Errors
    /// [`Rejection::ChannelNotFound`] when the store does not know it.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn load(&self, id: ChannelId) -> Result<(Arc<ChannelRecord>, Version), Failure> {
        let found = self.store.load(id).await?;
        let found = found.ok_or(Rejection::ChannelNotFound { channel_id: id })?;
        Ok((found.record, found.version))
    }

    /// Creates a record, or returns the one that is there. A record whose
    /// open failed makes room for a new attempt.
    ///
    /// # Errors
    /// When the store fails.
    ///
    /// # Cancel safety
    /// Dropped, the record exists or not; repeating is harmless.
    pub async fn create(&self, record: ChannelRecord) -> Result<Durable<Created>, StoreFault> {
        let record = Arc::new(record);
        loop {
            let found = self.store.load(record.id).await?;
            let expected = match found {
                Some(found) if found.record.phase != Phase::Failed => {
                    return Ok(Durable(Created::Before(found.record)));
                }
                Some(failed) => Some(failed.version),
                None => None,
            };
            let write = Write {
                expected,
                next: Arc::clone(&record),
                entry: None,
                outcome: None,
            };
            if let Commit::Done(_) = self.store.commit(write).await? {
                return Ok(Durable(Created::Now));
            }
        }
    }

    /// Applies a command and makes its result durable.
    ///
    /// A step that changes nothing is not written: what it rests on is
    /// durable already.
    ///
    /// # Errors
    /// The rule that the command breaks: nothing has changed. Or a store
    /// fault: nothing has changed, unless the store lost its acknowledgement.
    ///
    /// # Cancel safety
    /// Dropped before the commit nothing happened; after it, the change is
    /// durable and the next command sees it.
    pub async fn run(&self, id: ChannelId, command: Command) -> Result<Durable<Applied>, Failure> {
        loop {
            let (record, version) = self.load(id).await?;
            if let Some(applied) = self.try_once(record, version, command.clone()).await? {
                return Ok(applied);
            }
        }
    }

    /// As [`run`](Self::run), as long as the record fulfills a condition;
    /// `None` when it does not.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub(crate) async fn run_if(
        &self,
        id: ChannelId,
        command: Command,
        holds: impl Fn(&ChannelRecord) -> bool + Send,
    ) -> Result<Option<Durable<Applied>>, Failure> {
        loop {
            let (record, version) = self.load(id).await?;
            if !holds(&record) {
                return Ok(None);
            }
            if let Some(applied) = self.try_once(record, version, command.clone()).await? {
                return Ok(Some(applied));
            }
        }
    }

    /// Writes a record as it is, as long as it fulfills a condition, and says
    /// whether it does: whatever rests on an earlier look at it, and is not
    /// committed yet, is then decided anew.
    ///
    /// # Errors
    /// When the store fails, or does not know the channel.
    ///
    /// # Cancel safety
    /// Dropped, nothing has changed.
    pub(crate) async fn fence(
        &self,
        id: ChannelId,
        holds: impl Fn(&ChannelRecord) -> bool + Send,
    ) -> Result<bool, Failure> {
        loop {
            let (next, version) = self.load(id).await?;
            if !holds(&next) {
                return Ok(false);
            }
            let write = Write {
                expected: Some(version),
                next,
                entry: None,
                outcome: None,
            };
            if let Commit::Done(_) = self.store.commit(write).await? {
                return Ok(true);
            }
        }
    }

    /// As [`run`](Self::run), for a request that must not be carried out
    /// twice: finds the outcome of an earlier one instead.
    ///
    /// The outcome is looked up after the record was loaded, and committing
    /// an outcome raises the record's version. So whatever is captured after
    /// the look makes the commit here a conflict, and the next look finds it.
    ///
    /// # Errors
    /// As [`run`](Self::run); [`Rejection::IdempotencyKeyReused`] when the
    /// earlier request asked for something else.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn run_once(
        &self,
        id: ChannelId,
        command: Command,
        asked: Idempotency,
    ) -> Result<Ran, Failure> {
        loop {
            let (record, version) = self.load(id).await?;
            if let Some(outcome) = self.outcome(id, asked).await? {
                return Ok(Ran::Before(Box::new(outcome)));
            }
            if let Some(applied) = self.try_once(record, version, command.clone()).await? {
                return Ok(Ran::Now(Box::new(applied)));
            }
        }
    }

    /// What became of an idempotent request, if it was served.
    ///
    /// # Errors
    /// [`Rejection::IdempotencyKeyReused`] when it asked for something else;
    /// a store fault.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn outcome(
        &self,
        id: ChannelId,
        asked: Idempotency,
    ) -> Result<Option<Durable<StoredOutcome>>, Failure> {
        let found = self.store.outcome(asked.key, self.clock.now()).await?;
        match found {
            // The key is a hash over the channel too.
            Some(found) if found.channel_id != id => Ok(None),
            Some(found) if found.request != asked.request => {
                Err(Rejection::IdempotencyKeyReused { channel_id: id }.into())
            }
            found => Ok(found.map(Durable)),
        }
    }

    /// Whether the outcome of an idempotent request that brought a voucher of
    /// this amount may have made room for newer ones, within the time for which
    /// it was to be kept. Asked after [`outcome`](Self::outcome) has found none.
    ///
    /// # Errors
    /// When the store fails.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(crate) async fn may_have_forgotten(
        &self,
        id: ChannelId,
        voucher: Amount,
    ) -> Result<bool, Failure> {
        let (record, _) = self.load(id).await?;
        if record.newest_outcome <= FEWEST_OUTCOMES {
            return Ok(false);
        }
        // With none left, all have ended.
        let Some(oldest) = self.store.oldest_outcome(id).await? else {
            return Ok(false);
        };
        if oldest.number <= 1 {
            return Ok(false);
        }
        // Loaded again: its numbers have to be as new as the oldest outcome.
        let (record, _) = self.load(id).await?;
        let made_room = record.newest_outcome.saturating_sub(FEWEST_OUTCOMES);
        let next = made_room.saturating_add(1);
        // Where one has ended, those before it have.
        let ended = oldest.number > next || oldest.expires <= self.clock.now();
        // A request is charged under its voucher or a higher one, never under
        // a lower one.
        Ok(!ended && oldest.receipt.accepted_cumulative >= voucher)
    }

    /// One attempt; `None`: somebody else wrote first.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub(crate) async fn try_once(
        &self,
        record: Arc<ChannelRecord>,
        version: Version,
        command: Command,
    ) -> Result<Option<Durable<Applied>>, Failure> {
        let now = self.clock.now();
        let bounds: Bounds = self.sight.bounds(record.id, now);
        let step = apply_within(&record, command, now, bounds)?;
        if !step.outcome.changed {
            return Ok(Some(Durable(Applied {
                before: Arc::clone(&record),
                record,
                version,
                outcome: step.outcome,
            })));
        }
        let next = Arc::from(step.next);
        let write = Write {
            expected: Some(version),
            next: Arc::clone(&next),
            entry: step.entry,
            outcome: step.kept.map(|kept| *kept),
        };
        Ok(match self.store.commit(write).await? {
            Commit::Done(version) => Some(Durable(Applied {
                before: record,
                record: next,
                version,
                outcome: step.outcome,
            })),
            Commit::Conflict => None,
        })
    }
}

/// How an idempotent command went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It was carried out.
    Now(Box<Durable<Applied>>),
    /// An equal request was served before; nothing has changed.
    Before(Box<Durable<StoredOutcome>>),
}

/// Whether a record was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// This call made it.
    Now,
    /// It was there, in this state.
    Before(Arc<ChannelRecord>),
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
