//! Which channels concern this server, and what is known of them beside events.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy_primitives::{Address, B256};
use mpp_tempo::{
    SessionProtocol,
    chain::LogFilter,
    channel::{ChannelId, ChannelTerms},
};

use super::{
    news::{News, Pair},
    place::Place,
};

/// What is followed, and up to where.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    watched: Mutex<Watched>,
    /// Events that receipts have shown; the logs have to show them too.
    receipts: Mutex<Vec<News>>,
    /// Channels that were read at a block that nobody knows.
    unsure: Mutex<BTreeSet<ChannelId>>,
    /// The block after the newest whose events were read, or are being read.
    read: AtomicU64,
    /// Nobody reads events twice at a time.
    pub(super) place: tokio::sync::Mutex<Place>,
}

/// The pairs whose events are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched(BTreeMap<Pair, SessionProtocol>);

impl Interest {
    /// Adds the channels of one more offer.
    pub(crate) fn add(&self, payee: Address, escrow: Address, protocol: SessionProtocol) {
        lock(&self.watched)
            .0
            .insert(Pair { payee, escrow }, protocol);
    }

    /// Adds a channel that may hold money, whether it is still offered or not.
    /// Says whether its pair is new.
    pub(crate) fn add_channel(&self, terms: &ChannelTerms) -> bool {
        let pair = Pair {
            payee: terms.descriptor.payee,
            escrow: terms.escrow,
        };
        let mut watched = lock(&self.watched);
        watched.0.insert(pair, terms.protocol).is_none()
    }

    pub(crate) fn snapshot(&self) -> Watched {
        lock(&self.watched).clone()
    }

    pub(crate) fn note_receipt(&self, news: News) {
        lock(&self.receipts).push(news);
    }

    pub(super) fn take_receipts(&self) -> Vec<News> {
        std::mem::take(&mut *lock(&self.receipts))
    }

    /// Has a channel read again.
    pub(crate) fn doubt(&self, id: ChannelId) {
        lock(&self.unsure).insert(id);
    }

    /// Events up to this block are about to be read.
    pub(super) fn reads(&self, block: u64) {
        self.read
            .fetch_max(block.saturating_add(1), Ordering::SeqCst);
    }

    /// Whether events of this block were read, or are being read: those of a
    /// channel that was not known then are not noted any more.
    pub(crate) fn has_read(&self, block: u64) -> bool {
        block < self.read.load(Ordering::SeqCst)
    }

    pub(super) fn take_unsure(&self) -> BTreeSet<ChannelId> {
        std::mem::take(&mut *lock(&self.unsure))
    }
}

impl Watched {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        self.0.keys().copied()
    }

    /// The protocol of an escrow; `None` when it is none of ours.
    pub(crate) fn protocol(&self, escrow: Address) -> Option<SessionProtocol> {
        let mut pairs = self.0.iter();
        pairs.find_map(|(pair, protocol)| (pair.escrow == escrow).then_some(*protocol))
    }

    /// All events of all pairs from a block on.
    pub(crate) fn filter(&self, from_block: u64) -> LogFilter {
        let escrows: BTreeSet<Address> = self.0.keys().map(|pair| pair.escrow).collect();
        let payees: BTreeSet<B256> = self.0.keys().map(|pair| pair.payee.into_word()).collect();
        LogFilter {
            addresses: escrows.into_iter().collect(),
            // Topic 3 of every escrow event is the payee.
            topics: vec![
                Vec::new(),
                Vec::new(),
                Vec::new(),
                payees.into_iter().collect(),
            ],
            from_block,
            to_block: None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
