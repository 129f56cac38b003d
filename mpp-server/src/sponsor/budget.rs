//! How much a sponsor gives, per payer, per address range and in total.
//!
//! What a transaction may cost at most is set aside before it is signed, in one
//! write for all three, so that many at once never exceed the budget, at
//! whichever server of the store. What was set aside is noted with the
//! transaction, in the same write: whoever learns what became of it, and be it
//! another process after a crash, puts what was really paid in its place, once.
//!
//! Notes and accounts have an end, and are swept after it. A note protects its
//! transaction from being booked twice: it ends when that can not be mined, and so
//! not be presented, any more, and when the window that it counts in is over. An
//! account ends with its window; that of the next one is another document.

use std::{net::IpAddr, sync::Arc, time::Duration};

use alloy_primitives::{Address, B256, Keccak256, U256};
use mpp_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    charge::desk::{find, write},
    error::{Failure, Fault, Rejection},
    store::{
        ChannelStore, DocumentKey, DocumentKind, DocumentWrite, Version, Written,
        codec::decode_document,
    },
};

/// Tells the ids here from any other hashes.
const DOMAIN: &[u8] = b"mpp sponsor budget v1";

/// What a sponsor gives in one window of time, in attodollars of fees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SponsorBudget {
    /// Length of a window.
    pub window: Duration,
    /// For the transactions that one account, or one access key, has signed.
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

/// The budget with the accounts of who was given what.
#[derive(Debug)]
pub(crate) struct Purse<S> {
    store: Arc<S>,
    budget: SponsorBudget,
}

/// A part of the budget that is set aside for one transaction.
#[derive(Debug)]
#[must_use = "what is set aside must be settled"]
pub(super) struct Reservation {
    /// `None`: it was paid before, and nothing is set aside.
    pub(super) aside: Option<SetAside>,
    before: Before,
}

/// What is set aside for a transaction, for as long as nobody else has written
/// its note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetAside {
    note: DocumentKey,
    version: Version,
}

/// What was set aside for a transaction before. Whoever did that may have had
/// it signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    InAnotherWindow,
    InThisWindow,
}

impl Reservation {
    /// Whether nobody else can have had the transaction signed since `known`
    /// was set aside, or at all.
    pub(super) fn follows(&self, known: Option<SetAside>) -> bool {
        match (self.before, self.aside, known) {
            (Before::Nothing, ..) => true,
            (_, Some(aside), Some(known)) => {
                aside.note == known.note && aside.version.0.checked_sub(1) == Some(known.version.0)
            }
            _ => false,
        }
    }
}

/// A transaction whose fee may be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sponsored {
    /// Its replay id.
    pub(super) id: B256,
    /// It can not be mined at or after this Unix time, in seconds.
    pub(super) valid_before: u64,
}

/// What became of the fee of one transaction, by its replay id. The order of
/// variants is the stored form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Note {
    /// It may be mined: at most so much is set aside.
    Aside {
        fee: U256,
        window: u64,
        /// Whose accounts were charged.
        accounts: Vec<B256>,
    },
    /// Nothing is set aside: it was not signed, or can not be mined any more.
    Free,
    /// It was mined, which happens once.
    Paid,
    /// One of those above, and from when on nobody needs it: Unix seconds.
    Until(u64, Box<Self>),
}

impl Note {
    /// The end of a note, and what it says.
    fn parts(self) -> (Option<u64>, Self) {
        match self {
            Self::Until(until, note) => (Some(until), *note),
            // Written before notes had an end.
            note => (None, note),
        }
    }

    fn until(self, until: Option<u64>) -> Self {
        match until {
            Some(until) => Self::Until(until, Box::new(self)),
            None => self,
        }
    }
}

/// What was given to one subject in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    /// The end of the window, in Unix seconds.
    until: u64,
    fees: U256,
}

impl SponsorBudget {
    /// Who is charged for a transaction, with what they may have in a window.
    fn subjects(
        &self,
        (payer, peer): (Address, Option<IpAddr>),
        window: u64,
    ) -> Vec<(DocumentKey, U256)> {
        let length = self.window.as_secs().to_be_bytes();
        let account = |about: &[u8], subject: &[u8]| {
            let of_window = [subject, &length, &window.to_be_bytes()].concat();
            key(about, &of_window)
        };
        let range = peer.map(|peer| (account(b"range", &range(peer)), self.per_range));
        let mut subjects = vec![
            (account(b"total", &[]), self.total),
            (account(b"payer", payer.as_slice()), self.per_payer),
        ];
        subjects.extend(range);
        subjects
    }

    fn window(&self, now: Timestamp) -> u64 {
        let secs = u64::try_from(now.as_secs()).unwrap_or_default();
        secs.checked_div(self.window.as_secs()).unwrap_or_default()
    }

    /// The end of a window, in Unix seconds.
    fn end(&self, window: u64) -> u64 {
        let next = window.saturating_add(1);
        next.saturating_mul(self.window.as_secs())
    }
}

impl<S: ChannelStore> Purse<S> {
    pub(crate) fn new(store: Arc<S>, budget: SponsorBudget) -> Self {
        Self { store, budget }
    }

    /// Sets the most that a transaction may cost aside. What is set aside for
    /// it already is taken over: it can be mined only once.
    ///
    /// # Cancel safety
    /// Dropped, it may stay set aside until the window ends.
    pub(super) async fn reserve(
        &self,
        transaction: Sponsored,
        who: (Address, Option<IpAddr>),
        fee: U256,
        now: Timestamp,
    ) -> Result<Reservation, Failure> {
        let window = self.budget.window(now);
        let subjects = self.budget.subjects(who, window);
        let until = transaction.valid_before.max(self.budget.end(window));
        let note = key(b"transaction", transaction.id.as_slice());
        loop {
            let found = find::<Note>(&*self.store, note).await?;
            let version = found.as_ref().map(|found| found.version);
            let before = found.map_or(Note::Free, |found| found.value);
            let (writes, before) = match &before.clone().parts().1 {
                // It can not be mined again.
                Note::Paid => {
                    let (aside, before) = (None, Before::InThisWindow);
                    return Ok(Reservation { aside, before });
                }
                // A new version: who set it aside can not give it back any more.
                Note::Aside { window: then, .. } if *then == window => {
                    (vec![write(note, version, &before)?], Before::InThisWindow)
                }
                then @ (Note::Aside { .. } | Note::Free | Note::Until(..)) => {
                    let mut writes = self.charge(&subjects, fee, window).await?;
                    let accounts = subjects.iter().map(|(key, _)| key.id).collect();
                    let aside = Note::Aside {
                        fee,
                        window,
                        accounts,
                    };
                    writes.push(write(note, version, &aside.until(Some(until)))?);
                    let before = match then {
                        Note::Aside { .. } => Before::InAnotherWindow,
                        _ => Before::Nothing,
                    };
                    (writes, before)
                }
            };
            if self.store.write_documents(writes).await? == Written::Done {
                let version = version.map_or(0, |version| version.0);
                let version = Version(version.saturating_add(1));
                let aside = Some(SetAside { note, version });
                return Ok(Reservation { aside, before });
            }
        }
    }

    /// Adds a fee to the accounts of all subjects, if all have room for it.
    async fn charge(
        &self,
        subjects: &[(DocumentKey, U256)],
        fee: U256,
        window: u64,
    ) -> Result<Vec<DocumentWrite>, Failure> {
        let mut writes = Vec::with_capacity(subjects.len().saturating_add(1));
        for (key, cap) in subjects {
            let found = find::<Account>(&*self.store, *key).await?;
            let version = found.as_ref().map(|found| found.version);
            let before = found.map_or(U256::ZERO, |found| found.value.fees);
            let fees = before.checked_add(fee).filter(|fees| fees <= cap);
            let account = Account {
                until: self.budget.end(window),
                fees: fees.ok_or(Rejection::SponsorBudget)?,
            };
            writes.push(write(*key, version, &account)?);
        }
        Ok(writes)
    }

    /// Gives back what was set aside for a transaction that was not signed,
    /// unless somebody has taken that over.
    ///
    /// # Cancel safety
    /// Dropped, it may stay set aside until the window ends.
    pub(super) async fn release(&self, reserved: Reservation) -> Result<(), Fault> {
        match (reserved.aside, reserved.before) {
            (None, _) | (_, Before::InThisWindow) => Ok(()),
            (Some(aside), _) => self.free(aside).await,
        }
    }

    /// Gives back what was set aside, unless somebody has written its note.
    ///
    /// # Cancel safety
    /// Dropped, it may stay set aside until the window ends.
    pub(super) async fn free(&self, aside: SetAside) -> Result<(), Fault> {
        while let Some(before) = self.held(aside).await? {
            let freed = (aside.note, aside.version, before);
            if self.put(freed, U256::ZERO, Note::Free).await? == Written::Done {
                break;
            }
        }
        Ok(())
    }

    /// Whether it is still set aside, and by the same.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(super) async fn holds(&self, aside: SetAside) -> Result<bool, Fault> {
        Ok(self.held(aside).await?.is_some())
    }

    /// The note of what is set aside, if nobody else has written it.
    async fn held(&self, aside: SetAside) -> Result<Option<Note>, Fault> {
        let found = find::<Note>(&*self.store, aside.note).await?;
        let found = found.filter(|found| found.version == aside.version);
        let note = found.map(|found| found.value);
        Ok(note.filter(|note| matches!(note.clone().parts().1, Note::Aside { .. })))
    }

    /// Puts what a transaction has really cost in the place of what was set
    /// aside for it; `None`: it was not mined and can not be any more.
    /// Repeating it changes nothing.
    ///
    /// # Cancel safety
    /// Dropped, it is done or not; the most may then count until the window ends.
    pub(super) async fn settle(&self, transaction: B256, paid: Option<Fee>) -> Result<(), Fault> {
        let note = key(b"transaction", transaction.as_slice());
        loop {
            let Some(found) = find::<Note>(&*self.store, note).await? else {
                return Ok(());
            };
            let Note::Aside { fee: most, .. } = found.value.clone().parts().1 else {
                return Ok(());
            };
            let (cost, next) = match paid {
                None => (U256::ZERO, Note::Free),
                // A node that does not say is taken to have charged the most.
                Some(Fee::Unknown) => (most, Note::Paid),
                Some(Fee::Of(fee)) => (fee.min(most), Note::Paid),
            };
            let settled = (note, found.version, found.value);
            if self.put(settled, cost, next).await? == Written::Done {
                return Ok(());
            }
        }
    }

    /// Writes what becomes of a note, and what comes back to its accounts.
    async fn put(
        &self,
        (note, version, before): (DocumentKey, Version, Note),
        cost: U256,
        next: Note,
    ) -> Result<Written, Fault> {
        let (until, before) = before.parts();
        let mut writes = vec![write(note, Some(version), &next.until(until))?];
        if let Note::Aside { fee, accounts, .. } = before {
            let unused = fee.saturating_sub(cost);
            for id in accounts.into_iter().filter(|_| !unused.is_zero()) {
                let key = DocumentKey { id, ..note };
                // Its window may be over.
                let Some(found) = find::<Account>(&*self.store, key).await? else {
                    continue;
                };
                let mut account = found.value;
                account.fees = account.fees.saturating_sub(unused);
                writes.push(write(key, Some(found.version), &account)?);
            }
        }
        Ok(self.store.write_documents(writes).await?)
    }
}

/// Whether a stored note or account has ended before a moment. What other owners
/// keep among these documents never has.
pub(crate) fn has_ended(bytes: &[u8], before: Timestamp) -> bool {
    let kind = DocumentKind::Budget;
    let until = match decode_document::<Note>(kind, bytes) {
        Ok(note) => note.parts().0,
        Err(_) => decode_document::<Account>(kind, bytes)
            .ok()
            .map(|account| account.until),
    };
    let before = u64::try_from(before.as_secs()).unwrap_or_default();
    until.is_some_and(|until| until <= before)
}

/// What a mined transaction has cost, in attodollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fee {
    Of(U256),
    /// The node does not say.
    Unknown,
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
