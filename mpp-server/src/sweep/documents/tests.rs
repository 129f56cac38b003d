//! What is removed, when, and what stays.

use alloy_primitives::U256;
use bytes::Bytes;
use mpp_tempo::{SessionProtocol, tx::FeeMode};

use super::*;
use crate::{
    MemoryStore, SettlePolicy,
    store::{Version, codec::encode_document},
    testing::{
        BOTH, PRICE, World, at, close_payload, managed, now, problem, served, voucher_payload,
    },
};

const HOUR: u32 = 60 * 60;

async fn kept(store: &MemoryStore, kind: DocumentKind) -> Vec<(B256, Document)> {
    let (after, limit) = (None, 10_000);
    let page = DocumentPage { kind, after, limit };
    store.documents(page).await.unwrap()
}

async fn counts(store: &MemoryStore) -> [usize; 3] {
    let mut counts = [0; 3];
    for (count, kind) in counts.iter_mut().zip(KINDS) {
        *count = kept(store, kind).await.len();
    }
    counts
}

async fn put(store: &MemoryStore, number: u64, kind: DocumentKind, value: Bytes) {
    let id = B256::left_padding_from(&number.to_be_bytes());
    let write = DocumentWrite {
        key: DocumentKey { kind, id },
        expected: None,
        value: Some(value),
    };
    store.write_documents(vec![write]).await.unwrap();
}

/// A round through all kinds, as a server that has nothing else to do makes it.
async fn sweep(store: &MemoryStore, keeping: Keeping, now: Timestamp) {
    let mut place = Place::default();
    loop {
        place = page(store, keeping, place, now).await.unwrap();
        if place == Place::default() {
            return;
        }
    }
}

#[tokio::test]
async fn one_page_at_a_time_is_swept_and_what_is_not_over_stays() {
    let store = MemoryStore::new();
    let kind = DocumentKind::Budget;
    let (over, count) = (u64::try_from(now().as_secs()).unwrap(), 600);
    for number in 0..count {
        // Every third window lasts a little longer.
        let until = over.saturating_add(u64::from(number % 3 == 0));
        let account = encode_document(kind, &(until, U256::from(number))).unwrap();
        put(&store, number, kind, account).await;
    }
    let booking = encode_document(kind, &(20_000_i64, 1_000_000_u128)).unwrap();
    put(&store, count, kind, booking).await;
    put(&store, count + 1, kind, Bytes::from_static(b"damaged")).await;
    let lease = encode_document(DocumentKind::Lease, &(over, U256::ZERO)).unwrap();
    put(&store, 0, DocumentKind::Lease, lease).await;
    let keeping = Keeping::new(Duration::ZERO, Duration::ZERO);
    let moment = now().checked_add(CLOCKS_DIFFER).unwrap();
    let first = page(&store, keeping, Place::default(), moment)
        .await
        .unwrap();
    let removed = 602 - kept(&store, kind).await.len();
    assert_eq!(removed, 170, "two of three on a page of 256");
    assert!(first.after.is_some() && first.kind == 0);
    sweep(&store, keeping, moment).await;
    assert_eq!(kept(&store, kind).await.len(), 202);
    let later = moment.checked_add(Duration::from_secs(1)).unwrap();
    sweep(&store, keeping, later).await;
    let left: Vec<_> = kept(&store, kind).await;
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(
        left.iter()
            .all(|(_, document)| document.version == Version(1))
    );
    assert_eq!(kept(&store, DocumentKind::Lease).await.len(), 1);
}

/// A sponsored channel with a unit spent and another settled, and then closed.
async fn trade(world: &World, protocol: SessionProtocol) -> mpp_tempo::ChannelTerms {
    let route = world.sponsored_route(protocol);
    let params = world.params(protocol);
    let opening = world.sign_open(&params, FeeMode::Sponsored).await;
    let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
    served(world.buy(&route, &payload).await).await;
    world.server.settle().await.unwrap();
    let payload = voucher_payload(&opening.terms, &world.voucher(&opening.terms, 2 * PRICE));
    served(world.buy(&route, &payload).await).await;
    let close = close_payload(&opening.terms, &world.voucher(&opening.terms, 2 * PRICE));
    managed(world.manage(&route, &close).await);
    opening.terms
}

// Nothing that may still be asked for is swept, and a server that starts afterwards
// misses nothing.
#[tokio::test(start_paused = true)]
async fn what_is_swept_is_missed_by_nobody() {
    for protocol in BOTH {
        let configure = |builder: crate::server::Builder<MemoryStore>| {
            builder.settlement(SettlePolicy {
                every: Duration::from_secs(1_000_000),
                ..SettlePolicy::on_demand()
            })
        };
        let mut world = World::with(configure);
        let terms = trade(&world, protocol).await;
        // A note, three accounts; a settlement and a close; and the close again.
        let before = counts(&world.store).await;
        assert!(before.iter().all(|count| *count > 0), "{before:?}");
        let day = 24 * HOUR;
        let keeping = Keeping::new(Duration::from_secs(day.into()), Duration::ZERO);
        let sweep_at = |seconds: u32| sweep(&world.store, keeping, at(seconds.into()));
        sweep_at(HOUR).await;
        assert_eq!(counts(&world.store).await[..2], before[..2]);
        sweep_at(day + HOUR).await;
        assert_eq!(counts(&world.store).await, [0, before[1], 0]);
        sweep_at(day + HOUR + 60).await;
        assert_eq!(counts(&world.store).await, [0, 0, 0]);
        // The retry of the close is answered as the first one.
        let mined = world.node.transactions_mined();
        world.server.shutdown().await;
        world.server = world.again(configure);
        world.server.ready().await.unwrap();
        let route = world.sponsored_route(protocol);
        let close = close_payload(&terms, &world.voucher(&terms, 2 * PRICE));
        let again = managed(world.manage(&route, &close).await);
        assert!(again.tx_hash.is_some());
        let payload = voucher_payload(&terms, &world.voucher(&terms, 3 * PRICE));
        problem(
            world.buy(&route, &payload).await,
            mpp_core::problem::ProblemKind::ChannelFinalized,
        );
        world.server.settle().await.unwrap();
        assert_eq!(world.node.transactions_mined(), mined);
    }
}

// By itself, as long as a server runs.
#[tokio::test(start_paused = true)]
async fn documents_that_have_ended_go_without_being_asked_for() {
    let world = World::new();
    trade(&world, SessionProtocol::V2).await;
    let before = counts(&world.store).await;
    tokio::time::sleep(AGAIN + EVERY * 4).await;
    assert_eq!(counts(&world.store).await, before, "nothing has ended yet");
    world.clock.advance_secs(26 * HOUR);
    tokio::time::sleep(AGAIN + EVERY * 4).await;
    assert_eq!(counts(&world.store).await, [0, 0, 0]);
}
