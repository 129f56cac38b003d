//! Removes documents that protect nothing any more.
//!
//! | document | what it protects | kept until |
//! |---|---|---|
//! | note of a sponsored transaction | its fee from being booked twice | it can not be mined, and its window of the budget is over |
//! | account of a budget | what was given in a window | the window is over |
//! | finished effect | nothing: a history for operators | its transactions are not valid any more, and then as long as outcomes and closed channels |
//! | closed channel | its close, which a reorganization may take back | the window of closed channels |
//!
//! And an hour longer, for clocks that differ. Charges and refunds are the books:
//! they stay, but for charges that were never paid (`charge/unpaid.rs`). Effects that are under way, positions and leases have no end.

use std::time::Duration;

use alloy_primitives::B256;
use mpp_core::Timestamp;

use super::CLOCKS_DIFFER;
use crate::{
    clock::SharedClock,
    settle::{outbox, watch},
    sponsor,
    store::{
        ChannelStore, Document, DocumentKey, DocumentKind, DocumentPage, DocumentWrite, StoreFault,
    },
};

/// Documents that are looked at together.
const PAGE: usize = 256;
/// Between two pages.
const EVERY: Duration = Duration::from_secs(10);
/// Between the end and the next beginning.
const AGAIN: Duration = Duration::from_secs(10 * 60);

/// The kinds of documents that have an end.
const KINDS: [DocumentKind; 3] = [
    DocumentKind::Budget,
    DocumentKind::FinishedEffect,
    DocumentKind::Ended,
];

/// How long what is over is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeping {
    /// Channels that were closed.
    closed: Duration,
    /// Transactions of ours.
    finished: Duration,
}

impl Keeping {
    /// As outcomes, and as channels that were closed.
    pub(crate) fn new(outcomes: Duration, closed: Duration) -> Self {
        Self {
            closed,
            finished: outcomes.max(closed),
        }
    }

    /// Whether nobody needs a document any more.
    fn has_ended(self, kind: DocumentKind, document: &Document, now: Timestamp) -> bool {
        let kept = match kind {
            DocumentKind::FinishedEffect => self.finished,
            DocumentKind::Ended => self.closed,
            _ => Duration::ZERO,
        };
        let before = now.checked_sub(kept.saturating_add(CLOCKS_DIFFER));
        let Some(before) = before else { return false };
        let bytes = &document.value;
        match kind {
            DocumentKind::Budget => sponsor::has_ended(bytes, before),
            DocumentKind::FinishedEffect => outbox::has_ended(bytes, before),
            DocumentKind::Ended => watch::has_ended(bytes, before),
            _ => false,
        }
    }
}

/// Where the sweeping goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// The number of the kind in [`KINDS`].
    kind: usize,
    after: Option<B256>,
}

/// Goes through the documents, page by page, for as long as the server runs.
/// Harmless when several servers of a store do so.
pub(super) async fn run(store: &impl ChannelStore, clock: &SharedClock, keeping: Keeping) {
    let mut place = Place::default();
    loop {
        let is_first = place == Place::default();
        tokio::time::sleep(if is_first { AGAIN } else { EVERY }).await;
        match page(store, keeping, place, clock.now()).await {
            Ok(next) => place = next,
            Err(fault) => tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "documents that have ended could not be removed; trying again"
            ),
        }
    }
}

/// Removes what has ended from one page; returns where it goes on.
///
/// # Cancel safety
/// Dropped, all of it is removed or nothing.
async fn page(
    store: &impl ChannelStore,
    keeping: Keeping,
    place: Place,
    now: Timestamp,
) -> Result<Place, StoreFault> {
    let Some(kind) = KINDS.get(place.kind).copied() else {
        return Ok(Place::default());
    };
    let (after, limit) = (place.after, PAGE);
    let asked = DocumentPage { kind, after, limit };
    let found = store.documents(asked).await?;
    let ended = found
        .iter()
        .filter(|(_, document)| keeping.has_ended(kind, document, now));
    let writes: Vec<_> = ended
        .map(|(id, document)| DocumentWrite {
            key: DocumentKey { kind, id: *id },
            expected: Some(document.version),
            value: None,
        })
        .collect();
    if !writes.is_empty() {
        // When another server was faster, the rest is removed next time.
        store.write_documents(writes).await?;
    }
    let last = found.last().map(|(id, _)| *id);
    Ok(match last.filter(|_| found.len() == PAGE) {
        Some(last) => Place {
            after: Some(last),
            ..place
        },
        None if place.kind.saturating_add(1) < KINDS.len() => Place {
            kind: place.kind.saturating_add(1),
            after: None,
        },
        None => Place::default(),
    })
}

#[cfg(test)]
mod tests;
