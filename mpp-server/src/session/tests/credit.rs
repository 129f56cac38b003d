//! Giving back what a session was charged, before it is collected.

use std::time::Duration;

use mpp_core::Amount;
use mpp_tempo::SessionProtocol;

use crate::{
    Failure, Rejection, ServerEvent, SettlePolicy,
    session::record::LedgerKind,
    testing::{
        BOTH, Flawed, PRICE, Unsteady, World, amount, close_payload, ledger, managed, served,
        voucher_payload,
    },
};

const V2: SessionProtocol = SessionProtocol::V2;

#[track_caller]
fn too_large(result: Result<crate::session::record::ChannelRecord, Failure>, most: u128) {
    match result {
        Err(Failure::Rejected(Rejection::CreditTooLarge { most: left, .. })) => {
            assert_eq!(left, amount(most));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn credited_money_can_be_spent_again_and_is_not_collected() {
    let world = World::new();
    let route = world.route(V2);
    let terms = world.open(&route, V2, 0).await;
    let payload = voucher_payload(&terms, &world.voucher(&terms, 2 * PRICE));
    for _ in 0..2 {
        served(world.buy(&route, &payload).await).await;
    }
    let mut events = world.server.subscribe();
    let record = world
        .server
        .credit(terms.id(), amount(PRICE))
        .await
        .unwrap();
    assert_eq!(record.spent, amount(PRICE));
    let told = events.try_recv().unwrap();
    assert!(matches!(told, ServerEvent::Credited { amount: units, .. } if units == amount(PRICE)));
    // The same voucher pays for one more.
    served(world.buy(&route, &payload).await).await;
    world.server.credit(terms.id(), amount(500)).await.unwrap();

    let entries = ledger(&world.store, terms.id()).await;
    let sum = |kind| -> u128 {
        let entries = entries.iter().filter(|entry| entry.kind == kind);
        entries.map(|entry| entry.cost.base_units()).sum()
    };
    assert_eq!(sum(LedgerKind::Charged), 3 * PRICE);
    assert_eq!(sum(LedgerKind::Credited), PRICE + 500);

    let owed = world.record(terms.id()).await.spent;
    let before = world.balance(world.payee());
    let close = close_payload(&terms, &world.voucher(&terms, 2 * PRICE));
    managed(world.manage(&route, &close).await);
    let record = world.record(terms.id()).await;
    assert_eq!((record.settled, owed), (owed, amount(2 * PRICE - 500)));
    // The payee paid the fee of the close.
    assert!(world.balance(world.payee()) <= before + owed.base_units());
}

#[tokio::test(start_paused = true)]
async fn no_more_is_credited_than_was_charged() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        let terms = world.open(&route, protocol, 0).await;
        too_large(world.server.credit(terms.id(), amount(1)).await, 0);
        let payload = voucher_payload(&terms, &world.voucher(&terms, PRICE));
        served(world.buy(&route, &payload).await).await;
        too_large(
            world.server.credit(terms.id(), amount(PRICE + 1)).await,
            PRICE,
        );
        too_large(world.server.credit(terms.id(), Amount::ZERO).await, PRICE);
        world
            .server
            .credit(terms.id(), amount(PRICE))
            .await
            .unwrap();
        assert_eq!(world.record(terms.id()).await.spent, Amount::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_collected_is_not_credited() {
    let world = World::new();
    let route = world.route(V2);
    let terms = world.open(&route, V2, 0).await;
    let voucher = world.voucher(&terms, 2 * PRICE);
    let payload = voucher_payload(&terms, &voucher);
    for _ in 0..2 {
        served(world.buy(&route, &payload).await).await;
    }
    // The payee has collected a part of it on chain.
    world.settle(&terms, &world.voucher(&terms, PRICE)).await;
    too_large(
        world.server.credit(terms.id(), amount(PRICE + 1)).await,
        PRICE,
    );
    world
        .server
        .credit(terms.id(), amount(PRICE))
        .await
        .unwrap();
}

// ARCHITECTURE, invariant 7: nothing above what was spent is settled, whatever is
// credited while a settlement begins.
#[tokio::test(start_paused = true)]
async fn what_is_about_to_be_collected_is_not_credited() {
    let mut world = World::new();
    let node = Flawed::new(world.node.clone());
    let chain = node.clone();
    world.server = world.again(|builder| {
        builder.chain(chain).settlement(SettlePolicy {
            every: Duration::from_secs(1_000_000),
            ..SettlePolicy::on_demand()
        })
    });
    world.advance(30);
    let route = world.route(V2);
    let terms = world.open(&route, V2, 0).await;
    let payload = voucher_payload(&terms, &world.voucher(&terms, 2 * PRICE));
    for _ in 0..2 {
        served(world.buy(&route, &payload).await).await;
    }
    // One call tells what a settlement costs, the next one waits: it is for the
    // transaction whose amounts are known by then.
    node.allow_fees(1);
    let credited = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let credited = world.server.credit(terms.id(), amount(PRICE)).await;
        node.allow_fees(100);
        credited
    };
    let (collected, credited) = tokio::join!(world.server.settle(), credited);
    assert!(collected.unwrap().leading);
    credited.unwrap();
    let record = world.record(terms.id()).await;
    let paid = world.on_chain(&terms).unwrap().settled;
    assert!(
        record.settled <= record.spent && paid <= record.spent,
        "{record:?}"
    );
}

// As before, and the store takes its time for the credit: one of both sees the other.
#[tokio::test(start_paused = true)]
async fn a_credit_that_is_being_stored_and_a_settlement_see_each_other() {
    // Whether whatever the collector writes takes as long.
    for both_take_long in [true, false] {
        let mut world = World::new();
        let store = Unsteady::over(world.store.clone());
        let builder = world.configure(world.store.clone()).store(store.clone());
        let policy = SettlePolicy {
            every: Duration::from_secs(1_000_000),
            finality: 3,
            ..SettlePolicy::on_demand()
        };
        world.server = builder.settlement(policy).build().unwrap();
        world.advance(30);
        let route = world.route(V2);
        let terms = world.open(&route, V2, 0).await;
        let payload = voucher_payload(&terms, &world.voucher(&terms, 2 * PRICE));
        for _ in 0..2 {
            served(world.buy(&route, &payload).await).await;
        }
        store.take(Duration::from_secs(3));
        let settled = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if !both_take_long {
                store.take(Duration::ZERO);
            }
            world.server.settle().await
        };
        let (credited, settled) =
            tokio::join!(world.server.credit(terms.id(), amount(PRICE)), settled);
        settled.unwrap();
        let record = world.record(terms.id()).await;
        let paid = world.on_chain(&terms).unwrap().settled;
        assert!(paid <= record.spent, "{paid} {record:?}");
        assert_eq!(credited.is_ok(), record.spent == amount(PRICE));
        assert_eq!(credited.is_ok(), both_take_long);
    }
}
