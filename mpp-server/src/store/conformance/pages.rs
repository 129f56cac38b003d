//! Scans and ledgers, page by page.

use std::sync::Arc;

use mpp_tempo::ChannelId;

use super::{Backend, done, healthy, sample};
use crate::{
    session::record::{ChannelRecord, Phase},
    store::{ChannelStore, LedgerPage, Numbered, Scan, Version, Which},
};

/// A scan gives every channel once, in the order of ids.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn scans_are_read_in_pages(backend: &impl Backend) {
    let store = backend.create().await;
    let mut records: Vec<Arc<ChannelRecord>> = (1..=11).map(sample::record).collect();
    for (number, record) in (0_u32..).zip(&mut records) {
        Arc::make_mut(record).phase = match number % 4 {
            0 => Phase::Closed { transaction: None },
            1 => Phase::Failed,
            2 => Phase::CloseRequested { at: 1 },
            _ => Phase::Open,
        };
        done(&store, sample::first(record.clone())).await;
    }
    records.sort_by_key(|record| record.id);
    let all: Vec<_> = records.iter().map(|record| record.id).collect();
    let live = records.iter().filter(|record| record.is_live());
    let live: Vec<_> = live.map(|record| record.id).collect();
    for limit in [1, 3, 4, 100] {
        assert_eq!(scanned(&store, Which::All, limit).await, all);
        assert_eq!(scanned(&store, Which::Live, limit).await, live);
    }
    let nothing = Scan {
        which: Which::All,
        after: None,
        limit: 0,
    };
    assert!(healthy(store.scan(nothing).await).is_empty());
}

async fn scanned(store: &impl ChannelStore, which: Which, limit: usize) -> Vec<ChannelId> {
    let mut ids: Vec<ChannelId> = Vec::new();
    loop {
        let after = ids.last().copied();
        let page = healthy(
            store
                .scan(Scan {
                    which,
                    after,
                    limit,
                })
                .await,
        );
        assert!(page.len() <= limit, "a page of {} for {limit}", page.len());
        if page.is_empty() {
            return ids;
        }
        for found in page {
            assert_eq!(found.version, Version(1));
            assert!(ids.last() < Some(&found.record.id), "out of order");
            ids.push(found.record.id);
        }
    }
}

/// A ledger gives every entry once, in the order of commits.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn ledgers_are_read_in_pages(backend: &impl Backend) {
    let store = backend.create().await;
    let mut records: Vec<Arc<ChannelRecord>> = (1..=3).map(sample::record).collect();
    for record in &records {
        done(&store, sample::first(record.clone())).await;
    }
    let mut written = Vec::new();
    for round in 1..=4 {
        for record in &mut records {
            let charge = sample::charge(Version(round), record);
            *record = charge.next.clone();
            written.extend(charge.entry.clone());
            done(&store, charge).await;
        }
    }
    for limit in [1, 5, 100] {
        let all = paged(&store, None, limit).await;
        assert!(
            all.iter().map(|line| &line.entry).eq(&written),
            "limit {limit}"
        );
        for record in &records {
            let own = paged(&store, Some(record.id), limit).await;
            let expected = written.iter().filter(|entry| entry.channel_id == record.id);
            assert!(own.iter().map(|line| &line.entry).eq(expected));
        }
    }
    let unknown = Some(sample::terms(99).id());
    assert!(paged(&store, unknown, 5).await.is_empty());
}

async fn paged(
    store: &impl ChannelStore,
    channel: Option<ChannelId>,
    limit: usize,
) -> Vec<Numbered> {
    let mut lines: Vec<Numbered> = Vec::new();
    loop {
        let after = lines.last().map_or(0, |line| line.number);
        let page = LedgerPage {
            channel,
            after,
            limit,
        };
        let page = healthy(store.ledger(page).await);
        assert!(page.len() <= limit, "a page of {} for {limit}", page.len());
        if page.is_empty() {
            return lines;
        }
        for line in page {
            let last = lines.last().map_or(0, |line| line.number);
            assert!(line.number > last, "number {} after {last}", line.number);
            lines.push(line);
        }
    }
}
