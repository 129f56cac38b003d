//! What the follower learns, what it takes back, and what it costs.

mod closed;
mod disagreeing;
mod lag;

use std::{sync::Arc, time::Duration};

use mpp_core::problem::ProblemKind;
use mpp_devnet::{Outage, Reorged};
use mpp_tempo::{
    ChannelTerms, SessionProtocol,
    tx::{build, gas},
};

use crate::{
    FollowPolicy, Route, ServerEvent,
    session::record::{ChannelRecord, Phase, Quarantine},
    testing::{BOTH, DEPOSIT, PRICE, World, amount, key, paying, problem, served, voucher_payload},
};

const V2: SessionProtocol = SessionProtocol::V2;

/// A day: tests that need the chain's news ask for it.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// A world whose follower looks when it is asked to, and has looked once.
async fn asked() -> World {
    asked_with(|_| ()).await
}

async fn asked_with(change: impl FnOnce(&mut FollowPolicy)) -> World {
    let mut policy = FollowPolicy::default();
    change(&mut policy);
    let world = World::with(|builder| builder.watch_every(NEVER).follow(policy));
    world.server.ready().await.unwrap();
    world
}

/// A channel with one unit spent, known to the follower.
async fn in_service(world: &World, protocol: SessionProtocol) -> (Route, ChannelTerms) {
    let route = world.route(protocol);
    let terms = world.open(&route, protocol, PRICE).await;
    spend(world, &route, &terms, 1).await;
    look(world, 1).await;
    (route, terms)
}

async fn spend(world: &World, route: &Route, terms: &ChannelTerms, units: u128) {
    let payload = voucher_payload(terms, &world.voucher(terms, units.saturating_mul(PRICE)));
    served(world.buy(route, &payload).await).await;
}

async fn look(world: &World, times: u32) {
    for _ in 0..times {
        world.server.catch_up().await.unwrap();
    }
}

async fn top_up(world: &World, terms: &ChannelTerms, units: u128) {
    let signed = world.sign_top_up(terms, units, paying()).await;
    world.node.submit(&signed.encode()).unwrap();
}

async fn settle(world: &World, terms: &ChannelTerms, units: u128) {
    let context = world.context(gas::SETTLE, paying());
    let voucher = world.voucher(terms, units);
    let unsigned = build::settle(&context, terms, &voucher).unwrap();
    let signed = unsigned.sign(&key(&world.node, 0)).await.unwrap();
    world.node.submit(&signed.encode()).unwrap();
}

fn reason(record: &ChannelRecord) -> Option<Quarantine> {
    match record.phase {
        Phase::Quarantined { reason, .. } => Some(reason),
        _ => None,
    }
}

// SECURITY-CASES A14: the credit is reverted; A12: a request that is gone is gone.
#[tokio::test(start_paused = true)]
async fn a_close_request_that_is_taken_back_reopens_the_channel() {
    for protocol in BOTH {
        let world = asked().await;
        let (route, terms) = in_service(&world, protocol).await;
        world.request_close(&terms).await;
        look(&world, 1).await;
        let record = world.record(terms.id()).await;
        assert!(matches!(record.phase, Phase::CloseRequested { .. }));
        world.node.faults().reorg(1, Reorged::Lost);
        look(&world, 2).await;
        spend(&world, &route, &terms, 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_top_up_that_is_taken_back_is_not_spent_until_it_is_mined_again() {
    for protocol in BOTH {
        let world = asked().await;
        let (route, terms) = in_service(&world, protocol).await;
        let mut events = world.server.subscribe();
        top_up(&world, &terms, 5 * PRICE).await;
        look(&world, 1).await;
        spend(&world, &route, &terms, 12).await;
        world.node.faults().reorg(1, Reorged::Lost);
        look(&world, 2).await;
        let record = world.record(terms.id()).await;
        assert_eq!(reason(&record), Some(Quarantine::DepositReverted));
        assert_eq!(record.deposit, amount(DEPOSIT));
        assert_eq!(record.accepted(), amount(12 * PRICE));
        let reverted = ServerEvent::Reverted {
            channel_id: terms.id(),
            deposit: amount(DEPOSIT),
        };
        let told = std::iter::from_fn(|| events.try_recv().ok()).any(|event| event == reverted);
        assert!(told);
        let payload = voucher_payload(&terms, &world.voucher(&terms, 12 * PRICE));
        let decision = world.buy(&route, &payload).await;
        problem(decision, ProblemKind::ServiceUnavailable);
        world.advance(5);
        top_up(&world, &terms, 5 * PRICE).await;
        look(&world, 1).await;
        spend(&world, &route, &terms, 13).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_that_is_taken_back_can_be_sent_again() {
    for protocol in BOTH {
        let world = asked().await;
        let route = world.route(protocol);
        let opening = world.opening(protocol).await;
        let terms = opening.terms;
        let payload = opening.payload(&world.voucher(&terms, PRICE));
        served(world.buy(&route, &payload).await).await;
        // The follower knows of it from the receipt alone.
        world.node.faults().reorg(1, Reorged::Lost);
        look(&world, 2).await;
        let record = world.record(terms.id()).await;
        assert_eq!(reason(&record), Some(Quarantine::OpenReverted));
        assert_eq!((record.deposit, record.spent), (amount(0), amount(PRICE)));
        let voucher = voucher_payload(&terms, &world.voucher(&terms, PRICE));
        let decision = world.buy(&route, &voucher).await;
        problem(decision, ProblemKind::ServiceUnavailable);
        let payload = opening.payload(&world.voucher(&terms, 2 * PRICE));
        served(world.buy(&route, &payload).await).await;
        look(&world, 2).await;
        let record = world.record(terms.id()).await;
        assert_eq!(
            (&record.phase, record.spent),
            (&Phase::Open, amount(2 * PRICE))
        );
        assert_eq!(record.deposit, amount(DEPOSIT));
    }
}

#[tokio::test(start_paused = true)]
async fn a_settlement_and_a_close_that_are_taken_back_are_forgotten() {
    for protocol in BOTH {
        let world = asked().await;
        let (_, terms) = in_service(&world, protocol).await;
        settle(&world, &terms, PRICE).await;
        look(&world, 1).await;
        assert_eq!(world.record(terms.id()).await.settled, amount(PRICE));
        world.node.faults().reorg(1, Reorged::Lost);
        look(&world, 2).await;
        assert_eq!(world.record(terms.id()).await.settled, amount(0));
        world.request_close(&terms).await;
        world.advance(1_000);
        world.withdraw(&terms).await;
        look(&world, 1).await;
        let closed = world.record(terms.id()).await;
        assert!(matches!(closed.phase, Phase::Closed { .. }));
        world.node.faults().reorg(1, Reorged::Lost);
        look(&world, 2).await;
        let record = world.record(terms.id()).await;
        assert!(matches!(record.phase, Phase::CloseRequested { .. }));
        assert_eq!(record.accepted(), amount(PRICE));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reorganization_that_mines_the_same_again_changes_nothing() {
    for protocol in BOTH {
        let world = asked().await;
        let (route, terms) = in_service(&world, protocol).await;
        top_up(&world, &terms, 5 * PRICE).await;
        look(&world, 1).await;
        let before = world.record(terms.id()).await;
        world.node.faults().reorg(2, Reorged::Remined);
        look(&world, 3).await;
        assert_eq!(world.record(terms.id()).await, before);
        spend(&world, &route, &terms, 12).await;
    }
}

// A node that lags behind shows less, and nothing is taken back for it.
#[tokio::test(start_paused = true)]
async fn a_lagging_node_takes_nothing_back() {
    let world = asked().await;
    let (route, terms) = in_service(&world, V2).await;
    top_up(&world, &terms, 5 * PRICE).await;
    look(&world, 1).await;
    let before = world.record(terms.id()).await;
    world.node.faults().lag_reads(1);
    look(&world, 5).await;
    assert_eq!(world.record(terms.id()).await, before);
    world.node.faults().lag_reads(0);
    spend(&world, &route, &terms, 12).await;
}

// Issue: on start it catches up before the listener opens.
#[tokio::test(start_paused = true)]
async fn what_happened_while_no_server_ran_is_known_before_the_first_request() {
    for protocol in BOTH {
        let world = asked().await;
        let mut channels = Vec::new();
        for _ in 0..4 {
            channels.push(in_service(&world, protocol).await.1);
        }
        world.server.shutdown().await;
        top_up(&world, &channels[0], 500).await;
        world.request_close(&channels[1]).await;
        settle(&world, &channels[2], PRICE).await;
        world.request_close(&channels[3]).await;
        world.advance(1_000);
        world.withdraw(&channels[3]).await;
        let next = world.configured(world.store.clone());
        next.ready().await.unwrap();
        let mut found = Vec::new();
        for terms in &channels {
            found.push(next.channel(terms.id()).await.unwrap());
        }
        assert_eq!(found[0].deposit, amount(DEPOSIT + 500));
        assert!(matches!(found[1].phase, Phase::CloseRequested { .. }));
        assert_eq!(found[2].settled, amount(PRICE));
        assert!(matches!(
            found[3].phase,
            Phase::Closed {
                transaction: Some(_)
            }
        ));
    }
}

// A server that has no position yet, as before positions were kept.
#[tokio::test(start_paused = true)]
async fn a_channel_that_ended_before_every_position_is_found_ended() {
    let world = asked().await;
    let (_, terms) = in_service(&world, V2).await;
    world.server.shutdown().await;
    let copy = crate::MemoryStore::new();
    let write = crate::store::Write {
        expected: None,
        next: Arc::new(world.record(terms.id()).await),
        entry: None,
        outcome: None,
    };
    crate::ChannelStore::commit(&copy, write).await.unwrap();
    world.request_close(&terms).await;
    world.advance(1_000);
    world.withdraw(&terms).await;
    // Longer ago than what is read again at every look.
    for _ in 0..70 {
        world.node.mine();
    }
    let next = world.configured(copy);
    next.ready().await.unwrap();
    let record = next.channel(terms.id()).await.unwrap();
    assert!(matches!(
        record.phase,
        Phase::Closed {
            transaction: Some(_)
        }
    ));
}

// SECURITY-CASES A14, A28: while no server ran, the chain took something back.
#[tokio::test(start_paused = true)]
async fn a_start_quarantines_what_contradicts_the_chain() {
    for protocol in BOTH {
        let world = asked().await;
        let (route, terms) = in_service(&world, protocol).await;
        top_up(&world, &terms, 5 * PRICE).await;
        look(&world, 1).await;
        spend(&world, &route, &terms, 12).await;
        world.server.shutdown().await;
        world.node.faults().reorg(1, Reorged::Lost);
        let next = world.configured(world.store.clone());
        next.ready().await.unwrap();
        let record = next.channel(terms.id()).await.unwrap();
        assert_eq!(reason(&record), Some(Quarantine::DepositReverted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_refuses_a_node_that_is_behind_what_was_seen() {
    let world = asked().await;
    let (_, terms) = in_service(&world, V2).await;
    for _ in 0..70 {
        world.node.mine();
    }
    look(&world, 1).await;
    world.server.shutdown().await;
    world.node.faults().lag_reads(30);
    let next = world.configured(world.store.clone());
    next.ready().await.unwrap_err();
    assert!(!next.health().is_ready());
    world.node.faults().lag_reads(0);
    next.ready().await.unwrap();
    assert!(next.health().is_ready());
    let record = next.channel(terms.id()).await.unwrap();
    assert_eq!(record.phase, Phase::Open);
}

// SECURITY-CASES A12: staleness is bounded.
#[tokio::test(start_paused = true)]
async fn while_the_chain_is_not_seen_only_small_debts_are_made() {
    let cap = 3 * PRICE;
    let world = asked_with(|policy| {
        policy.unseen_after = Some(Duration::from_secs(60));
        policy.unseen_cap = amount(cap);
    })
    .await;
    let (route, terms) = in_service(&world, V2).await;
    world.node.faults().set_outage(Outage::Refusing);
    world.advance(60);
    world.server.catch_up().await.unwrap_err();
    spend(&world, &route, &terms, 2).await;
    assert!(world.server.health().is_ready());
    world.advance(1);
    assert!(!world.server.health().is_ready());
    spend(&world, &route, &terms, 3).await;
    let payload = voucher_payload(&terms, &world.voucher(&terms, 4 * PRICE));
    let decision = world.buy(&route, &payload).await;
    problem(decision, ProblemKind::ServiceUnavailable);
    world.node.faults().set_outage(Outage::None);
    look(&world, 1).await;
    spend(&world, &route, &terms, 4).await;
    assert!(world.server.health().is_ready());
}

// SECURITY-CASES A14: an exposure cap until finality.
#[tokio::test(start_paused = true)]
async fn a_deposit_that_is_not_final_is_sold_up_to_a_cap() {
    for protocol in BOTH {
        let world = asked_with(|policy| {
            policy.finality_depth = 3;
            policy.unfinal_cap = amount(PRICE);
        })
        .await;
        let route = world.route(protocol);
        let terms = world.open(&route, protocol, PRICE).await;
        spend(&world, &route, &terms, 1).await;
        let too_much = voucher_payload(&terms, &world.voucher(&terms, 2 * PRICE));
        for _ in 0..3 {
            let decision = world.buy(&route, &too_much).await;
            problem(decision, ProblemKind::ServiceUnavailable);
            world.node.mine();
            look(&world, 1).await;
        }
        // A top-up adds to what is final.
        top_up(&world, &terms, 5 * PRICE).await;
        look(&world, 1).await;
        for units in 2..=11 {
            spend(&world, &route, &terms, units).await;
        }
        let too_much = voucher_payload(&terms, &world.voucher(&terms, 12 * PRICE));
        let decision = world.buy(&route, &too_much).await;
        problem(decision, ProblemKind::ServiceUnavailable);
    }
}

// Every server over a store follows by itself, and they do not disturb each other.
#[tokio::test(start_paused = true)]
async fn two_servers_follow_over_one_store() {
    let world = asked().await;
    let other = world.configured(world.store.clone());
    let (_, terms) = in_service(&world, V2).await;
    let other_route = crate::testing::route(
        "/poem",
        other
            .session()
            .amount("0.001")
            .protocol(V2)
            .build()
            .unwrap(),
    );
    other.ready().await.unwrap();
    for round in 0..3 {
        top_up(&world, &terms, 100 + round).await;
        other.catch_up().await.unwrap();
        look(&world, 1).await;
    }
    world.node.faults().reorg(1, Reorged::Lost);
    for _ in 0..3 {
        other.catch_up().await.unwrap();
        look(&world, 1).await;
    }
    let record = world.record(terms.id()).await;
    assert_eq!(record.deposit, amount(DEPOSIT + 201));
    drop(other_route);
}

// The follower handles many open channels with at most 2 calls per poll.
#[tokio::test(start_paused = true)]
async fn a_look_takes_two_calls_however_many_channels_there_are() {
    let world = asked().await;
    let _route = world.route(V2);
    let (count, mut channels) = (channels(), Vec::new());
    for number in 0..count {
        let salt = alloy_primitives::U256::from(number).into();
        let opening = world.opening_with(salt).await;
        world.node.submit(&opening.transaction.encode()).unwrap();
        let pending = crate::testing::open_tx();
        let best = world.voucher(&opening.terms, PRICE);
        let record = ChannelRecord::opening(opening.terms, pending, best, crate::testing::now());
        let write = crate::store::Write {
            expected: None,
            next: Arc::new(record),
            entry: None,
            outcome: None,
        };
        crate::ChannelStore::commit(&world.store, write)
            .await
            .unwrap();
        channels.push(opening.terms);
    }
    let counted = |calls: u64| world.node.client_calls() - calls;
    let calls = world.node.client_calls();
    look(&world, 1).await;
    assert!(counted(calls) <= 2, "{}", counted(calls));
    for terms in [&channels[0], &channels[count - 1]] {
        assert_eq!(world.record(terms.id()).await.phase, Phase::Open);
    }
    for (terms, units) in channels.iter().step_by(100).zip(1..) {
        top_up(&world, terms, units).await;
    }
    world.request_close(&channels[7]).await;
    let calls = world.node.client_calls();
    look(&world, 1).await;
    assert_eq!(counted(calls), 2);
    let record = world.record(channels[7].id()).await;
    assert!(matches!(record.phase, Phase::CloseRequested { .. }));
    let calls = world.node.client_calls();
    look(&world, 1).await;
    assert_eq!(counted(calls), 1);
    // After a restart all of them are compared, page by page.
    let next = world.configured(world.store.clone());
    let calls = world.node.client_calls();
    next.ready().await.unwrap();
    let pages = u64::try_from(count.div_ceil(256)).unwrap();
    assert!(counted(calls) <= pages + 4, "{}", counted(calls));
}

/// 1,000, or as many as `MPP_FOLLOW_CHANNELS` says.
fn channels() -> usize {
    let asked = std::env::var("MPP_FOLLOW_CHANNELS");
    asked.map_or(1_000, |count| count.parse().unwrap())
}
