//! How much a sponsor gives, per payer, per address range and in total.
//!
//! What a transaction may cost at most is reserved before it is signed, in one
//! write for all three, so that many at once never exceed the budget, at
//! whichever server of the store. The difference to the real fee comes back.

use std::{net::IpAddr, time::Duration};

use alloy_primitives::{Address, B256, Keccak256, U256};
use mpp_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::Sponsor;
use crate::{
    charge::desk::{find, write},
    error::{Failure, Fault, Rejection},
    store::{ChannelStore, DocumentKey, DocumentKind, Written},
};

/// Tells the ids here from any other hashes.
const DOMAIN: &[u8] = b"mpp sponsor budget v1";

/// What a sponsor gives in one window of time, in attodollars of fees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SponsorBudget {
    /// Length of a window.
    pub window: Duration,
    /// For the transactions of one account.
    pub per_payer: U256,
    /// For the requests of one address range: /24 for IPv4, /48 for IPv6.
    pub per_range: U256,
    /// For everybody together.
    pub total: U256,
}

impl Default for SponsorBudget {
    /// An hour; half a dollar, five dollars and fifty dollars.
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60 * 60),
            per_payer: U256::from(500_000_000_000_000_000_u128),
            per_range: U256::from(5_000_000_000_000_000_000_u128),
            total: U256::from(50_000_000_000_000_000_000_u128),
        }
    }
}

/// A part of the budget that is set aside for one transaction.
#[derive(Debug)]
#[must_use = "what is reserved must be settled"]
pub(crate) struct Reservation {
    pub(super) fee: U256,
    window: u64,
    accounts: Vec<DocumentKey>,
}

/// What was given to one subject in its newest window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Spent {
    window: u64,
    fees: U256,
}

impl Spent {
    /// The state in `window`: an older one counts no more.
    fn in_window(found: Option<Self>, window: u64) -> Self {
        let fresh = Self {
            window,
            fees: U256::ZERO,
        };
        found
            .filter(|spent| spent.window == window)
            .unwrap_or(fresh)
    }
}

impl SponsorBudget {
    /// Who is charged for a transaction, with what they may have.
    fn subjects(&self, payer: Address, peer: Option<IpAddr>) -> Vec<(DocumentKey, U256)> {
        let range = peer.map(|peer| (key(b"range", &range(peer)), self.per_range));
        let mut subjects = vec![
            (key(b"total", &[]), self.total),
            (key(b"payer", payer.as_slice()), self.per_payer),
        ];
        subjects.extend(range);
        subjects
    }

    fn window(&self, now: Timestamp) -> u64 {
        let secs = u64::try_from(now.as_secs()).unwrap_or_default();
        secs.checked_div(self.window.as_secs()).unwrap_or_default()
    }
}

impl<S: ChannelStore> Sponsor<S> {
    /// Sets the most that a transaction may cost aside.
    ///
    /// # Cancel safety
    /// Dropped, it may stay set aside until the window ends.
    pub(super) async fn reserve(
        &self,
        payer: Address,
        peer: Option<IpAddr>,
        fee: U256,
        now: Timestamp,
    ) -> Result<Reservation, Failure> {
        let window = self.budget.window(now);
        let subjects = self.budget.subjects(payer, peer);
        loop {
            let mut writes = Vec::with_capacity(subjects.len());
            for (key, cap) in &subjects {
                let found = find::<Spent>(&*self.parts.store, *key).await?;
                let version = found.as_ref().map(|found| found.version);
                let mut spent = Spent::in_window(found.map(|found| found.value), window);
                spent.fees = spent.fees.saturating_add(fee);
                if spent.fees > *cap {
                    return Err(Rejection::SponsorBudget.into());
                }
                writes.push(write(*key, version, &spent)?);
            }
            if self.parts.store.write_documents(writes).await? == Written::Done {
                let accounts = subjects.into_iter().map(|(key, _)| key).collect();
                return Ok(Reservation {
                    fee,
                    window,
                    accounts,
                });
            }
        }
    }

    /// Gives back what was reserved above the fee. A part that can not be
    /// given back now counts until the window ends.
    pub(super) async fn give_back(&self, reserved: &Reservation, fee: U256) {
        let unused = reserved.fee.saturating_sub(fee);
        if unused.is_zero() {
            return;
        }
        if let Err(fault) = self.try_give_back(reserved, unused).await {
            tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "a part of the sponsor's budget could not be given back"
            );
        }
    }

    async fn try_give_back(&self, reserved: &Reservation, unused: U256) -> Result<(), Fault> {
        loop {
            let mut writes = Vec::with_capacity(reserved.accounts.len());
            for key in &reserved.accounts {
                let Some(found) = find::<Spent>(&*self.parts.store, *key).await? else {
                    continue;
                };
                let mut spent = found.value;
                if spent.window == reserved.window {
                    spent.fees = spent.fees.saturating_sub(unused);
                    writes.push(write(*key, Some(found.version), &spent)?);
                }
            }
            if writes.is_empty() || self.parts.store.write_documents(writes).await? == Written::Done
            {
                return Ok(());
            }
        }
    }
}

fn key(about: &[u8], subject: &[u8]) -> DocumentKey {
    let mut hasher = Keccak256::new();
    hasher.update(DOMAIN);
    hasher.update(about);
    hasher.update(subject);
    DocumentKey {
        kind: DocumentKind::Budget,
        id: B256::from(hasher.finalize()),
    }
}

/// The network that an address belongs to: whoever has one address has more.
fn range(peer: IpAddr) -> Vec<u8> {
    match peer.to_canonical() {
        IpAddr::V4(peer) => peer.octets().into_iter().take(3).collect(),
        IpAddr::V6(peer) => peer.octets().into_iter().take(6).collect(),
    }
}

#[cfg(test)]
mod tests;
