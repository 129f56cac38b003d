//! Which of several processes collects.
//!
//! The lease is one document. Whoever has written it last leads until the time
//! it has written there, or until it has plainly stopped extending it, for its
//! clock may have been ahead; its version is the fence: a leader's writes name the
//! version they rest on and are made together with it, so a process that was
//! asleep while another took over can write nothing any more.

use std::time::Duration;

use alloy_primitives::{Address, B256, b256};
use bytes::Bytes;
use mpp_core::{Amount, Timestamp};
use serde::{Deserialize, Serialize};

use super::desk::LONGEST;
use crate::{
    error::Fault,
    store::{
        ChannelStore, DocumentKey, DocumentKind, DocumentWrite, StoreFault, Version, Written,
        codec::{CodecError, decode_document, encode_document},
    },
};

/// Where the lease is kept.
const KEY: DocumentKey = DocumentKey {
    kind: DocumentKind::Lease,
    // "collect", in ASCII: there is one such lease in a store.
    id: b256!("636f6c6c65637400000000000000000000000000000000000000000000000000"),
};

/// A leader stops this long before its lease ends, for clocks that differ.
const MARGIN: Duration = Duration::from_secs(1);

/// What the leader tells all processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    holder: B256,
    until: Timestamp,
    pub(super) budget: DayBudget,
    pub(super) blocked: Vec<Blocked>,
}

/// What routine settlements have cost today; of those under way, what they may
/// cost at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DayBudget {
    /// Days since 1970.
    day: i64,
    spent: Amount,
}

impl DayBudget {
    /// What is left of `limit`.
    pub(super) fn left(self, limit: Amount, now: Timestamp) -> Amount {
        if self.day == day(now) {
            limit.saturating_sub(self.spent)
        } else {
            limit
        }
    }

    /// Sets `most` aside, and says for which day.
    ///
    /// # Errors
    /// [`OverBudget`] when that is more than is left of `limit`.
    pub(super) fn book(
        &mut self,
        most: Amount,
        limit: Amount,
        now: Timestamp,
    ) -> Result<i64, OverBudget> {
        let rest = self.left(limit, now).checked_sub(most);
        rest.ok_or(OverBudget)?;
        let today = day(now);
        if self.day != today {
            *self = Self {
                day: today,
                spent: Amount::ZERO,
            };
        }
        self.spent = self.spent.checked_add(most).ok_or(OverBudget)?;
        Ok(today)
    }

    /// Gives back what was set aside for a day and not needed.
    pub(super) fn give_back(&mut self, day: i64, unused: Amount) {
        if self.day == day {
            self.spent = self.spent.saturating_sub(unused);
        }
    }
}

/// A day's routine settlements may not cost so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the day's budget for fees is used up")]
pub(crate) struct OverBudget;

fn day(now: Timestamp) -> i64 {
    now.as_secs().div_euclid(24 * 60 * 60)
}

/// A payer from whose channels nothing can be collected in this token
/// (SECURITY-CASES A29).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(super) payer: Address,
    pub(super) token: Address,
    pub(super) failures: u32,
    /// Not to be tried again before.
    pub(super) retry_at: Timestamp,
}

/// The first pause after which a payer that does not pay out is tried again.
const BLOCKED_PAUSE: Duration = Duration::from_secs(30);

impl Blocked {
    /// How long it waits if no deadline runs.
    pub(super) fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        BLOCKED_PAUSE.saturating_mul(factor).min(LONGEST)
    }

    /// Whether it is not to be tried again yet. With a deadline, which may
    /// have begun to run since it failed, only the first pause is kept to.
    pub(super) fn waits(&self, has_deadline: bool, now: Timestamp) -> bool {
        let (left, pause) = (self.retry_at.saturating_duration_since(now), self.pause());
        // It failed later than now, by a clock that was ahead.
        if left > pause {
            return false;
        }
        let is_soon = left.saturating_add(BLOCKED_PAUSE) > pause;
        !left.is_zero() && (!has_deadline || is_soon)
    }
}

/// This process' part in leading.
#[derive(Debug)]
pub(super) struct Seat {
    holder: B256,
    held: Option<(Version, Lease)>,
    /// The lease of another process, and since when it has not been extended.
    silent: Option<(Version, Timestamp)>,
    /// The lease that this process has let go.
    left: Option<Version>,
}

/// Who collects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standby {
    /// This process, as before, or again before anybody else did.
    Leading,
    /// This process, from now on: what others have begun is unknown to it.
    TookOver,
    /// Another one.
    Waiting,
}

impl Seat {
    pub(super) fn new(holder: B256) -> Self {
        Self {
            holder,
            held: None,
            silent: None,
            left: None,
        }
    }

    /// The lease, while this process leads.
    pub(super) fn lease(&self, now: Timestamp) -> Option<&Lease> {
        let (_, lease) = self.held.as_ref()?;
        let end = lease.until.checked_sub(MARGIN)?;
        (now < end).then_some(lease)
    }

    /// Extends the lease, or takes it if nobody has it. Returns the lease that
    /// is in force as well, whoever holds it.
    ///
    /// # Errors
    /// [`StoreFault`]; the lease may have been extended.
    ///
    /// # Cancel safety
    /// As an error.
    pub(super) async fn renew(
        &mut self,
        store: &impl ChannelStore,
        now: Timestamp,
        lasts: Duration,
    ) -> Result<(Standby, Option<Lease>), StoreFault> {
        let leading = self.lease(now).is_some();
        if let (true, Some((version, lease))) = (leading, self.held.clone()) {
            let next = Lease {
                until: now.checked_add(lasts).unwrap_or(now),
                ..lease
            };
            if self.put(store, Some(version), next).await? {
                let lease = self.held.as_ref().map(|(_, lease)| lease.clone());
                return Ok((Standby::Leading, lease));
            }
        }
        self.held = None;
        let found = store.document(KEY).await?;
        let before = found.map(|found| Ok::<_, CodecError>((found.version, decode(&found.value)?)));
        let before = before.transpose()?;
        if let Some((version, lease)) = &before
            && lease.holder != self.holder
            && now < lease.until
            && !self.is_silent(*version, now, lasts)
        {
            return Ok((Standby::Waiting, before.map(|(_, lease)| lease)));
        }
        let (expected, base) = match before {
            Some((version, lease)) => (Some(version), lease),
            None => (None, Lease::vacant(now)),
        };
        let next = Lease {
            holder: self.holder,
            until: now.checked_add(lasts).unwrap_or(now),
            ..base.clone()
        };
        let is_as_left = expected.is_some() && expected == self.left;
        let won = self.put(store, expected, next).await?;
        let lease = self.held.as_ref().map_or(base, |(_, lease)| lease.clone());
        let standby = match (won, is_as_left) {
            (true, true) => Standby::Leading,
            (true, false) => Standby::TookOver,
            (false, _) => Standby::Waiting,
        };
        Ok((standby, Some(lease)))
    }

    /// Whether another process has not extended its lease for twice as long as
    /// it would have to. Then it is gone, and its clock was ahead: nobody waits
    /// until the lease ends by it, for a deadline may run out before that.
    fn is_silent(&mut self, version: Version, now: Timestamp, lasts: Duration) -> bool {
        match self.silent {
            Some((seen, since)) if seen == version && since <= now => {
                now.saturating_duration_since(since) > lasts.saturating_mul(2)
            }
            _ => {
                self.silent = Some((version, now));
                false
            }
        }
    }

    /// Writes documents as the leader: only if this process leads still.
    ///
    /// # Errors
    /// [`Fault::NotLeading`] when it does not: nothing is written.
    ///
    /// # Cancel safety
    /// Dropped, all is written or nothing.
    pub(super) async fn write(
        &mut self,
        store: &impl ChannelStore,
        now: Timestamp,
        change: impl FnOnce(&mut Lease),
        mut writes: Vec<DocumentWrite>,
    ) -> Result<Written, Fault> {
        let (Some((version, lease)), true) = (self.held.clone(), self.lease(now).is_some()) else {
            return Err(Fault::NotLeading);
        };
        let before = lease.clone();
        let mut next = lease;
        change(&mut next);
        writes.push(DocumentWrite {
            key: KEY,
            expected: Some(version),
            value: Some(encode(&next)?),
        });
        // Whatever comes of it, what is in the store is not known until then.
        self.held = None;
        match store.write_documents(writes).await? {
            Written::Done => {
                self.held = Some((Version(version.0.saturating_add(1)), next));
                Ok(Written::Done)
            }
            Written::Conflict => {
                // One of the documents, or the lease itself.
                let found = store.document(KEY).await?;
                if found.is_some_and(|found| found.version == version) {
                    self.held = Some((version, before));
                }
                Ok(Written::Conflict)
            }
        }
    }

    async fn put(
        &mut self,
        store: &impl ChannelStore,
        expected: Option<Version>,
        next: Lease,
    ) -> Result<bool, StoreFault> {
        let write = DocumentWrite {
            key: KEY,
            expected,
            value: Some(encode(&next)?),
        };
        self.held = None;
        if store.write_documents(vec![write]).await? == Written::Conflict {
            return Ok(false);
        }
        let before = expected.map_or(0, |version| version.0);
        self.held = Some((Version(before.saturating_add(1)), next));
        Ok(true)
    }

    /// Whether another process has let go of the lease a moment ago, as one does
    /// that can not collect, or has just fallen silent.
    ///
    /// # Errors
    /// [`StoreFault`].
    ///
    /// # Cancel safety
    /// Reads only.
    pub(super) async fn was_let_go(
        &self,
        store: &impl ChannelStore,
        now: Timestamp,
        lasts: Duration,
    ) -> Result<bool, StoreFault> {
        let Some(found) = store.document(KEY).await? else {
            return Ok(false);
        };
        let lease = decode(&found.value)?;
        let is_free = lease.until <= now;
        let is_new = now.saturating_duration_since(lease.until) < lasts;
        Ok(lease.holder != self.holder && is_free && is_new)
    }

    /// Lets another process take over at once. Taken again before anybody else
    /// does, it is as if this process had led all the time.
    ///
    /// # Errors
    /// [`StoreFault`]; then the lease ends by itself.
    ///
    /// # Cancel safety
    /// As an error.
    pub(super) async fn leave(
        &mut self,
        store: &impl ChannelStore,
        now: Timestamp,
    ) -> Result<(), StoreFault> {
        if let Some((version, lease)) = self.held.take() {
            let next = Lease {
                until: now,
                ..lease
            };
            self.put(store, Some(version), next).await?;
            self.left = self.held.take().map(|(version, _)| version);
        }
        Ok(())
    }
}

impl Lease {
    fn vacant(now: Timestamp) -> Self {
        Self {
            holder: B256::ZERO,
            until: now,
            budget: DayBudget::default(),
            blocked: Vec::new(),
        }
    }
}

/// The stored form; the order of members is the format.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    holder: [u8; 32],
    until: i64,
    day: i64,
    spent: u128,
    blocked: Vec<StoredBlocked>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredBlocked {
    payer: [u8; 20],
    token: [u8; 20],
    failures: u32,
    retry_at: i64,
}

fn encode(lease: &Lease) -> Result<Bytes, StoreFault> {
    let blocked = lease.blocked.iter().map(|blocked| StoredBlocked {
        payer: blocked.payer.into(),
        token: blocked.token.into(),
        failures: blocked.failures,
        retry_at: blocked.retry_at.as_millis(),
    });
    let stored = Stored {
        holder: lease.holder.into(),
        until: lease.until.as_millis(),
        day: lease.budget.day,
        spent: lease.budget.spent.base_units(),
        blocked: blocked.collect(),
    };
    Ok(encode_document(DocumentKind::Lease, &stored)?)
}

fn decode(bytes: &[u8]) -> Result<Lease, CodecError> {
    let stored: Stored = decode_document(DocumentKind::Lease, bytes)?;
    let blocked = stored.blocked.into_iter().map(|blocked| Blocked {
        payer: blocked.payer.into(),
        token: blocked.token.into(),
        failures: blocked.failures,
        retry_at: Timestamp::from_millis(blocked.retry_at),
    });
    Ok(Lease {
        holder: stored.holder.into(),
        until: Timestamp::from_millis(stored.until),
        budget: DayBudget {
            day: stored.day,
            spent: Amount::new(stored.spent),
        },
        blocked: blocked.collect(),
    })
}

#[cfg(test)]
mod tests;
