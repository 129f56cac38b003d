//! What a routine collection may cost at most is set aside from the day's budget
//! before it is sent; its receipt says what it has cost.
//!
//! What is set aside for an effect is a document of its own, and changes in one
//! write with the effect and with the lease, which holds the sum. So it is given
//! back once, by whoever leads when the effect ends. After a crash it stays set
//! aside until then, or until the day ends.

use alloy_primitives::{B256, Keccak256};
use mpp_core::Amount;
use mpp_tempo::chain::{ChainClient, TxReceipt};
use serde::{Deserialize, Serialize};

use super::{
    Guard,
    effect::{Effect, State, Why},
    sign,
};
use crate::{
    charge::desk::{find, write},
    error::Fault,
    session::SessionContext,
    settle::lease::{DayBudget, OverBudget},
    store::{ChannelStore, DocumentKey, DocumentKind, DocumentWrite, StoreFault, Version},
};

/// Tells the ids here from any other hashes.
const DOMAIN: &[u8] = b"mpp collection budget v1";

/// What is set aside for an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Booking {
    /// From the budget of this day since 1970.
    day: i64,
    /// In base units of the fee token.
    most: u128,
}

/// How the books change with an effect.
#[derive(Debug, Default)]
pub(super) struct Rebooking {
    /// What was set aside for an effect that ends or is changed, with what it
    /// has cost.
    ended: Option<Ended>,
    /// What the effects may cost that begin or go on, in base units.
    begun: Vec<(B256, Amount)>,
}

#[derive(Debug)]
struct Ended {
    effect: B256,
    version: Version,
    booking: Booking,
    cost: Amount,
}

impl<S: ChannelStore> SessionContext<S> {
    /// How the books change when an effect ends, or has another transaction,
    /// and others begin.
    ///
    /// What takes the place of an effect is set aside only if that was: what
    /// is urgent waits for no budget, and neither does what follows from it.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(super) async fn rebooking(
        &self,
        ended: Option<&Effect>,
        begun: &[Effect],
        guard: Guard,
    ) -> Result<Rebooking, Fault> {
        let mut change = Rebooking::default();
        if self.settlement.policy.fees.per_day.is_none() {
            return Ok(change);
        }
        if let Some(effect) = ended {
            let found = find::<Booking>(self.driver.store(), key(effect.id)).await?;
            let Some(found) = found else {
                return Ok(change);
            };
            change.ended = Some(Ended {
                effect: effect.id,
                version: found.version,
                booking: found.value,
                cost: self.cost_of(effect, found.value).await?,
            });
        }
        let is_booked = |effect: &&Effect| ended.is_some() || !effect.reason.is_urgent();
        if guard == Guard::Leader {
            let begun = begun.iter().filter(is_booked);
            change.begun = begun
                .map(|effect| (effect.id, sign::most(effect)))
                .collect();
        }
        Ok(change)
    }

    /// What an effect that is over has cost, whether it did something or not.
    async fn cost_of(&self, effect: &Effect, booked: Booking) -> Result<Amount, Fault> {
        let most = Amount::new(booked.most);
        let transaction = match effect.state {
            State::Final(transaction) | State::Failed(Why::Reverted(transaction)) => transaction,
            // None of its transactions can be mined any more.
            State::Failed(Why::Refused | Why::Expired | Why::Superseded) => {
                return Ok(Amount::ZERO);
            }
            State::Prepared | State::Broadcast | State::Unknown | State::Mined(_) => {
                return Ok(most);
            }
        };
        // A node that does not say is taken to have charged the most.
        let receipt = self.chain.receipt(transaction).await?;
        let cost = receipt.as_ref().and_then(TxReceipt::fee);
        let cost = cost.and_then(sign::base_units);
        Ok(cost.map_or(most, |cost| cost.min(most)))
    }
}

impl Rebooking {
    /// Changes the sums, and returns what is to be written beside them.
    ///
    /// # Errors
    /// [`OverBudget`]: then nothing may be written.
    pub(super) fn apply(
        &self,
        budget: &mut DayBudget,
        limit: Option<Amount>,
        now: mpp_core::Timestamp,
    ) -> Result<Result<Vec<DocumentWrite>, StoreFault>, OverBudget> {
        if let Some(ended) = &self.ended {
            let unused = Amount::new(ended.booking.most).saturating_sub(ended.cost);
            budget.give_back(ended.booking.day, unused);
        }
        let mut booked = Vec::with_capacity(self.begun.len());
        for (effect, most) in &self.begun {
            let day = budget.book(*most, limit.unwrap_or(Amount::MAX), now)?;
            let most = most.base_units();
            booked.push((*effect, Booking { day, most }));
        }
        Ok(self.writes(booked))
    }

    /// What is to be written where nobody leads: what was set aside is not
    /// given back then.
    pub(super) fn without_lease(&self) -> Result<Vec<DocumentWrite>, StoreFault> {
        self.writes(Vec::new())
    }

    fn writes(&self, booked: Vec<(B256, Booking)>) -> Result<Vec<DocumentWrite>, StoreFault> {
        let ended = self.ended.as_ref();
        let mut writes = Vec::with_capacity(booked.len().saturating_add(1));
        let stays = |id: B256| booked.iter().any(|(effect, _)| *effect == id);
        if let Some(ended) = ended.filter(|ended| !stays(ended.effect)) {
            writes.push(DocumentWrite {
                key: key(ended.effect),
                expected: Some(ended.version),
                value: None,
            });
        }
        for (effect, booking) in booked {
            let before = ended.filter(|ended| ended.effect == effect);
            let version = before.map(|before| before.version);
            writes.push(write(key(effect), version, &booking)?);
        }
        Ok(writes)
    }
}

fn key(effect: B256) -> DocumentKey {
    let mut hasher = Keccak256::new();
    hasher.update(DOMAIN);
    hasher.update(effect);
    DocumentKey {
        kind: DocumentKind::Budget,
        id: hasher.finalize(),
    }
}

#[cfg(test)]
mod tests;
