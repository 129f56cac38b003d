//! Load, apply, commit; retry on conflict. It never decides.

use std::sync::Arc;

use mpp_tempo::channel::ChannelId;

use super::{
    command::{Command, Outcome},
    machine::apply,
    record::{ChannelRecord, Phase},
};
use crate::{
    clock::SharedClock,
    error::{Failure, Rejection},
    store::{ChannelStore, Commit, StoreFault, Version, Write},
};

/// Something the store has acknowledged. Only the driver makes these, and
/// only a `Durable` leads to service, a broadcast or a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    /// The acknowledged value.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// A record as committed, with what the command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The state before the command.
    pub before: ChannelRecord,
    /// The state after the command.
    pub record: ChannelRecord,
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
}

impl<S> Clone for Driver<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
        }
    }
}

impl<S: ChannelStore> Driver<S> {
    /// A driver over `store`.
    #[must_use]
    pub fn new(store: Arc<S>, clock: SharedClock) -> Self {
        Self { store, clock }
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
    pub async fn load(&self, id: ChannelId) -> Result<(ChannelRecord, Version), Failure> {
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
        loop {
            let found = self.store.load(record.id).await?;
            let expected = match found {
                Some(found) if found.record.phase != Phase::Failed => {
                    return Ok(Durable(Created::Before(Box::new(found.record))));
                }
                Some(failed) => Some(failed.version),
                None => None,
            };
            let write = Write {
                expected,
                next: record.clone(),
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
            let step = apply(&record, command.clone(), self.clock.now())?;
            if !step.outcome.changed {
                return Ok(Durable(Applied {
                    before: record.clone(),
                    record,
                    version,
                    outcome: step.outcome,
                }));
            }
            let write = Write {
                expected: Some(version),
                next: step.next.clone(),
                entry: step.entry,
                outcome: None,
            };
            if let Commit::Done(version) = self.store.commit(write).await? {
                return Ok(Durable(Applied {
                    before: record,
                    record: step.next,
                    version,
                    outcome: step.outcome,
                }));
            }
        }
    }
}

/// Whether a record was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// This call made it.
    Now,
    /// It was there, in this state.
    Before(Box<ChannelRecord>),
}

#[cfg(test)]
mod tests;
