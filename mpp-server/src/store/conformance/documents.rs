//! Documents: conditional writes of several at once, and pages.

use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Backend, healthy};
use crate::store::{
    ChannelStore, Document, DocumentKey, DocumentKind, DocumentPage, DocumentWrite, Version,
    Written,
};

const KIND: DocumentKind = DocumentKind::Budget;

fn key(id: u64) -> DocumentKey {
    DocumentKey {
        kind: KIND,
        id: B256::left_padding_from(&id.to_be_bytes()),
    }
}

fn write(id: u64, expected: Option<u64>, value: Option<u64>) -> DocumentWrite {
    DocumentWrite {
        key: key(id),
        expected: expected.map(Version),
        value: value.map(|value| Bytes::copy_from_slice(&value.to_be_bytes())),
    }
}

fn number(document: &Document) -> u64 {
    let value = document.value.as_ref().try_into();
    value.map_or(u64::MAX, u64::from_be_bytes)
}

/// Version and number of a document.
async fn read(store: &impl ChannelStore, id: u64) -> Option<(u64, u64)> {
    let found = healthy(store.document(key(id)).await);
    found.map(|found| (found.version.0, number(&found)))
}

async fn wrote(store: &impl ChannelStore, writes: Vec<DocumentWrite>) -> Written {
    healthy(store.write_documents(writes).await)
}

/// Documents are written when all versions are as expected, else none is.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn documents_are_written_together(backend: &impl Backend) {
    let store = backend.create().await;
    let other = backend.another(&store).await;
    let both = vec![write(2, None, Some(20)), write(1, None, Some(10))];
    assert_eq!(wrote(&store, both.clone()).await, Written::Done);
    assert_eq!(read(&other, 1).await, Some((1, 10)));
    assert_eq!(read(&other, 2).await, Some((1, 20)));
    // Again, with a stale version, and with one that is not there.
    for second in [
        write(2, None, Some(21)),
        write(2, Some(2), Some(21)),
        write(3, Some(1), Some(21)),
        write(2, Some(2), None),
    ] {
        let writes = vec![write(1, Some(1), Some(11)), second];
        assert_eq!(wrote(&other, writes).await, Written::Conflict);
        assert_eq!(
            read(&store, 1).await,
            Some((1, 10)),
            "a conflict writes nothing"
        );
        assert_eq!(read(&store, 3).await, None, "a conflict creates nothing");
    }
    assert_eq!(wrote(&store, both).await, Written::Conflict);
    let next = vec![write(1, Some(1), Some(11)), write(2, Some(1), None)];
    assert_eq!(wrote(&other, next).await, Written::Done);
    assert_eq!(read(&store, 1).await, Some((2, 11)));
    assert_eq!(read(&store, 2).await, None, "it was removed");
    assert_eq!(wrote(&store, Vec::new()).await, Written::Done);
    let twice = vec![write(1, Some(2), Some(1)), write(1, Some(2), Some(2))];
    assert!(store.write_documents(twice).await.is_err());
}

/// Of concurrent writes of one version exactly one happens, and what moves
/// between two documents is in one of them at any time.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn document_writes_race(backend: &impl Backend) {
    let store = Arc::new(backend.create().await);
    let other = Arc::new(backend.another(&store).await);
    let mut creations = JoinSet::new();
    for value in 0..100 {
        let store = Arc::clone(if value % 2 == 0 { &store } else { &other });
        creations.spawn(async move {
            let writes = vec![write(1, None, Some(1_000)), write(2, None, Some(0))];
            wrote(&*store, writes).await
        });
    }
    let creations = creations.join_all().await;
    let won = creations.iter().filter(|end| **end == Written::Done);
    assert_eq!(won.count(), 1, "one of a hundred creates a document");
    let mut moves = JoinSet::new();
    for mover in 0..4 {
        let store = Arc::clone(if mover % 2 == 0 { &store } else { &other });
        moves.spawn(async move {
            let mut left = 10_u64;
            while left > 0 {
                let (Some(from), Some(to)) = (read(&*store, 1).await, read(&*store, 2).await)
                else {
                    panic!("a document is lost");
                };
                let less = write(1, Some(from.0), from.1.checked_sub(1));
                let more = write(2, Some(to.0), to.1.checked_add(1));
                if wrote(&*store, vec![more, less]).await == Written::Done {
                    left = left.saturating_sub(1);
                }
            }
        });
    }
    moves.join_all().await;
    assert_eq!(read(&*store, 1).await, Some((41, 960)));
    assert_eq!(read(&*other, 2).await, Some((41, 40)));
}

/// Documents are read page by page, and kinds never mix.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn documents_are_read_in_pages(backend: &impl Backend) {
    let store = backend.create().await;
    for id in [300, 2, 1, 256] {
        let mut neighbor = write(id, None, Some(7));
        neighbor.key.kind = DocumentKind::Lease;
        let writes = vec![write(id, None, Some(id)), neighbor];
        assert_eq!(wrote(&store, writes).await, Written::Done);
    }
    let page = |after: Option<u64>, limit| DocumentPage {
        kind: KIND,
        after: after.map(|id| key(id).id),
        limit,
    };
    for (page, expected) in [
        (page(None, 10), &[1, 2, 256, 300][..]),
        (page(None, 0), &[]),
        (page(None, 3), &[1, 2, 256]),
        (page(Some(2), 1), &[256]),
        (page(Some(3), 10), &[256, 300]),
        (page(Some(300), 10), &[]),
    ] {
        let found = healthy(store.documents(page).await);
        let ids: Vec<_> = found.iter().map(|(id, _)| *id).collect();
        let wanted: Vec<_> = expected.iter().map(|id| key(*id).id).collect();
        assert_eq!(ids, wanted, "{page:?}");
        let values: Vec<_> = found.iter().map(|(_, found)| number(found)).collect();
        assert_eq!(values, expected, "{page:?}");
    }
    let last = DocumentPage {
        after: Some(B256::repeat_byte(0xFF)),
        ..page(None, 10)
    };
    assert_eq!(healthy(store.documents(last).await), []);
}

/// Who goes through documents page by page may remove what it has read, as a
/// server does with what has ended: the others are read all the same, and what
/// was removed is gone for good.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn documents_are_removed_while_they_are_read(backend: &impl Backend) {
    let store = backend.create().await;
    let other = backend.another(&store).await;
    let all: Vec<u64> = (1..=20).collect();
    let writes = all.iter().map(|id| write(*id, None, Some(*id)));
    assert_eq!(wrote(&store, writes.collect()).await, Written::Done);
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = DocumentPage {
            kind: KIND,
            after,
            limit: 6,
        };
        let found = healthy(store.documents(page).await);
        let Some((last, _)) = found.last() else { break };
        after = Some(*last);
        let numbers: Vec<u64> = found.iter().map(|(_, found)| number(found)).collect();
        let even = numbers.iter().filter(|number| *number % 2 == 0);
        let removed = even.map(|number| write(*number, Some(1), None)).collect();
        assert_eq!(wrote(&store, removed).await, Written::Done);
        seen.extend(numbers);
    }
    assert_eq!(seen, all, "each of them once");
    // Another server comes too late, and removes nothing else.
    let late = vec![write(2, Some(1), None), write(3, Some(1), None)];
    assert_eq!(wrote(&other, late).await, Written::Conflict);
    drop(other);
    let reopened = backend.reopen(store).await;
    let Some(store) = reopened else { return };
    for id in all {
        let left = (id % 2 == 1).then_some((1, id));
        assert_eq!(read(&store, id).await, left);
    }
}

/// Documents are there after a crash, and removed ones are not.
///
/// # Panics
/// When the promise is broken.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn documents_survive(backend: &impl Backend) {
    let store = backend.create().await;
    let first = vec![write(1, None, Some(1)), write(2, None, Some(2))];
    assert_eq!(wrote(&store, first).await, Written::Done);
    let second = vec![write(1, Some(1), Some(11)), write(2, Some(1), None)];
    assert_eq!(wrote(&store, second).await, Written::Done);
    let Some(store) = backend.reopen(store).await else {
        return;
    };
    assert_eq!(read(&store, 1).await, Some((2, 11)));
    assert_eq!(read(&store, 2).await, None);
    let stale = vec![write(1, Some(1), Some(12))];
    assert_eq!(wrote(&store, stale).await, Written::Conflict);
    let next = vec![write(1, Some(2), Some(12))];
    assert_eq!(wrote(&store, next).await, Written::Done);
    assert_eq!(read(&store, 1).await, Some((3, 12)));
}
