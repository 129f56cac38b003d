//! Which channels belong to whom: the store's contents, by account.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use alloy_primitives::Address;
use mpp_core::Timestamp;
use mpp_tempo::channel::ChannelId;

use super::{ChannelResolver, Resumable, concerns};
use crate::{
    clock::SharedClock,
    error::Fault,
    gate::BoxFuture,
    session::record::ChannelRecord,
    store::{ChannelStore, Scan, Which},
};

/// Channels read at a time.
const PAGE: usize = 512;

/// The store is read again for an account without a channel, but not more
/// often than this: a proof costs its sender nothing, a scan costs us.
const RESCAN: Duration = Duration::from_secs(5);

/// An index of the store's live channels by payer and signer.
///
/// It is a hint: every answer is read from the store. Channels that this server
/// opens are added at once; those of other servers over the same store are
/// found when somebody asks, at most [`RESCAN`] later.
#[derive(Debug)]
pub(crate) struct Directory<S> {
    store: Arc<S>,
    clock: SharedClock,
    /// Oldest first.
    channels: Mutex<HashMap<Address, BTreeSet<(Timestamp, ChannelId)>>>,
    /// When the store was read; held while it is, so that all wait for one scan.
    scanned: tokio::sync::Mutex<Option<Timestamp>>,
}

impl<S: ChannelStore> Directory<S> {
    pub(crate) fn new(store: Arc<S>, clock: SharedClock) -> Self {
        Self {
            store,
            clock,
            channels: Mutex::default(),
            scanned: tokio::sync::Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Address, BTreeSet<(Timestamp, ChannelId)>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, record: &ChannelRecord) {
        let mut channels = self.lock();
        for account in [record.terms.descriptor.payer, record.terms.signer()] {
            let known = channels.entry(account).or_default();
            known.insert((record.opened_at, record.id));
        }
    }

    fn forget(&self, account: Address, entry: (Timestamp, ChannelId)) {
        let mut channels = self.lock();
        if let Some(known) = channels.get_mut(&account) {
            known.remove(&entry);
            if known.is_empty() {
                channels.remove(&account);
            }
        }
    }

    /// The newest channel in the index that still fits.
    async fn find(&self, account: Address, wanted: &Resumable) -> Result<Option<ChannelId>, Fault> {
        let known = self.lock().get(&account).cloned().unwrap_or_default();
        for entry in known.into_iter().rev() {
            match self.store.load(entry.1).await?.map(|found| found.record) {
                Some(record) if wanted.fits(&record) && concerns(&record, account) => {
                    return Ok(Some(record.id));
                }
                Some(record) if record.is_live() => {}
                Some(_) | None => self.forget(account, entry),
            }
        }
        Ok(None)
    }

    /// Reads the store's live channels, unless that was done just now.
    async fn scan(&self) -> Result<(), Fault> {
        let mut scanned = self.scanned.lock().await;
        let now = self.clock.now();
        let is_due = |last: Timestamp| last.checked_add(RESCAN).is_none_or(|due| due <= now);
        // A clock that was set back does not stop the scans.
        if scanned.is_some_and(|last| last <= now && !is_due(last)) {
            return Ok(());
        }
        let mut after = None;
        loop {
            let page = Scan {
                which: Which::Live,
                after,
                limit: PAGE,
            };
            let page = self.store.scan(page).await?;
            page.iter().for_each(|found| self.note(&found.record));
            match page.last() {
                Some(last) if page.len() >= PAGE => after = Some(last.record.id),
                _ => break,
            }
        }
        *scanned = Some(now);
        Ok(())
    }
}

impl<S: ChannelStore + std::fmt::Debug> ChannelResolver for Directory<S> {
    fn resolve<'a>(
        &'a self,
        account: Address,
        wanted: &'a Resumable,
    ) -> BoxFuture<'a, Result<Option<ChannelId>, Fault>> {
        Box::pin(async move {
            if let Some(found) = self.find(account, wanted).await? {
                return Ok(Some(found));
            }
            self.scan().await?;
            self.find(account, wanted).await
        })
    }

    fn opened(&self, record: &ChannelRecord) {
        self.note(record);
    }
}
