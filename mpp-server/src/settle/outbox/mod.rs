//! Everything that is to happen on chain is written down before it is sent.
//!
//! An [`Effect`](effect::Effect) is a document. Each change of its state is a
//! conditional write, so of several processes that follow one effect exactly
//! one makes each step, and whoever comes after a crash goes on from there.

mod booked;
mod drive;
pub(crate) mod effect;
mod failed;
mod sign;
mod stored;

use std::collections::BTreeSet;

use alloy_primitives::B256;
use mpp_core::Timestamp;
use mpp_tempo::ChannelId;

use self::{
    booked::Rebooking,
    effect::{Attempt, Effect, Fact, State},
};
use super::lease::{Lease, OverBudget};
use crate::{
    error::Fault,
    session::SessionContext,
    store::{
        ChannelStore, DocumentKey, DocumentKind, DocumentPage, DocumentWrite, StoreFault, Version,
        Written, codec::CodecError,
    },
};

pub(crate) use self::drive::Driven;
pub(super) use self::sign::batches;

/// Effects that are read at once.
const PAGE: usize = 64;

/// An effect as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tracked {
    pub(crate) effect: Effect,
    pub(super) version: Version,
}

/// The vouchers that a stored effect of this kind puts on chain.
#[cfg(feature = "embedded")]
pub(crate) fn stored_vouchers(
    kind: DocumentKind,
    bytes: &[u8],
) -> Result<Vec<mpp_tempo::SignedVoucher>, CodecError> {
    let items = stored::decode(kind, bytes)?.items.into_iter();
    Ok(items.map(|item| item.voucher).collect())
}

/// A stored effect that settles a voucher.
#[cfg(all(test, feature = "embedded"))]
pub(crate) fn stored_settlement(
    voucher: &mpp_tempo::SignedVoucher,
) -> Result<bytes::Bytes, CodecError> {
    let item = effect::Item::settle(voucher.voucher.channel_id, voucher);
    let sent = crate::session::record::PendingTx {
        hash: B256::ZERO,
        valid_before: 0,
    };
    let (reason, now) = (super::schedule::Reason::Age, crate::testing::now());
    let effect = Effect::adopted(reason, item, sent, now);
    stored::encode(DocumentKind::Effect, &effect)
}

/// Whether a finished effect, as it is stored, has ended before a moment: its
/// newest transaction was not valid any more then.
pub(crate) fn has_ended(bytes: &[u8], before: Timestamp) -> bool {
    let Ok(effect) = stored::decode(DocumentKind::FinishedEffect, bytes) else {
        // What can not be read is not thrown away.
        return false;
    };
    let is_over = matches!(effect.state, State::Final(_) | State::Failed(_));
    let valid = effect.attempts.iter().map(|attempt| attempt.valid_before);
    let valid_before = valid.max().unwrap_or_default();
    let secs = u64::try_from(before.as_secs()).unwrap_or_default();
    is_over && effect.created_at <= before && valid_before <= secs
}

/// Who may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Only the process that leads.
    Leader,
    /// Any process: what a payer asks for is done where it asks.
    Anyone,
}

/// What became of effects that were to begin.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// They are recorded.
    Begun(Vec<Tracked>),
    /// Somebody else was faster; nothing is recorded.
    Elsewhere,
    /// They may cost more than the day's budget has left; nothing is recorded.
    OverBudget,
}

impl Beginning {
    /// The effects, if they are recorded.
    pub(crate) fn effects(self) -> Option<Vec<Tracked>> {
        match self {
            Self::Begun(begun) => Some(begun),
            Self::Elsewhere | Self::OverBudget => None,
        }
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Done,
    /// Somebody else was faster.
    Conflict,
    OverBudget,
}

impl<S: ChannelStore> SessionContext<S> {
    /// Writes new effects, and in the same write the end of the one that they
    /// take the place of and what that means for the day's budget.
    ///
    /// # Cancel safety
    /// Dropped, all is written or nothing; whatever was written is found by
    /// the next look at the store.
    pub(crate) async fn begin(
        &self,
        ended: Option<&Tracked>,
        effects: Vec<Effect>,
        guard: Guard,
        change: impl FnOnce(&mut Lease),
    ) -> Result<Beginning, Fault> {
        let before = ended.map(|ended| &ended.effect);
        let books = self.rebooking(before, &effects, guard).await?;
        let mut writes = Vec::with_capacity(effects.len().saturating_add(2));
        if let Some(ended) = ended {
            writes.extend(finishing(ended)?);
        }
        for effect in &effects {
            writes.push(DocumentWrite {
                key: key(DocumentKind::Effect, effect.id),
                expected: None,
                value: Some(
                    stored::encode(DocumentKind::Effect, effect).map_err(StoreFault::from)?,
                ),
            });
        }
        match self.write(writes, guard, (change, &books)).await? {
            Put::Done => {}
            Put::Conflict => return Ok(Beginning::Elsewhere),
            Put::OverBudget => return Ok(Beginning::OverBudget),
        }
        let mut desk = self.settlement.desk();
        if let Some(ended) = ended {
            desk.open.remove(&ended.effect.id);
            desk.refused.remove(&ended.effect.id);
        }
        let version = Version(1);
        let begun: Vec<_> = effects
            .into_iter()
            .map(|effect| Tracked { effect, version })
            .collect();
        let known = begun.iter().cloned().map(|new| (new.effect.id, new));
        desk.open.extend(known);
        Ok(Beginning::Begun(begun))
    }

    /// Moves an effect to those that are over.
    ///
    /// # Cancel safety
    /// Dropped, it is moved or not; repeating is harmless.
    pub(super) async fn finish(&self, ended: &Tracked) -> Result<(), Fault> {
        // Only who leads can give back what was set aside for it and not needed.
        let by_leader = match self.settlement.policy.fees.per_day {
            Some(_) => {
                self.begin(Some(ended), Vec::new(), Guard::Leader, |_| {})
                    .await
            }
            None => Err(Fault::NotLeading),
        };
        match by_leader {
            Ok(Beginning::Begun(_)) => {}
            // Whoever was faster has done the same.
            Ok(Beginning::Elsewhere | Beginning::OverBudget) | Err(Fault::NotLeading) => {
                self.begin(Some(ended), Vec::new(), Guard::Anyone, |_| {})
                    .await?;
            }
            Err(fault) => return Err(fault),
        }
        let mut desk = self.settlement.desk();
        desk.open.remove(&ended.effect.id);
        desk.refused.remove(&ended.effect.id);
        Ok(())
    }

    /// Notes a fact about an effect. `false`: somebody else has moved it on.
    ///
    /// # Cancel safety
    /// Dropped, it is noted or not; the next look at the store tells.
    pub(super) async fn advance(
        &self,
        tracked: &mut Tracked,
        fact: Fact,
        guard: Guard,
    ) -> Result<bool, Fault> {
        let books = Rebooking::default();
        Ok(self.put(tracked, fact, guard, &books).await? == Put::Done)
    }

    /// As [`advance`](Self::advance), for a new transaction, which may cost
    /// more than the one before it.
    ///
    /// # Cancel safety
    /// As [`advance`](Self::advance).
    pub(super) async fn advance_to(
        &self,
        tracked: &mut Tracked,
        attempt: Attempt,
        guard: Guard,
    ) -> Result<Put, Fault> {
        let fact = Fact::Replaced(attempt);
        let next = after(&tracked.effect, fact.clone())?;
        let books = match guard {
            Guard::Leader => {
                let begun = std::slice::from_ref(&next);
                self.rebooking(Some(&tracked.effect), begun, guard).await?
            }
            Guard::Anyone => Rebooking::default(),
        };
        self.put(tracked, fact, guard, &books).await
    }

    async fn put(
        &self,
        tracked: &mut Tracked,
        fact: Fact,
        guard: Guard,
        books: &Rebooking,
    ) -> Result<Put, Fault> {
        let next = after(&tracked.effect, fact)?;
        if next == tracked.effect {
            return Ok(Put::Done);
        }
        let write = DocumentWrite {
            key: key(DocumentKind::Effect, next.id),
            expected: Some(tracked.version),
            value: Some(stored::encode(DocumentKind::Effect, &next).map_err(StoreFault::from)?),
        };
        match self
            .write(vec![write], guard, (|_: &mut Lease| {}, books))
            .await?
        {
            Put::Done => {}
            Put::Conflict => {
                self.settlement.desk().open.remove(&next.id);
                return Ok(Put::Conflict);
            }
            Put::OverBudget => return Ok(Put::OverBudget),
        }
        tracked.version = Version(tracked.version.0.saturating_add(1));
        tracked.effect = next;
        let mut desk = self.settlement.desk();
        desk.open.insert(tracked.effect.id, tracked.clone());
        Ok(Put::Done)
    }

    /// Writes other documents as the leader: only if this process leads still.
    ///
    /// # Errors
    /// [`Fault::NotLeading`] when it does not: nothing is written.
    ///
    /// # Cancel safety
    /// Dropped, all is written or nothing.
    pub(super) async fn write_as_leader(
        &self,
        writes: Vec<DocumentWrite>,
    ) -> Result<Written, Fault> {
        let mut seat = self.settlement.seat.lock().await;
        let (store, now) = (self.driver.store(), self.clock.now());
        seat.write(store, now, |_| {}, writes).await
    }

    async fn write(
        &self,
        mut writes: Vec<DocumentWrite>,
        guard: Guard,
        (change, books): (impl FnOnce(&mut Lease), &Rebooking),
    ) -> Result<Put, Fault> {
        let store = self.driver.store();
        let written = match guard {
            Guard::Anyone => {
                writes.extend(books.without_lease()?);
                store.write_documents(writes).await?
            }
            Guard::Leader => {
                let limit = self.settlement.policy.fees.per_day;
                let now = self.clock.now();
                let mut seat = self.settlement.seat.lock().await;
                let Some(lease) = seat.lease(now) else {
                    return Err(Fault::NotLeading);
                };
                let mut budget = lease.budget;
                match books.apply(&mut budget, limit, now) {
                    Ok(beside) => writes.extend(beside?),
                    Err(OverBudget) => return Ok(Put::OverBudget),
                }
                let change = |lease: &mut Lease| {
                    lease.budget = budget;
                    change(lease);
                };
                seat.write(store, now, change, writes).await?
            }
        };
        Ok(match written {
            Written::Done => Put::Done,
            Written::Conflict => Put::Conflict,
        })
    }

    /// Reads all effects that are under way, and forgets those that others have
    /// ended. What can not be read stays where it is, and keeps nothing else from
    /// being taken on; it is returned.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(super) async fn load_effects(&self) -> Result<Option<CodecError>, Fault> {
        let mut gone: BTreeSet<B256> = self.settlement.desk().open.keys().copied().collect();
        let (mut after, mut unread) = (None, None);
        loop {
            let page = DocumentPage {
                kind: DocumentKind::Effect,
                after,
                limit: PAGE,
            };
            let page = self.driver.store().documents(page).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (id, document) in page {
                gone.remove(&id);
                match stored::decode(DocumentKind::Effect, &document.value) {
                    Ok(effect) => self.settlement.desk().learn(Tracked {
                        effect,
                        version: document.version,
                    }),
                    Err(error) => {
                        tracing::error!(effect = %id, %error, "an effect can not be read");
                        unread = Some(error);
                    }
                }
            }
        }
        self.settlement.desk().forget(&gone);
        Ok(unread)
    }

    /// The effect that is under way for a channel, by the store: others may have
    /// moved on or ended what this process remembers.
    ///
    /// # Errors
    /// When the store fails, and when it holds no such effect but one that can
    /// not be read.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(crate) async fn effect_of(&self, channel: ChannelId) -> Result<Option<Tracked>, Fault> {
        let known = self.settlement.desk().of_channel(channel);
        if let Some(known) = known {
            let id = known.effect.id;
            let key = key(DocumentKind::Effect, id);
            if let Some(found) = self.driver.store().document(key).await? {
                let effect = stored::decode(DocumentKind::Effect, &found.value);
                let effect = effect.map_err(StoreFault::from)?;
                let version = found.version;
                self.settlement.desk().learn(Tracked { effect, version });
                return Ok(self.settlement.desk().of_channel(channel));
            }
            self.settlement.desk().forget(&BTreeSet::from([id]));
        }
        let unread = self.load_effects().await?;
        match (self.settlement.desk().of_channel(channel), unread) {
            (None, Some(error)) => Err(StoreFault::from(error).into()),
            (found, _) => Ok(found),
        }
    }

    /// As [`effect_of`](Self::effect_of), for the effect that closes a channel.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(crate) async fn close_of(&self, channel: ChannelId) -> Result<Option<Tracked>, Fault> {
        let known = self.settlement.desk().close_of(channel);
        if known.is_some() {
            return Ok(known);
        }
        self.load_effects().await?;
        Ok(self.settlement.desk().close_of(channel))
    }
}

/// Takes the effect from those under way to those that are over, without the
/// signed bytes.
fn finishing(ended: &Tracked) -> Result<[DocumentWrite; 2], StoreFault> {
    let mut kept = ended.effect.clone();
    for attempt in &mut kept.attempts {
        attempt.raw = None;
    }
    let kind = DocumentKind::FinishedEffect;
    Ok([
        DocumentWrite {
            key: key(DocumentKind::Effect, kept.id),
            expected: Some(ended.version),
            value: None,
        },
        DocumentWrite {
            key: key(kind, kept.id),
            expected: None,
            value: Some(stored::encode(kind, &kept)?),
        },
    ])
}

fn after(effect: &Effect, fact: Fact) -> Result<Effect, Fault> {
    let next = effect.after(fact);
    next.map_err(|_| Fault::Inconsistent("an effect can not change in this way"))
}

fn key(kind: DocumentKind, id: B256) -> DocumentKey {
    DocumentKey { kind, id }
}
