//! Several nodes behind one address, and a store that fails in between: nothing that
//! was seen once is lost.

use mpp_devnet::Times;

use super::*;
use crate::testing::{Flawed, Unsteady, top_up_payload, view};

/// A world that sees the chain through nodes that need not agree.
async fn flawed() -> (World, Flawed) {
    let mut world = asked().await;
    let node = Flawed::new(world.node.clone());
    let chain = node.clone();
    world.server = world.again(|builder| builder.watch_every(NEVER).chain(chain));
    world.server.ready().await.unwrap();
    (world, node)
}

fn mine(world: &World, blocks: u32) {
    for _ in 0..blocks {
        world.node.mine();
    }
}

async fn is_requested(world: &World, terms: &ChannelTerms) -> bool {
    let record = world.record(terms.id()).await;
    matches!(record.phase, Phase::CloseRequested { .. })
}

/// A channel in service that the follower is about to read again.
async fn doubted(world: &World, protocol: SessionProtocol) -> ChannelTerms {
    let route = world.route(protocol);
    let opening = world.opening(protocol).await;
    let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
    world.node.faults().lose_responses(Times::Once);
    let decision = world.buy(&route, &payload).await;
    problem(decision, ProblemKind::ServiceUnavailable);
    served(world.buy(&route, &payload).await).await;
    opening.terms
}

// SECURITY-CASES A12: however old the doubt is.
#[tokio::test(start_paused = true)]
async fn a_close_request_is_not_taken_back_by_an_older_view_of_a_doubted_channel() {
    for protocol in BOTH {
        // One of these looks is the last that reads the doubted channel.
        for looks in 1..=13 {
            let (world, node) = flawed().await;
            let terms = doubted(&world, protocol).await;
            look(&world, looks).await;
            node.keep_view(terms.id(), view(DEPOSIT));
            world.request_close(&terms).await;
            look(&world, 1).await;
            assert!(is_requested(&world, &terms).await, "after {looks} looks");
            node.forget_views();
            look(&world, 20).await;
            assert!(is_requested(&world, &terms).await, "after {looks} looks");
        }
    }
}

// SECURITY-CASES A12: what was not shown before an outage is read after it.
#[tokio::test(start_paused = true)]
async fn the_last_block_before_a_gap_is_read_again() {
    for protocol in BOTH {
        let (world, node) = flawed().await;
        let (_, terms) = in_service(&world, protocol).await;
        node.set_logs_behind(1);
        world.request_close(&terms).await;
        look(&world, 1).await;
        assert!(!is_requested(&world, &terms).await);
        node.set_logs_behind(0);
        mine(&world, 80);
        look(&world, 2).await;
        assert!(is_requested(&world, &terms).await);
    }
}

/// A world over a store that may fail.
async fn faltering() -> (World, Unsteady) {
    let mut world = asked().await;
    let store = Unsteady::over(world.store.clone());
    let builder = world.configure(world.store.clone()).store(store.clone());
    world.server = builder.watch_every(NEVER).build().unwrap();
    world.server.ready().await.unwrap();
    (world, store)
}

// SECURITY-CASES A34: the deposit is locked, and the first to hear of it failed.
#[tokio::test(start_paused = true)]
async fn a_top_up_that_could_not_be_noted_is_credited_by_the_follower() {
    for protocol in BOTH {
        let (world, store) = faltering().await;
        let (route, terms) = in_service(&world, protocol).await;
        let signed = world.sign_top_up(&terms, 5 * PRICE, paying()).await;
        let payload = top_up_payload(&terms, signed.encode(), 5 * PRICE);
        store.fail_next_commit();
        let decision = world.manage(&route, &payload).await;
        problem(decision, ProblemKind::ServiceUnavailable);
        assert_eq!(world.record(terms.id()).await.deposit, amount(DEPOSIT));
        look(&world, 3).await;
        let deposit = world.record(terms.id()).await.deposit;
        assert_eq!(deposit, amount(DEPOSIT + 5 * PRICE));
    }
}
