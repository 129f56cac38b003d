//! A close that is taken back when nobody looks at closed channels any more.

use super::*;
use crate::{
    SettlePolicy,
    testing::{close_payload, managed},
};

/// A world that looks and collects when it is asked to.
async fn by_hand() -> World {
    let world = World::with(configured);
    world.server.ready().await.unwrap();
    world
}

fn configured(
    builder: crate::server::Builder<crate::MemoryStore>,
) -> crate::server::Builder<crate::MemoryStore> {
    builder.watch_every(NEVER).settlement(SettlePolicy {
        every: NEVER,
        ..SettlePolicy::on_demand()
    })
}

/// A channel with three of five authorized units spent, closed by its payer.
async fn closed(world: &World, protocol: SessionProtocol) -> ChannelTerms {
    let route = world.route(protocol);
    let terms = world.open(&route, protocol, 5 * PRICE).await;
    let payload = voucher_payload(&terms, &world.voucher(&terms, 5 * PRICE));
    for _ in 0..3 {
        served(world.buy(&route, &payload).await).await;
    }
    let close = close_payload(&terms, &world.voucher(&terms, 3 * PRICE));
    managed(world.manage(&route, &close).await);
    look(world, 1).await;
    assert!(is_closed(world, &terms).await);
    terms
}

async fn is_closed(world: &World, terms: &ChannelTerms) -> bool {
    let record = world.record(terms.id()).await;
    matches!(record.phase, Phase::Closed { .. })
}

fn mine(world: &World, blocks: u32) {
    for _ in 0..blocks {
        world.node.mine();
    }
}

/// Nothing is sold, and the next look at what is to be collected closes it, once.
async fn is_closed_again(world: &World, terms: &ChannelTerms) {
    let record = world.record(terms.id()).await;
    let Phase::Closing {
        capture,
        sent: None,
        ..
    } = record.phase
    else {
        panic!("{:?}", record.phase);
    };
    assert_eq!((capture, record.settled), (amount(3 * PRICE), amount(0)));
    let route = world.route(terms.protocol);
    let payload = voucher_payload(terms, &world.voucher(terms, 5 * PRICE));
    problem(
        world.buy(&route, &payload).await,
        ProblemKind::ChannelFinalized,
    );
    let before = world.node.transactions_mined();
    for _ in 0..5 {
        world.advance(11);
        world.server.collect().await.unwrap();
        look(world, 1).await;
    }
    let mined = world.node.transactions_mined().checked_sub(before);
    assert_eq!(mined, Some(1));
    assert!(is_closed(world, terms).await);
    let record = world.record(terms.id()).await;
    assert_eq!(record.settled, amount(3 * PRICE));
}

fn reverted(
    events: &mut tokio::sync::broadcast::Receiver<ServerEvent>,
    terms: &ChannelTerms,
) -> usize {
    let told = ServerEvent::CloseReverted {
        channel_id: terms.id(),
        unsettled: amount(3 * PRICE),
    };
    let events = std::iter::from_fn(|| events.try_recv().ok());
    events.filter(|event| *event == told).count()
}

// SECURITY-CASES A14, A34: deeper than what is read again at every look.
#[tokio::test(start_paused = true)]
async fn a_close_that_vanishes_while_no_server_runs_is_made_again() {
    for protocol in BOTH {
        let mut world = by_hand().await;
        let terms = closed(&world, protocol).await;
        world.server.shutdown().await;
        world.advance(120);
        mine(&world, 70);
        world.node.faults().reorg(71, Reorged::Lost);
        world.server = world.again(configured);
        let mut events = world.server.subscribe();
        world.server.ready().await.unwrap();
        assert_eq!(reverted(&mut events, &terms), 1);
        is_closed_again(&world, &terms).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deep_reorganization_has_closed_channels_compared() {
    for protocol in BOTH {
        let world = by_hand().await;
        let terms = closed(&world, protocol).await;
        mine(&world, 70);
        let route = world.route(protocol);
        world.open(&route, protocol, PRICE).await;
        look(&world, 1).await;
        world.advance(120);
        let mut events = world.server.subscribe();
        world.node.faults().reorg(72, Reorged::Lost);
        look(&world, 2).await;
        assert_eq!(reverted(&mut events, &terms), 1);
        is_closed_again(&world, &terms).await;
    }
}

// Its transaction goes back to the pool; another one would be in vain.
#[tokio::test(start_paused = true)]
async fn a_close_that_may_be_mined_again_is_waited_for() {
    for protocol in BOTH {
        let mut world = by_hand().await;
        let terms = closed(&world, protocol).await;
        world.server.shutdown().await;
        world.node.faults().reorg(1, Reorged::Lost);
        world.server = world.again(configured);
        world.server.ready().await.unwrap();
        world.advance(59);
        look(&world, 20).await;
        assert!(is_closed(&world, &terms).await);
        world.advance(1);
        look(&world, 1).await;
        is_closed_again(&world, &terms).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lagging_node_opens_no_closed_channel() {
    for protocol in BOTH {
        let mut world = by_hand().await;
        let terms = closed(&world, protocol).await;
        let before = world.record(terms.id()).await;
        world.server.shutdown().await;
        world.advance(120);
        world.node.faults().lag_reads(1);
        world.server = world.again(configured);
        world.server.ready().await.unwrap_err();
        assert_eq!(world.record(terms.id()).await, before);
        world.node.faults().lag_reads(0);
        world.server.ready().await.unwrap();
        look(&world, 3).await;
        assert_eq!(world.record(terms.id()).await, before);
    }
}

// Longer ago nobody asks: the history of a store does not slow its start.
#[tokio::test(start_paused = true)]
async fn what_was_closed_long_ago_is_not_compared() {
    let mut world = by_hand().await;
    let terms = closed(&world, V2).await;
    world.server.shutdown().await;
    world.advance(24 * 60 * 60 + 1);
    world.server = world.again(configured);
    let calls = world.node.client_calls();
    world.server.ready().await.unwrap();
    assert_eq!(world.node.client_calls() - calls, 1);
    assert!(is_closed(&world, &terms).await);
}

// Then an operator has all of them looked at.
#[tokio::test(start_paused = true)]
async fn a_rescue_finds_what_was_taken_back_long_ago() {
    for protocol in BOTH {
        let mut world = by_hand().await;
        let terms = closed(&world, protocol).await;
        world.server.shutdown().await;
        world.advance(24 * 60 * 60 + 1);
        world.node.faults().reorg(1, Reorged::Lost);
        world.server = world.again(configured);
        let _route = world.route(protocol);
        world.server.ready().await.unwrap();
        assert!(is_closed(&world, &terms).await);
        let found = world.server.rescue(crate::Rescue::Look).await.unwrap();
        assert_eq!(found.len(), 1);
        look(&world, 2).await;
        is_closed_again(&world, &terms).await;
    }
}
