//! How far the chain was seen, written down before anything is believed.
//!
//! A record may know of a block that the server's node, or the node of the next
//! server, has not reached. What such a node does not show says nothing: only
//! once it has come as far as facts were ever taken from, absence counts.

use std::{
    borrow::Borrow,
    sync::atomic::{AtomicU64, Ordering},
};

use alloy_primitives::Keccak256;
use mpp_tempo::{
    chain::{BlockInfo, ChainClient, ChainError},
    channel::{ChannelView, Existence},
};

use crate::{
    charge::desk::{find, write},
    error::Fault,
    session::{
        SessionContext,
        record::{ChannelRecord, Phase},
    },
    store::{ChannelStore, DocumentKey, DocumentKind, Version, Written},
};

/// The newest block that facts were taken from, at any server of the store.
#[derive(Debug, Default)]
pub(crate) struct Horizon {
    /// The store knows that blocks up to this one were seen.
    written: AtomicU64,
    /// What the store has, once it was asked; one writer at a time.
    stored: tokio::sync::Mutex<Option<Stored>>,
}

/// The version of the document; `None`: there is none yet.
type Stored = Option<Version>;

impl Horizon {
    /// The newest block that was seen, as far as this process knows.
    pub(crate) fn seen(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    /// Learns what other servers and earlier processes have seen.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(crate) async fn learn<S: ChannelStore>(
        &self,
        store: &S,
        chain_id: u64,
    ) -> Result<(), Fault> {
        let mut stored = self.stored.lock().await;
        *stored = Some(self.read(store, chain_id).await?);
        Ok(())
    }

    /// Writes down that facts of `block` are about to be believed.
    ///
    /// Usually one write for each block that holds something.
    ///
    /// # Errors
    /// When the store fails: then they must not be believed.
    ///
    /// # Cancel safety
    /// Dropped, it may be written; the block was seen all the same.
    pub(crate) async fn reach<S: ChannelStore>(
        &self,
        store: &S,
        chain_id: u64,
        block: u64,
    ) -> Result<(), Fault> {
        if block <= self.seen() {
            return Ok(());
        }
        let mut stored = self.stored.lock().await;
        while block > self.seen() {
            let version = match stored.take() {
                Some(version) => version,
                None => self.read(store, chain_id).await?,
            };
            if block <= self.seen() {
                *stored = Some(version);
                break;
            }
            let writes = vec![write(key(chain_id), version, &block)?];
            if store.write_documents(writes).await? == Written::Done {
                let before = version.map_or(0, |version| version.0);
                *stored = Some(Some(Version(before.saturating_add(1))));
                self.written.fetch_max(block, Ordering::SeqCst);
            }
        }
        Ok(())
    }

    async fn read<S: ChannelStore>(&self, store: &S, chain_id: u64) -> Result<Stored, Fault> {
        let Some(found) = find::<u64>(store, key(chain_id)).await? else {
            return Ok(None);
        };
        self.written.fetch_max(found.value, Ordering::SeqCst);
        Ok(Some(found.version))
    }
}

impl<S: ChannelStore> SessionContext<S> {
    /// Writes down that facts of `block` are about to be believed.
    ///
    /// # Errors
    /// When the store fails: then they must not be believed.
    ///
    /// # Cancel safety
    /// Dropped, it may be written; the block was seen all the same.
    pub(crate) async fn reach(&self, block: u64) -> Result<(), Fault> {
        let (store, chain_id) = (self.driver.store(), self.chain.chain_id());
        self.horizon.reach(store, chain_id, block).await
    }

    /// As [`reach`](Self::reach), for views that were read just now. At which
    /// block nobody knows; it is none after the node's newest.
    ///
    /// # Errors
    /// When chain or store fail: then they must not be believed.
    ///
    /// # Cancel safety
    /// As [`reach`](Self::reach).
    pub(crate) async fn reach_views<'a, R: Borrow<ChannelRecord> + 'a>(
        &self,
        views: impl IntoIterator<Item = (&'a R, &'a ChannelView)> + Send,
    ) -> Result<(), Fault> {
        let is_news = |(record, view): (&R, &ChannelView)| tells_more(record.borrow(), view);
        if !views.into_iter().any(is_news) {
            return Ok(());
        }
        let head = self.chain.block().await?;
        self.reach(head.number).await
    }

    /// What was seen of the chain so far, at any server. To be asked for before a
    /// node is for its newest block: what others see meanwhile does not put that
    /// node behind.
    ///
    /// # Errors
    /// When the store fails.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(crate) async fn learn_seen(&self) -> Result<Seen, Fault> {
        let (store, chain_id) = (self.driver.store(), self.chain.chain_id());
        self.horizon.learn(store, chain_id).await?;
        Ok(Seen(self.horizon.seen()))
    }
}

/// The newest block that had been seen by some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen(u64);

impl Seen {
    /// Whether what a node does not show, whose newest block was `head` before it
    /// was asked and after this was, is not there.
    ///
    /// # Errors
    /// When the node is behind what was seen: then nothing is known.
    pub(crate) fn require_caught_up(self, head: BlockInfo) -> Result<(), Fault> {
        if head.number < self.0 {
            return Err(behind().into());
        }
        Ok(())
    }
}

/// The node is behind what was seen of the chain before.
pub(super) fn behind() -> ChainError {
    ChainError::unreachable("the node is behind what was seen of the chain before")
}

/// Whether a view shows something that an older state of the chain may lack.
fn tells_more(record: &ChannelRecord, view: &ChannelView) -> bool {
    match view.existence {
        Existence::Unknown => false,
        Existence::Finalized => record.is_live(),
        Existence::Open => {
            let requested_at = match &record.phase {
                Phase::CloseRequested { at } => Some(*at),
                Phase::Closing { requested_at, .. } | Phase::Quarantined { requested_at, .. } => {
                    *requested_at
                }
                Phase::Opening(_) | Phase::Failed | Phase::Open | Phase::Closed { .. } => None,
            };
            view.deposit > record.deposit
                || view.settled > record.settled
                || view.close_requested_at != requested_at
        }
    }
}

fn key(chain_id: u64) -> DocumentKey {
    let mut id = Keccak256::new();
    id.update(b"blocks that were seen");
    id.update(chain_id.to_be_bytes());
    DocumentKey {
        kind: DocumentKind::Cursor,
        id: id.finalize(),
    }
}
