//! A node that is behind what was seen of the chain: its silence says nothing.

use mpp_devnet::Times;

use super::*;
use crate::{clock::Clock as _, health::Behind};

const V1: SessionProtocol = SessionProtocol::V1;

/// A channel that the server has put into service by a receipt alone.
async fn newest(world: &World, protocol: SessionProtocol) -> (Route, ChannelTerms) {
    let (route, _) = in_service(world, protocol).await;
    let terms = world.open(&route, protocol, PRICE).await;
    spend(world, &route, &terms, 1).await;
    (route, terms)
}

#[tokio::test(start_paused = true)]
async fn a_start_behind_a_lagging_node_takes_nothing_back() {
    for protocol in BOTH {
        let mut world = asked().await;
        let (_, terms) = newest(&world, protocol).await;
        let before = world.record(terms.id()).await;
        world.server.shutdown().await;
        world.node.faults().lag_reads(1);
        world.server = world.again(|builder| builder.watch_every(NEVER));
        for _ in 0..3 {
            world.server.ready().await.unwrap_err();
            assert!(!world.server.health().is_ready());
            assert_eq!(world.record(terms.id()).await, before);
        }
        world.node.faults().lag_reads(0);
        world.server.ready().await.unwrap();
        assert!(world.server.health().is_ready());
        let route = world.route(protocol);
        spend(&world, &route, &terms, 2).await;
    }
}

// What is learned from events, and what is read, is as new as a receipt.
#[tokio::test(start_paused = true)]
async fn news_that_are_noted_before_a_crash_are_not_taken_back_after_it() {
    for protocol in BOTH {
        for by_event in [true, false] {
            let mut world = asked().await;
            let (route, terms) = in_service(&world, protocol).await;
            top_up(&world, &terms, 5 * PRICE).await;
            if by_event {
                look(&world, 1).await;
            } else {
                world.server.refresh(terms.id()).await.unwrap();
            }
            spend(&world, &route, &terms, 12).await;
            let before = world.record(terms.id()).await;
            world.node.faults().lag_reads(1);
            world.server = world.again(|builder| builder.watch_every(NEVER));
            world.server.ready().await.unwrap_err();
            assert_eq!(world.record(terms.id()).await, before);
            world.node.faults().lag_reads(0);
            world.server.ready().await.unwrap();
            assert_eq!(world.record(terms.id()).await, before);
        }
    }
}

// A v1 id can be opened by another transaction; an open whose answer was lost, and
// a node that does not show it.
#[tokio::test(start_paused = true)]
async fn an_open_is_not_given_up_on_the_word_of_a_lagging_node() {
    let mut world = asked().await;
    let (route, params) = (world.route(V1), world.params(V1));
    let first = world.sign_open(&params, paying()).await;
    let payload = first.payload(&world.voucher(&first.terms, PRICE));
    world.node.faults().lose_responses(Times::Once);
    problem(
        world.buy(&route, &payload).await,
        ProblemKind::ServiceUnavailable,
    );
    let newer = world.open(&route, V1, PRICE).await;
    world.server.shutdown().await;
    world.advance(60);
    world.node.faults().lag_reads(2);
    world.server = world.again(|builder| builder.watch_every(NEVER));
    let route = world.route(V1);
    let second = world.sign_open(&params, paying()).await;
    let payload = second.payload(&world.voucher(&second.terms, PRICE));
    problem(
        world.buy(&route, &payload).await,
        ProblemKind::ServiceUnavailable,
    );
    let record = world.record(first.terms.id()).await;
    assert!(matches!(record.phase, Phase::Opening(_)), "{record:?}");
    world.node.faults().lag_reads(0);
    world.server.ready().await.unwrap();
    spend(&world, &route, &first.terms, 1).await;
    spend(&world, &route, &newer, 1).await;
}

// Each server may have a node of its own.
#[tokio::test(start_paused = true)]
async fn what_another_server_has_seen_is_not_taken_back() {
    for protocol in BOTH {
        let world = asked().await;
        in_service(&world, protocol).await;
        let other = world.again(|builder| builder.watch_every(NEVER));
        other.ready().await.unwrap();
        let route = world.route(protocol);
        let terms = world.open(&route, protocol, PRICE).await;
        world.node.faults().lag_reads(1);
        let compared = other.reconcile().await.unwrap();
        assert_eq!(compared.contradicting, [terms.id()]);
        for _ in 0..3 {
            other.catch_up().await.unwrap();
        }
        world.node.faults().lag_reads(0);
        spend(&world, &route, &terms, 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_catch_up_is_told_of_after_a_while() {
    let mut world = asked().await;
    newest(&world, V2).await;
    world.server.shutdown().await;
    world.node.faults().lag_reads(1);
    let policy = FollowPolicy {
        behind_after: Duration::from_secs(30),
        ..FollowPolicy::default()
    };
    world.server = world.again(|builder| builder.watch_every(NEVER).follow(policy));
    let mut events = world.server.subscribe();
    let since = world.clock.now();
    let head = world.node.block_number().saturating_sub(1);
    world.server.ready().await.unwrap_err();
    assert_eq!(world.server.health().chain.behind, None);
    world.clock.advance_secs(30);
    world.server.ready().await.unwrap_err();
    let behind = Behind {
        since,
        head,
        seen: head + 1,
    };
    assert_eq!(world.server.health().chain.behind, Some(behind));
    world.server.ready().await.unwrap_err();
    let told = ServerEvent::ChainBehind(behind);
    let events: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert_eq!(events.iter().filter(|event| **event == told).count(), 1);
    world.node.faults().lag_reads(0);
    world.server.ready().await.unwrap();
    assert_eq!(world.server.health().chain.behind, None);
}
