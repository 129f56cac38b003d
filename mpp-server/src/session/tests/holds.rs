//! Holds over time, and what a restored backup does.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use mpp_core::problem::ProblemKind;
use mpp_tempo::{
    SessionProtocol,
    tx::{build, build::OpenParams, gas},
};

use crate::{
    MemoryStore, Rejection, ServerEvent,
    error::Failure,
    gate::Grant,
    session::{
        record::{ChannelRecord, Phase, Quarantine},
        reserve::Reservation,
    },
    store::{ChannelStore as _, Scan, Which, Write},
    testing::{
        BOTH, PRICE, Unsteady, World, amount, granted, managed, paying, problem, served,
        voucher_payload,
    },
};

const V2: SessionProtocol = SessionProtocol::V2;

/// Lets time pass for clock and timers, in steps that timers notice.
async fn pass(world: &World, seconds: u32) {
    for _ in 0..seconds {
        world.clock.advance_secs(1);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

// A request may take longer than the lease: its hold is extended while it is served.
#[tokio::test(start_paused = true)]
async fn a_long_request_keeps_its_hold() {
    let world = World::new();
    let route = world.route(V2);
    let terms = world.open(&route, V2, 0).await;
    let payload = voucher_payload(&terms, &world.voucher(&terms, PRICE));
    let grant = granted(world.buy(&route, &payload).await);
    pass(&world, 200).await;
    let short = world.buy(&route, &payload).await;
    problem(short, ProblemKind::InsufficientBalance);
    grant.capture(None).await.unwrap();
    assert_eq!(world.record(terms.id()).await.spent, amount(PRICE));
}

// A process that is gone extends nothing: what it held is free again after the lease.
#[tokio::test(start_paused = true)]
async fn a_crash_charges_nothing_and_its_hold_lapses() {
    let mut world = World::new();
    let route = world.route(V2);
    let terms = world.open(&route, V2, 0).await;
    let payload = voucher_payload(&terms, &world.voucher(&terms, PRICE));
    let grant = granted(world.buy(&route, &payload).await);
    std::mem::forget(grant);
    world.server = world.again(|builder| builder);
    let route = world.route(V2);
    problem(
        world.buy(&route, &payload).await,
        ProblemKind::InsufficientBalance,
    );
    pass(&world, 31).await;
    served(world.buy(&route, &payload).await).await;
    assert_eq!(world.record(terms.id()).await.spent, amount(PRICE));
}

// However many requests take long, and however slow the store is: all holds are extended in time.
#[tokio::test(start_paused = true)]
async fn many_long_requests_keep_their_holds() {
    let (world, store) = World::on_slow_store();
    let route = world.route(V2);
    let mut grants = Vec::new();
    for _ in 0..3 {
        let params = OpenParams {
            deposit: amount(200 * PRICE),
            ..world.params(V2)
        };
        let opening = world.sign_open(&params, paying()).await;
        let first = world.voucher(&opening.terms, 200 * PRICE);
        for _ in 0..200 {
            grants.push(granted(world.buy(&route, &opening.payload(&first)).await));
        }
    }
    store.take(Duration::from_millis(50));
    pass(&world, 60).await;
    store.take(Duration::ZERO);
    for grant in grants {
        grant.capture(None).await.unwrap();
    }
}

// The open took longer than a lease. The request that it was sent with begins now.
#[tokio::test(start_paused = true)]
async fn a_hold_counts_from_when_it_is_made() {
    let (world, store) = World::on_slow_store();
    let route = world.route(V2);
    let opening = world.opening(V2).await;
    let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
    // Three commits come before the hold is there: twice of the channel, once of the hold.
    store.take(Duration::from_secs(12));
    let (decision, ()) = tokio::join!(world.buy(&route, &payload), pass(&world, 36));
    store.take(Duration::ZERO);
    assert_eq!(served(decision).await.spent, amount(PRICE));
}

/// A request with a reservation, on a store whose commits take a while.
async fn reserved() -> (World, Unsteady, Grant, Reservation) {
    let (world, store) = World::on_slow_store();
    let route = world.route(V2);
    let terms = world.open(&route, V2, 0).await;
    let payload = voucher_payload(&terms, &world.voucher(&terms, 3 * PRICE));
    let grant = granted(world.buy(&route, &payload).await);
    let tab = Arc::clone(grant.tab().unwrap());
    let reservation = tab.reserve(amount(2 * PRICE)).await.unwrap();
    store.take(Duration::from_millis(50));
    (world, store, grant, reservation)
}

async fn only_record(world: &World) -> Arc<ChannelRecord> {
    let scan = Scan {
        which: Which::All,
        after: None,
        limit: 2,
    };
    let mut found = world.store.scan(scan).await.unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0).record
}

// A task that feeds the body can not know when the head leaves: the cost may be known before.
#[tokio::test(start_paused = true)]
async fn a_cost_that_is_known_before_the_head_leaves_withholds_nothing() {
    for wait in [0, 1, 100] {
        let (world, _store, grant, reservation) = reserved().await;
        let mut finishing = Box::pin(reservation.finish(amount(2 * PRICE), 2));
        assert!(finishing.as_mut().now_or_never().is_none());
        tokio::time::sleep(Duration::from_millis(wait)).await;
        grant.capture(None).await.unwrap();
        let receipt = finishing.await.unwrap();
        assert_eq!((receipt.spent, receipt.units), (amount(2 * PRICE), Some(2)));
        let record = only_record(&world).await;
        assert_eq!((record.spent, record.holds.len()), (amount(2 * PRICE), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cost_that_is_known_as_the_head_leaves_is_charged() {
    let (world, _store, grant, reservation) = reserved().await;
    // As `Grant::capture` does, with the reservation between its two steps.
    let tab = Arc::clone(grant.tab().unwrap());
    tab.serve(None).await.unwrap();
    let mut finishing = Box::pin(reservation.finish(amount(2 * PRICE), 2));
    assert!(finishing.as_mut().now_or_never().is_none());
    drop(grant);
    assert_eq!(finishing.await.unwrap().spent, amount(2 * PRICE));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(only_record(&world).await.spent, amount(2 * PRICE));
}

// A dropped grant gives its hold back at once, on a task of the server.
#[tokio::test(start_paused = true)]
async fn a_dropped_grant_is_released() {
    let world = World::new();
    let route = world.route(V2);
    let terms = world.open(&route, V2, 0).await;
    let payload = voucher_payload(&terms, &world.voucher(&terms, PRICE));
    for _ in 0..3 {
        drop(granted(world.buy(&route, &payload).await));
        // Tasks that are ready run before this ends.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let record = world.record(terms.id()).await;
    assert!(record.spent.is_zero() && record.holds.is_empty());
}

// SECURITY-CASES A28: an old backup does not know the voucher that was settled.
#[tokio::test(start_paused = true)]
async fn a_restored_backup_is_quarantined_at_the_start() {
    for protocol in BOTH {
        let mut world = World::new();
        let route = world.route(protocol);
        let terms = world.open(&route, protocol, 0).await;
        let payload =
            |prices: u128| voucher_payload(&terms, &world.voucher(&terms, prices * PRICE));
        served(world.buy(&route, &payload(1)).await).await;
        let backup = world.record(terms.id()).await;
        served(world.buy(&route, &payload(3)).await).await;
        let context = world.context(gas::SETTLE, paying());
        let settle = build::settle(&context, &terms, &world.voucher(&terms, 3 * PRICE)).unwrap();
        let signed = settle
            .sign(&crate::testing::key(&world.node, 0))
            .await
            .unwrap();
        world.node.submit(&signed.encode()).unwrap();
        let (third, fifth) = (payload(3), payload(5));

        // The server starts over the backup.
        let store = MemoryStore::new();
        let write = Write {
            expected: None,
            next: Arc::new(backup),
            entry: None,
            outcome: None,
        };
        store.commit(write).await.unwrap();
        world.server = world.configured(store);
        let route = world.route(protocol);
        let mut events = world.server.subscribe();
        let found = world.server.reconcile().await.unwrap();
        assert_eq!((found.channels, found.quarantined), (1, vec![terms.id()]));
        assert_eq!(
            events.recv().await.unwrap(),
            ServerEvent::Quarantined {
                channel_id: terms.id(),
                reason: Quarantine::SettledAboveAccepted,
            }
        );
        problem(
            world.buy(&route, &fifth).await,
            ProblemKind::ServiceUnavailable,
        );
        let refused = world.server.reinstate(terms.id()).await;
        assert!(matches!(
            refused,
            Err(Failure::Rejected(Rejection::Quarantined { .. }))
        ));

        // The payer's voucher proves the lost history; the operator lets it back.
        managed(world.manage(&route, &third).await);
        let record = world.server.reinstate(terms.id()).await.unwrap();
        assert_eq!(record.phase, Phase::Open);
        assert_eq!(record.spent, amount(3 * PRICE));
        let receipt = served(world.buy(&route, &fifth).await).await;
        assert_eq!(receipt.spent, amount(4 * PRICE));
    }
}
