//! What was earned is collected: in time, once, and whatever fails on the way.

use std::time::Duration;

use mpp_core::problem::ProblemKind;
use mpp_devnet::{DevnetConfig, Outage, Reorged, Times};
use mpp_tempo::{ChannelTerms, SessionProtocol, network::PATH_USD};

use crate::{
    Fault, PaymentServer, Route, ServerEvent, SettlePolicy,
    gate::Purpose,
    session::record::Phase,
    settle::{Collected, FeeLimits, OnShutdown},
    store::{ChannelStore as _, DocumentKind, DocumentPage},
    testing::{
        BOTH, DEPOSIT, Flawed, PRICE, World, amount, close_payload, managed, problem, served,
        voucher_payload,
    },
};

const V1: SessionProtocol = SessionProtocol::V1;
const V2: SessionProtocol = SessionProtocol::V2;

const SETTLE_V1: [u8; 4] = [0x51, 0x6d, 0x3b, 0x88];
const SETTLE_V2: [u8; 4] = [0x97, 0xfb, 0x51, 0x04];
const CLOSE_V1: [u8; 4] = [0x0d, 0x65, 0xc5, 0x1d];
const CLOSE_V2: [u8; 4] = [0x73, 0xb5, 0x7f, 0x74];

fn settle_selector(protocol: SessionProtocol) -> [u8; 4] {
    match protocol {
        V1 => SETTLE_V1,
        V2 => SETTLE_V2,
    }
}

fn close_selector(protocol: SessionProtocol) -> [u8; 4] {
    match protocol {
        V1 => CLOSE_V1,
        V2 => CLOSE_V2,
    }
}

/// Timers that never run by themselves: the tests look when they want to.
fn by_hand(policy: SettlePolicy) -> SettlePolicy {
    SettlePolicy {
        every: Duration::from_secs(1_000_000),
        scan_every: Duration::from_secs(1),
        ..policy
    }
}

fn quiet(policy: SettlePolicy) -> World {
    World::with(|builder| {
        builder
            .settlement(by_hand(policy))
            .watch_every(Duration::from_secs(1_000_000))
    })
}

/// The same server again, as after a restart.
fn restarted(world: &World, policy: SettlePolicy) -> PaymentServer {
    world.again(|builder| {
        builder
            .settlement(by_hand(policy))
            .watch_every(Duration::from_secs(1_000_000))
    })
}

/// A channel on which some units are paid exactly.
async fn earned(
    world: &World,
    route: &Route,
    protocol: SessionProtocol,
    units: u128,
) -> ChannelTerms {
    let terms = world.open(route, protocol, 0).await;
    for unit in 1..=units {
        let payload = voucher_payload(&terms, &world.voucher(&terms, unit.saturating_mul(PRICE)));
        served(world.buy(route, &payload).await).await;
    }
    terms
}

/// The payer asks the chain to close, and the server hears of it.
async fn requested(world: &World, terms: &ChannelTerms) {
    world.request_close(terms).await;
    world.server.refresh(terms.id()).await.unwrap();
}

async fn look(world: &World) -> Collected {
    world.advance(1);
    world.server.collect().await.unwrap()
}

fn settled(world: &World, terms: &ChannelTerms) -> u128 {
    let on_chain = world.on_chain(terms);
    on_chain.map_or(0, |channel| channel.settled.base_units())
}

async fn is_closed(world: &World, terms: &ChannelTerms) -> bool {
    let record = world.record(terms.id()).await;
    matches!(
        record.phase,
        Phase::Closed {
            transaction: Some(_)
        }
    )
}

fn events(events: &mut tokio::sync::broadcast::Receiver<ServerEvent>) -> Vec<ServerEvent> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

// No request arrives: the timer does it.
#[tokio::test(start_paused = true)]
async fn limits_are_kept_in_the_background() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let limits = [
        SettlePolicy {
            channel_amount: Some(amount(3 * PRICE)),
            ..SettlePolicy::on_demand()
        },
        SettlePolicy {
            units: Some(3),
            ..SettlePolicy::on_demand()
        },
        SettlePolicy {
            age: seconds(600),
            ..SettlePolicy::on_demand()
        },
    ];
    for protocol in BOTH {
        for policy in limits.clone() {
            let world = World::with(|builder| builder.settlement(policy));
            let route = world.route(protocol);
            let terms = earned(&world, &route, protocol, 2).await;
            tokio::time::sleep(Duration::from_secs(61)).await;
            assert_eq!(settled(&world, &terms), 0);
            let payload = voucher_payload(&terms, &world.voucher(&terms, 3 * PRICE));
            served(world.buy(&route, &payload).await).await;
            world.advance(600);
            tokio::time::sleep(Duration::from_secs(61)).await;
            assert_eq!(settled(&world, &terms), 3 * PRICE);
            let record = world.record(terms.id()).await;
            assert_eq!(record.settled, amount(3 * PRICE));
            assert_eq!(record.phase, Phase::Open);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_channel_is_closed_and_the_rest_goes_back() {
    for protocol in BOTH {
        let policy = SettlePolicy {
            idle_close: Some(Duration::from_secs(3_600)),
            ..SettlePolicy::on_demand()
        };
        let world = World::with(|builder| builder.settlement(policy));
        let route = world.route(protocol);
        let terms = earned(&world, &route, protocol, 2).await;
        let payer = world.balance(terms.descriptor.payer);
        world.advance(3_600);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert!(is_closed(&world, &terms).await);
        let refund = world.balance(terms.descriptor.payer) - payer;
        assert_eq!(refund, DEPOSIT - 2 * PRICE);
    }
}

// SECURITY-CASES A12: the best voucher goes on chain, and what was spent is captured.
#[tokio::test(start_paused = true)]
async fn a_close_request_is_answered_at_once() {
    for protocol in BOTH {
        let world = quiet(SettlePolicy::on_demand());
        let route = world.route(protocol);
        let terms = earned(&world, &route, protocol, 3).await;
        look(&world).await;
        let mut receiver = world.server.subscribe();
        requested(&world, &terms).await;
        let deadlines = world.server.deadlines();
        assert_eq!(deadlines.channels, 0);
        let collected = look(&world).await;
        assert_eq!((collected.begun, collected.done), (1, 1));
        assert!(is_closed(&world, &terms).await);
        let record = world.record(terms.id()).await;
        assert_eq!(record.settled, amount(3 * PRICE));
        let told = events(&mut receiver);
        let ran = |event: &ServerEvent| matches!(event, ServerEvent::DeadlineRuns { .. });
        assert!(told.iter().any(ran));
        let left = told.iter().find_map(|event| match event {
            ServerEvent::Collected { left, .. } => Some(left.unwrap().as_secs()),
            _ => None,
        });
        assert_eq!(left, Some(899));
    }
}

// PROTOCOL 5.4: v2 captures what was spent out of a larger voucher; the v1 contract
// pays a voucher in full, so there the best one that was delivered is settled.
#[tokio::test(start_paused = true)]
async fn nothing_above_what_was_delivered_is_collected() {
    for protocol in BOTH {
        let world = quiet(SettlePolicy::on_demand());
        let route = world.route(protocol);
        let terms = earned(&world, &route, protocol, 2).await;
        let ahead = voucher_payload(&terms, &world.voucher(&terms, 9 * PRICE));
        served(world.buy(&route, &ahead).await).await;
        assert_eq!(world.record(terms.id()).await.spent, amount(3 * PRICE));
        let earned_before = world.balance(world.payee());
        let collected = world.server.settle().await.unwrap();
        assert_eq!(collected.done, 1);
        assert_eq!(settled(&world, &terms), 2 * PRICE);
        assert!(world.balance(world.payee()) <= earned_before + 2 * PRICE);
        requested(&world, &terms).await;
        look(&world).await;
        match protocol {
            V1 => assert_eq!(settled(&world, &terms), 2 * PRICE),
            V2 => {
                let record = world.record(terms.id()).await;
                assert_eq!(record.settled, amount(3 * PRICE));
                assert!(is_closed(&world, &terms).await);
            }
        }
    }
}

// SECURITY-CASES A34: whatever is recorded is taken on after a restart.
#[tokio::test(start_paused = true)]
async fn a_restart_at_any_moment_loses_nothing() {
    for protocol in BOTH {
        for calls in 1..12 {
            let world = quiet(SettlePolicy::on_demand());
            let route = world.route(protocol);
            let terms = earned(&world, &route, protocol, 3).await;
            requested(&world, &terms).await;
            // The server dies in its `calls`th call to the chain.
            let before = world.node.client_calls();
            let server = world.server.clone();
            let dying = async {
                for _ in 0..3 {
                    drop(server.collect().await);
                }
            };
            // Everything is ready at once on this chain, so each call is a few
            // polls; a look that is over before ends the wait, too.
            let watching = async {
                for _ in 0..1_000 {
                    if world.node.client_calls() >= before + calls {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                () = watching => {}
                () = dying => {}
            }
            drop(server);
            let next = restarted(&world, SettlePolicy::on_demand());
            world.advance(12);
            for _ in 0..4 {
                world.advance(2);
                next.collect().await.unwrap();
            }
            let record = next.channel(terms.id()).await.unwrap();
            assert!(
                matches!(record.phase, Phase::Closed { .. }),
                "{calls}: {:?}",
                record.phase
            );
            assert_eq!(record.settled, amount(3 * PRICE));
        }
    }
}

// SECURITY-CASES A33: sent again, for more, once it can not be mined any more; never two at a time.
#[tokio::test(start_paused = true)]
async fn a_dropped_answer_is_sent_again_when_the_first_is_over() {
    for protocol in BOTH {
        let world = quiet(SettlePolicy::on_demand());
        let route = world.route(protocol);
        let terms = earned(&world, &route, protocol, 3).await;
        requested(&world, &terms).await;
        world.node.faults().drop_transactions(Times::Always);
        look(&world).await;
        assert!(!is_closed(&world, &terms).await);
        let first = sent_hash(&world, &terms).await;
        look(&world).await;
        assert_eq!(sent_hash(&world, &terms).await, first);
        world.node.faults().clear();
        world.advance(40);
        world.node.mine();
        for _ in 0..3 {
            look(&world).await;
        }
        assert!(is_closed(&world, &terms).await);
        let Phase::Closed { transaction } = world.record(terms.id()).await.phase else {
            panic!("not closed");
        };
        assert_ne!(transaction, first);
        assert!(world.node.receipt(first.unwrap()).is_none());
    }
}

async fn sent_hash(world: &World, terms: &ChannelTerms) -> Option<alloy_primitives::B256> {
    match world.record(terms.id()).await.phase {
        Phase::Closing { sent, .. } => sent.map(|sent| sent.hash),
        _ => None,
    }
}

// SECURITY-CASES A12: ten minutes without a node, most of them after the request.
#[tokio::test(start_paused = true)]
async fn an_outage_delays_the_answer_and_raises_an_alarm() {
    let world = quiet(SettlePolicy::on_demand());
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 3).await;
    let mut receiver = world.server.subscribe();
    requested(&world, &terms).await;
    world.node.faults().set_outage(Outage::Refusing);
    for _ in 0..62 {
        world.advance(10);
        assert!(world.server.collect().await.is_err());
    }
    let deadlines = world.server.deadlines();
    assert_eq!(
        (deadlines.channels, deadlines.unsettled),
        (1, amount(3 * PRICE))
    );
    assert_eq!(deadlines.least_left, Some(Duration::from_secs(280)));
    let told = events(&mut receiver);
    let alarms = told.iter().filter(
        |event| matches!(event, ServerEvent::DeadlineNear { left, .. } if left.as_secs() == 300),
    );
    assert_eq!(alarms.count(), 1);
    world.node.faults().clear();
    world.advance(20);
    for _ in 0..3 {
        look(&world).await;
    }
    assert!(is_closed(&world, &terms).await);
    assert_eq!(world.server.deadlines().channels, 0);
}

// One bad channel does not block the others: halves find it (SECURITY-CASES A29).
#[tokio::test(start_paused = true)]
async fn a_frozen_payer_does_not_hold_up_others() {
    let world = quiet(SettlePolicy {
        blocked_exposure: amount(PRICE),
        ..SettlePolicy::on_demand()
    });
    let route = world.route(V2);
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(earned(&world, &route, V2, 2).await);
    }
    let frozen = world.by_stranger(&route, V2, 2).await;
    world.node.freeze(frozen.descriptor.payer);
    world.server.settle().await.unwrap();
    for _ in 0..6 {
        look(&world).await;
    }
    for terms in &all {
        assert_eq!(settled(&world, terms), 2 * PRICE);
        assert_eq!(world.record(terms.id()).await.settled, amount(2 * PRICE));
    }
    assert_eq!(settled(&world, &frozen), 0);
    // Nothing more is sold on what can not be collected.
    let payload = voucher_payload(&frozen, &world.stranger_voucher(&frozen, 3 * PRICE));
    let refused = world.buy(&route, &payload).await;
    problem(refused, ProblemKind::ServiceUnavailable);
    // Others go on buying and settling.
    let payload = voucher_payload(&all[0], &world.voucher(&all[0], 3 * PRICE));
    served(world.buy(&route, &payload).await).await;
    let mined = world.node.transactions_mined();
    world.server.settle().await.unwrap();
    assert_eq!(settled(&world, &all[0]), 3 * PRICE);
    assert_eq!(world.node.transactions_mined(), mined + 1);
    // Later the payer is tried again, alone.
    world.node.unfreeze(frozen.descriptor.payer);
    world.advance(3_600);
    world.server.settle().await.unwrap();
    assert_eq!(settled(&world, &frozen), 2 * PRICE);
    let payload = voucher_payload(&frozen, &world.stranger_voucher(&frozen, 3 * PRICE));
    served(world.buy(&route, &payload).await).await;
}

// SECURITY-CASES A14: a settlement that a reorganization removes is made again.
#[tokio::test(start_paused = true)]
async fn a_settlement_that_is_reorganized_away_is_made_again() {
    for (protocol, fate) in [
        (V1, Reorged::Lost),
        (V2, Reorged::Remined),
        (V2, Reorged::Lost),
    ] {
        let world = quiet(SettlePolicy {
            finality: 3,
            ..SettlePolicy::on_demand()
        });
        let route = world.route(protocol);
        let terms = earned(&world, &route, protocol, 3).await;
        world.server.settle().await.unwrap();
        assert_eq!(settled(&world, &terms), 3 * PRICE);
        // Not final: the record does not say so yet.
        assert_eq!(world.record(terms.id()).await.settled, amount(0));
        world.node.faults().reorg(1, fate);
        for _ in 0..6 {
            look(&world).await;
            world.node.mine();
        }
        assert_eq!(settled(&world, &terms), 3 * PRICE);
        assert_eq!(world.record(terms.id()).await.settled, amount(3 * PRICE));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reverted_settlement_is_not_believed() {
    for protocol in BOTH {
        let world = quiet(SettlePolicy::on_demand());
        let route = world.route(protocol);
        let terms = earned(&world, &route, protocol, 3).await;
        world
            .node
            .faults()
            .revert_calls(settle_selector(protocol), Times::Once);
        let collected = world.server.settle().await.unwrap();
        assert_eq!((collected.done, collected.failed), (0, 1));
        let record = world.record(terms.id()).await;
        assert_eq!((record.settled, record.phase), (amount(0), Phase::Open));
        world.advance(31);
        world.server.settle().await.unwrap();
        assert_eq!(world.record(terms.id()).await.settled, amount(3 * PRICE));
    }
}

// A close that is undone is followed by another answer within the time.
#[tokio::test(start_paused = true)]
async fn a_reverted_answer_is_given_again() {
    for protocol in BOTH {
        let world = quiet(SettlePolicy::on_demand());
        let route = world.route(protocol);
        let terms = earned(&world, &route, protocol, 3).await;
        requested(&world, &terms).await;
        world
            .node
            .faults()
            .revert_calls(close_selector(protocol), Times::Once);
        for _ in 0..80 {
            look(&world).await;
        }
        let paid = world.record(terms.id()).await.settled;
        assert_eq!(paid, amount(3 * PRICE));
    }
}

// One of several processes collects, and another takes over within seconds.
#[tokio::test(start_paused = true)]
async fn another_process_takes_over_when_the_leader_is_silent() {
    let world = quiet(SettlePolicy::on_demand());
    let other = restarted(&world, SettlePolicy::on_demand());
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 3).await;
    assert!(look(&world).await.leading);
    assert!(!other.collect().await.unwrap().leading);
    // What the leader has begun and not ended is taken on.
    requested(&world, &terms).await;
    world.node.faults().drop_transactions(Times::Once);
    look(&world).await;
    world.advance(10);
    assert!(other.collect().await.unwrap().leading);
    world.advance(30);
    for _ in 0..3 {
        world.advance(1);
        other.collect().await.unwrap();
    }
    assert!(is_closed(&world, &terms).await);
    // The one before has noticed.
    assert!(!look(&world).await.leading);
}

/// A server whose node may go away and that leads, and one with a node of its own.
async fn one_with_a_flawed_node(policy: SettlePolicy) -> (World, Flawed, PaymentServer) {
    let never = Duration::from_secs(1_000_000);
    let mut world = quiet(policy.clone());
    let node = Flawed::new(world.node.clone());
    let (chain, by) = (node.clone(), by_hand(policy.clone()));
    world.server = world.again(|builder| builder.chain(chain).settlement(by).watch_every(never));
    world.advance(30);
    assert!(look(&world).await.leading);
    let other = restarted(&world, policy);
    assert!(!other.collect().await.unwrap().leading);
    (world, node, other)
}

// SECURITY-CASES A12: who leads may have lost its node.
#[tokio::test(start_paused = true)]
async fn a_leader_without_a_node_hands_on_to_one_that_has_one() {
    let (world, node, other) = one_with_a_flawed_node(SettlePolicy::on_demand()).await;
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 3).await;
    requested(&world, &terms).await;
    node.set_gone(true);
    for _ in 0..12 {
        world.advance(5);
        drop(world.server.collect().await);
        other.collect().await.unwrap();
    }
    assert!(is_closed(&world, &terms).await);
    // The other one is well: it stays.
    node.set_gone(false);
    assert!(!look(&world).await.leading);
    assert!(other.collect().await.unwrap().leading);
}

// SECURITY-CASES A12: a signer that does not answer keeps the leader busy for ever.
#[tokio::test(start_paused = true)]
async fn a_leader_whose_look_hangs_is_succeeded() {
    let (world, node, other) = one_with_a_flawed_node(SettlePolicy::on_demand()).await;
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 3).await;
    requested(&world, &terms).await;
    node.allow_fees(0);
    let meanwhile = async {
        let mut held = 0;
        for second in 0..160 {
            world.advance(1);
            tokio::time::sleep(Duration::from_secs(2)).await;
            if !other.collect().await.unwrap().leading {
                held = second;
            }
        }
        // Slow is not yet gone.
        assert!((120..140).contains(&held), "{held}");
        assert!(is_closed(&world, &terms).await);
        node.allow_fees(100);
        world.node.transactions_mined()
    };
    let (hanging, mined) = tokio::join!(world.server.collect(), meanwhile);
    drop(hanging);
    assert_eq!(world.node.transactions_mined(), mined);
}

// Nobody takes the place of one that is no worse.
#[tokio::test(start_paused = true)]
async fn servers_without_a_node_do_not_take_turns() {
    let (world, node, other) = one_with_a_flawed_node(SettlePolicy::on_demand()).await;
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 3).await;
    requested(&world, &terms).await;
    node.set_gone(true);
    world.node.faults().set_outage(Outage::Refusing);
    for _ in 0..60 {
        world.advance(2);
        drop(world.server.collect().await);
        assert!(!other.collect().await.unwrap().leading);
    }
    assert_eq!(world.server.deadlines().channels, 1);
    world.node.faults().clear();
    node.set_gone(false);
    world.advance(10);
    for _ in 0..3 {
        look(&world).await;
    }
    assert!(is_closed(&world, &terms).await);
}

/// The payer asks the chain to close, and this server hears of it.
async fn requested_at(world: &World, server: &PaymentServer, terms: &ChannelTerms) {
    world.request_close(terms).await;
    server.refresh(terms.id()).await.unwrap();
}

// SECURITY-CASES A12: a node that answers is not yet one that gets anything done.
#[tokio::test(start_paused = true)]
async fn a_leader_whose_node_does_nothing_hands_on_to_one_whose_node_does() {
    for stands_still in [true, false] {
        let (world, node, other) = one_with_a_flawed_node(SettlePolicy::on_demand()).await;
        let route = world.route(V2);
        let terms = earned(&world, &route, V2, 3).await;
        match stands_still {
            true => node.stop().await,
            false => node.set_refusing(true),
        }
        requested_at(&world, &other, &terms).await;
        for _ in 0..80 {
            world.advance(2);
            world.node.mine();
            drop(world.server.collect().await);
            other.collect().await.unwrap();
        }
        assert!(is_closed(&world, &terms).await, "{stands_still}");
        // The other one is well: it stays.
        node.go_on();
        node.set_refusing(false);
        assert!(!look(&world).await.leading);
        assert!(other.collect().await.unwrap().leading);
    }
}

// A node that refuses something and then is not reached is not well because something was begun.
#[tokio::test(start_paused = true)]
async fn what_was_begun_does_not_make_up_for_a_node_that_is_gone() {
    let (world, node, other) = one_with_a_flawed_node(SettlePolicy::on_demand()).await;
    let route = world.route(V2);
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(earned(&world, &route, V2, 3).await);
    }
    node.set_sends_gone(true);
    // Each look has something new to begin.
    for terms in &all {
        requested_at(&world, &other, terms).await;
        world.advance(5);
        drop(world.server.collect().await);
        other.collect().await.unwrap();
    }
    for _ in 0..4 {
        world.advance(2);
        other.collect().await.unwrap();
    }
    for terms in &all {
        assert!(is_closed(&world, terms).await);
    }
}

// Nobody takes the place of one that is no worse, or not again and again.
#[tokio::test(start_paused = true)]
async fn servers_whose_nodes_do_nothing_hardly_take_turns() {
    for (stands_still, most) in [(true, 0), (false, 12)] {
        let policy = SettlePolicy::on_demand();
        let (mut world, node, _) = one_with_a_flawed_node(policy.clone()).await;
        let (chain, never) = (node.clone(), Duration::from_secs(1_000_000));
        let by = by_hand(policy.clone());
        let other = world.again(|builder| builder.chain(chain).settlement(by).watch_every(never));
        let healthy = restarted(&world, policy);
        let route = world.route(V2);
        let terms = earned(&world, &route, V2, 3).await;
        requested(&world, &terms).await;
        match stands_still {
            true => node.stop().await,
            false => node.set_refusing(true),
        }
        let (mut turns, mut leads) = (0, true);
        for _ in 0..1_800 {
            world.advance(2);
            world.node.mine();
            let first = world.server.collect().await.is_ok_and(|look| look.leading);
            let second = other.collect().await.is_ok_and(|look| look.leading);
            if (first || second) && first != leads {
                (turns, leads) = (turns + 1, first);
            }
        }
        assert!(turns <= most, "{turns}");
        // They are no obstacle to one that is well.
        world.server = healthy;
        for _ in 0..20 {
            look(&world).await;
        }
        assert!(is_closed(&world, &terms).await);
    }
}

// A block every 20 s, and nothing is mined for minutes: that is the chain, not the node.
#[tokio::test(start_paused = true)]
async fn a_node_whose_chain_is_slow_is_well() {
    let (world, _, other) = one_with_a_flawed_node(SettlePolicy::on_demand()).await;
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 3).await;
    requested(&world, &terms).await;
    world.node.faults().drop_transactions(Times::Always);
    for look in 0..150 {
        world.advance(2);
        if look % 10 == 0 {
            world.node.mine();
        }
        assert!(world.server.collect().await.unwrap().leading);
        assert!(!other.collect().await.unwrap().leading);
    }
    world.node.faults().clear();
    for _ in 0..40 {
        world.node.mine();
        look(&world).await;
    }
    assert!(is_closed(&world, &terms).await);
}

// What others see of the chain while a node is asked does not put it behind.
#[tokio::test(start_paused = true)]
async fn a_block_that_another_server_sees_meanwhile_is_no_reason_to_fail() {
    let (world, node, other) = one_with_a_flawed_node(SettlePolicy::on_demand()).await;
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 3).await;
    let second = earned(&world, &route, V2, 3).await;
    requested(&world, &terms).await;
    world.node.faults().drop_transactions(Times::Once);
    look(&world).await;
    world.advance(40);
    world.node.mine();
    node.set_head_takes(Duration::from_secs(1));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        requested_at(&world, &other, &second).await;
    };
    let (collected, ()) = tokio::join!(world.server.collect(), meanwhile);
    assert!(collected.unwrap().leading);
    assert!(is_closed(&world, &terms).await);
}

// A look that is given up has not forgotten what it was to look at.
#[tokio::test(start_paused = true)]
async fn a_look_that_is_dropped_forgets_nothing() {
    let policy = SettlePolicy {
        channel_amount: Some(amount(3 * PRICE)),
        ..SettlePolicy::on_demand()
    };
    let (mut world, node, _) = one_with_a_flawed_node(policy.clone()).await;
    let chain = node.clone();
    let never = Duration::from_secs(1_000_000);
    let rarely = SettlePolicy {
        scan_every: never,
        ..by_hand(policy)
    };
    world.server =
        world.again(|builder| builder.chain(chain).settlement(rarely).watch_every(never));
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 3).await;
    world.advance(30);
    let revert = settle_selector(V2);
    world.node.faults().revert_calls(revert, Times::Once);
    assert_eq!(look(&world).await.failed, 1);
    // Tried again, but the node takes its time.
    world.advance(30);
    node.allow_fees(0);
    let looked = tokio::time::timeout(Duration::from_secs(1), world.server.collect());
    assert!(looked.await.is_err());
    node.allow_fees(100);
    assert_eq!(look(&world).await.done, 1);
    assert_eq!(settled(&world, &terms), 3 * PRICE);
}

// Case A33: that our own close was mined is known from its event, however late that is shown.
#[tokio::test(start_paused = true)]
async fn a_close_whose_receipt_is_never_seen_is_found() {
    let (world, node, _) = one_with_a_flawed_node(SettlePolicy::on_demand()).await;
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 3).await;
    // The open is old.
    for _ in 0..80 {
        world.node.mine();
    }
    world.server.catch_up().await.unwrap();
    node.set_logs_behind(1_000);
    node.set_receipts_behind(1_000);
    world.node.faults().lose_responses(Times::Once);
    let close = close_payload(&terms, &world.voucher(&terms, 3 * PRICE));
    let decision = world.manage(&route, &close).await;
    problem(decision, ProblemKind::ServiceUnavailable);
    world.advance(40);
    for _ in 0..80 {
        world.node.mine();
    }
    // It has expired, as far as the node tells.
    assert!(world.server.collect().await.is_err());
    world.server.catch_up().await.unwrap();
    node.set_logs_behind(0);
    node.set_receipts_behind(0);
    look(&world).await;
    assert_eq!(look(&world).await.waiting, 0);
    let record = world.record(terms.id()).await;
    assert!(matches!(record.phase, Phase::Closed { .. }), "{record:?}");
    assert_eq!(record.settled, amount(3 * PRICE));
    world.server.settle().await.unwrap();
}

// A channel that ended unseen is not paid for at every look.
#[tokio::test(start_paused = true)]
async fn a_channel_that_can_not_be_collected_from_is_found_ended() {
    for protocol in BOTH {
        let (world, node, _) = one_with_a_flawed_node(SettlePolicy::on_demand()).await;
        let route = world.route(protocol);
        let terms = earned(&world, &route, protocol, 3).await;
        node.set_logs_behind(1_000);
        world.request_close(&terms).await;
        world.advance(1_000);
        world.withdraw(&terms).await;
        for _ in 0..80 {
            world.node.mine();
        }
        world.server.catch_up().await.unwrap();
        node.set_logs_behind(0);
        assert_eq!(world.record(terms.id()).await.phase, Phase::Open);
        world.advance(30);
        world.server.settle().await.unwrap();
        look(&world).await;
        let record = world.record(terms.id()).await;
        assert!(matches!(record.phase, Phase::Closed { .. }), "{record:?}");
    }
}

// What others have ended is over here, too.
#[tokio::test(start_paused = true)]
async fn what_another_process_has_ended_is_forgotten() {
    let world = quiet(SettlePolicy::on_demand());
    let other = restarted(&world, SettlePolicy::on_demand());
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 3).await;
    world.node.faults().drop_transactions(Times::Once);
    assert!(world.server.settle().await.unwrap().leading);
    let credited = other.credit(terms.id(), amount(PRICE)).await;
    assert!(credited.is_err(), "it is being collected");
    world.advance(40);
    world.node.mine();
    for _ in 0..3 {
        look(&world).await;
    }
    assert_eq!(settled(&world, &terms), 3 * PRICE);
    let payload = voucher_payload(&terms, &world.voucher(&terms, 4 * PRICE));
    served(world.buy(&route, &payload).await).await;
    other.credit(terms.id(), amount(PRICE)).await.unwrap();
}

// The payer closes itself while a settlement of the same channel is under way.
#[tokio::test(start_paused = true)]
async fn a_close_by_the_payer_and_a_settlement_get_along() {
    for protocol in BOTH {
        let world = quiet(SettlePolicy::on_demand());
        let route = world.route(protocol);
        let terms = earned(&world, &route, protocol, 3).await;
        world.node.faults().drop_transactions(Times::Once);
        world.server.settle().await.unwrap();
        let close = close_payload(&terms, &world.voucher(&terms, 3 * PRICE));
        managed(world.manage(&route, &close).await);
        world.advance(40);
        world.node.mine();
        for _ in 0..4 {
            look(&world).await;
        }
        let record = world.record(terms.id()).await;
        assert!(matches!(record.phase, Phase::Closed { .. }));
        assert_eq!(record.settled, amount(3 * PRICE));
        assert_eq!(look(&world).await.waiting, 0);
    }
}

// As before, and the payer repeats its close, as the answers invite it to: it is one close. Which
// of the two effects is found first is chance.
#[tokio::test(start_paused = true)]
async fn a_repeated_close_beside_a_settlement_is_one_effect() {
    for protocol in BOTH {
        for _ in 0..8 {
            let world = quiet(SettlePolicy::on_demand());
            let route = world.route(protocol);
            let terms = earned(&world, &route, protocol, 3).await;
            world.node.faults().drop_transactions(Times::Always);
            world.server.settle().await.unwrap();
            let close = close_payload(&terms, &world.voucher(&terms, 3 * PRICE));
            for _ in 0..5 {
                let decision = world.manage(&route, &close).await;
                problem(decision, ProblemKind::ServiceUnavailable);
            }
            let page = DocumentPage {
                kind: DocumentKind::Effect,
                after: None,
                limit: 10,
            };
            let effects = world.store.documents(page).await.unwrap();
            assert_eq!(effects.len(), 2);
        }
    }
}

// A node refuses the server's own close; the payer asks for it meanwhile, again and again.
#[tokio::test(start_paused = true)]
async fn a_close_by_the_payer_waits_as_a_refused_close_does() {
    for protocol in BOTH {
        let policy = SettlePolicy {
            idle_close: Some(Duration::from_secs(300)),
            ..SettlePolicy::on_demand()
        };
        let world = quiet(policy);
        let route = world.route(protocol);
        let terms = earned(&world, &route, protocol, 3).await;
        // What is valid by this clock ends too late for the chain's.
        world.clock.advance_secs(400);
        assert_eq!(world.server.collect().await.unwrap().failed, 1);
        let close = close_payload(&terms, &world.voucher(&terms, 3 * PRICE));
        for _ in 0..4 {
            let decision = world.manage(&route, &close).await;
            problem(decision, ProblemKind::ServiceUnavailable);
        }
        world.node.advance_time(Duration::from_secs(400));
        // Few refusals make a short pause.
        world.advance(5);
        assert_eq!(look(&world).await.waiting, 0);
        assert!(is_closed(&world, &terms).await);
        managed(world.manage(&route, &close).await);
    }
}

/// The server looks each hour, and a node refuses what it sends, whose clock
/// stands still; then the clocks agree again.
async fn refused_for_hours(world: &World) {
    const HOUR: u32 = 60 * 60;
    for _ in 0..12 {
        world.clock.advance_secs(HOUR);
        assert!(world.server.collect().await.unwrap().failed >= 1);
    }
    world
        .node
        .advance_time(Duration::from_secs(12 * u64::from(HOUR)));
}

/// What a server does by itself that is not urgent.
fn not_urgent() -> [SettlePolicy; 2] {
    [
        SettlePolicy {
            idle_close: Some(Duration::from_secs(300)),
            ..SettlePolicy::on_demand()
        },
        SettlePolicy {
            age: Some(Duration::from_secs(300)),
            ..SettlePolicy::on_demand()
        },
    ]
}

// SECURITY-CASES A12: the pause was set before the payer asked the chain.
#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_pause_of_what_was_refused_before() {
    for protocol in BOTH {
        for policy in not_urgent() {
            let world = quiet(policy);
            let route = world.route(protocol);
            let terms = earned(&world, &route, protocol, 3).await;
            refused_for_hours(&world).await;
            // Nothing runs out: it waits as long as it may.
            world.advance(30);
            assert_eq!(look(&world).await.begun, 0);
            assert_eq!(world.record(terms.id()).await.settled, amount(0));
            requested(&world, &terms).await;
            look(&world).await;
            assert_eq!(world.record(terms.id()).await.settled, amount(3 * PRICE));
            assert_eq!(world.server.deadlines().channels, 0);
        }
    }
}

// SECURITY-CASES A12: a close that is under way, and not one that is begun again.
#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_pause_of_a_close_that_is_under_way() {
    for protocol in BOTH {
        let world = quiet(SettlePolicy {
            idle_close: Some(Duration::from_secs(300)),
            ..SettlePolicy::on_demand()
        });
        let route = world.route(protocol);
        let terms = earned(&world, &route, protocol, 3).await;
        // Each refusal doubles the pause: after the fifth it is 32 seconds.
        world.clock.advance_secs(400);
        let (mut ahead, mut refusals) = (400, 0);
        while refusals < 5 {
            world.clock.advance_secs(2);
            ahead += 2;
            refusals += world.server.collect().await.unwrap().failed;
        }
        world.node.advance_time(Duration::from_secs(ahead));
        requested(&world, &terms).await;
        // It has let go of the lease after the refusals, and nobody has taken it.
        world.advance(4);
        assert_eq!(look(&world).await.waiting, 1);
        assert!(!is_closed(&world, &terms).await);
        world.advance(15);
        assert_eq!(look(&world).await.waiting, 0);
        assert!(is_closed(&world, &terms).await);
    }
}

// SECURITY-CASES A12: also where another server goes on, and it is refused there.
#[tokio::test(start_paused = true)]
async fn a_new_server_tries_what_has_a_deadline_soon_again() {
    for protocol in BOTH {
        for policy in not_urgent() {
            let world = quiet(policy.clone());
            let route = world.route(protocol);
            let terms = earned(&world, &route, protocol, 3).await;
            refused_for_hours(&world).await;
            requested(&world, &terms).await;
            let other = restarted(&world, policy);
            world.clock.advance_secs(400);
            let collected = other.collect().await.unwrap();
            assert!(collected.leading);
            assert!(collected.failed >= 1);
            assert_eq!(collected.waiting, 1);
            world.node.advance_time(Duration::from_secs(400));
            world.advance(16);
            other.collect().await.unwrap();
            assert_eq!(world.record(terms.id()).await.settled, amount(3 * PRICE));
        }
    }
}

// SECURITY-CASES A29: collecting has failed for hours before the payer asks the chain.
#[tokio::test(start_paused = true)]
async fn a_payer_that_was_frozen_is_tried_again_before_a_deadline() {
    for protocol in BOTH {
        let world = quiet(SettlePolicy {
            age: Some(Duration::from_secs(300)),
            ..SettlePolicy::on_demand()
        });
        let route = world.route(protocol);
        let terms = earned(&world, &route, protocol, 3).await;
        world.node.freeze(terms.descriptor.payer);
        for _ in 0..10 {
            world.advance(60 * 60);
            world.server.collect().await.unwrap();
        }
        world.node.unfreeze(terms.descriptor.payer);
        requested(&world, &terms).await;
        world.advance(30);
        look(&world).await;
        assert_eq!(world.record(terms.id()).await.settled, amount(3 * PRICE));
    }
}

/// What the settlement of one channel may cost at most here: a million gas.
const MOST: u128 = 1_000;

fn per_day(units: u128) -> FeeLimits {
    FeeLimits {
        per_day: Some(amount(units)),
        ..FeeLimits::default()
    }
}

#[tokio::test(start_paused = true)]
async fn the_day_budget_holds_across_restarts() {
    // Room for one: when it has cost something, the most of another is too much.
    let fees = per_day(MOST + 10);
    let policy = SettlePolicy {
        fees,
        units: Some(1),
        ..SettlePolicy::on_demand()
    };
    let world = quiet(policy.clone());
    let route = world.route(V2);
    let first = earned(&world, &route, V2, 2).await;
    look(&world).await;
    assert_eq!(settled(&world, &first), 2 * PRICE);
    let second = earned(&world, &route, V2, 2).await;
    look(&world).await;
    world.advance(20);
    let next = restarted(&world, policy);
    assert!(next.collect().await.unwrap().leading);
    assert_eq!(settled(&world, &second), 0);
    world.advance(24 * 60 * 60);
    next.collect().await.unwrap();
    assert_eq!(settled(&world, &second), 2 * PRICE);
}

// Each may cost a thousand units at most, and costs less than a hundred.
#[tokio::test(start_paused = true)]
async fn the_day_budget_counts_what_was_really_paid() {
    let policy = SettlePolicy {
        fees: per_day(MOST + 300),
        units: Some(1),
        ..SettlePolicy::on_demand()
    };
    let world = quiet(policy.clone());
    let route = world.route(V2);
    for number in 1..=4 {
        let terms = earned(&world, &route, V2, 2).await;
        look(&world).await;
        assert_eq!(settled(&world, &terms), 2 * PRICE, "settlement {number}");
    }
}

// What was never mined costs nothing, and what was undone costs what it cost.
#[tokio::test(start_paused = true)]
async fn what_failed_gives_back_what_it_did_not_cost() {
    let policy = SettlePolicy {
        fees: per_day(MOST + 300),
        units: Some(1),
        ..SettlePolicy::on_demand()
    };
    for is_lost in [true, false] {
        let world = quiet(policy.clone());
        let route = world.route(V2);
        let terms = earned(&world, &route, V2, 2).await;
        if is_lost {
            world.node.faults().drop_transactions(Times::Once);
        } else {
            world.node.faults().revert_calls(SETTLE_V2, Times::Once);
        }
        look(&world).await;
        assert_eq!(settled(&world, &terms), 0);
        // Meanwhile there is no room for another.
        let other = earned(&world, &route, V2, 2).await;
        if is_lost {
            look(&world).await;
            assert_eq!(settled(&world, &other), 0);
        }
        for _ in 0..6 {
            world.advance(31);
            look(&world).await;
        }
        assert_eq!(settled(&world, &terms), 2 * PRICE, "lost: {is_lost}");
        assert_eq!(settled(&world, &other), 2 * PRICE, "lost: {is_lost}");
    }
}

/// Two servers over one store that look by themselves; the first one leads.
async fn two_servers() -> (World, PaymentServer) {
    let policy = SettlePolicy::on_demand;
    let never = Duration::from_secs(1_000_000);
    let world = World::with(|builder| builder.settlement(policy()).watch_every(never));
    assert!(look(&world).await.leading);
    let other = world.again(|builder| builder.settlement(policy()).watch_every(never));
    assert!(!other.collect().await.unwrap().leading);
    (world, other)
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_has_the_leader_settle() {
    let (world, other) = two_servers().await;
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 2).await;
    let asked = other.settle().await.unwrap();
    let expected = Collected {
        leading: false,
        begun: 1,
        done: 1,
        ..Collected::default()
    };
    assert_eq!(asked, expected);
    assert_eq!(settled(&world, &terms), 2 * PRICE);
    assert_eq!(other.settle().await.unwrap(), Collected::default());
    // What the leader has settled by itself is no answer to who asks later.
    let more = earned(&world, &route, V2, 2).await;
    let (here, there) = tokio::join!(world.server.settle(), other.settle());
    assert!(here.unwrap().leading && !there.unwrap().leading);
    assert_eq!(settled(&world, &more), 2 * PRICE);
}

#[tokio::test(start_paused = true)]
async fn a_demand_that_nobody_meets_in_time_is_told_and_kept() {
    let (world, other) = two_servers().await;
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 2).await;
    world.node.faults().set_outage(Outage::Refusing);
    let pending = other.settle().await;
    assert!(matches!(pending, Err(Fault::DemandPending)), "{pending:?}");
    assert_eq!(settled(&world, &terms), 0);
    // The leader has not forgotten it.
    world.node.faults().set_outage(Outage::None);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(settled(&world, &terms), 2 * PRICE);
}

#[tokio::test(start_paused = true)]
async fn who_asks_takes_the_place_of_a_leader_that_is_gone() {
    let (mut world, other) = two_servers().await;
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 2).await;
    // Its process has died: nobody extends the lease.
    world.server = other.clone();
    drop(route);
    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.advance(60);
    };
    let (asked, ()) = tokio::join!(other.settle(), later);
    assert!(asked.unwrap().leading);
    assert_eq!(settled(&world, &terms), 2 * PRICE);
}

// 1,000 channels in as few transactions as the network's pool allows: it takes 32 calls in
// one. Where it takes more, 20 transactions are enough.
#[tokio::test(start_paused = true)]
async fn many_channels_settle_in_few_transactions() {
    many_channels(32, 32).await;
    many_channels(64, 20).await;
}

async fn many_channels(max_calls: usize, most: u64) {
    const CHANNELS: u128 = 1_000;
    let policy = SettlePolicy {
        batch: max_calls,
        ..SettlePolicy::on_demand()
    };
    let world = World::on(
        DevnetConfig {
            max_calls,
            ..DevnetConfig::default()
        },
        |builder| {
            builder
                .settlement(by_hand(policy))
                .watch_every(Duration::from_secs(1_000_000))
        },
    );
    let all = world.earned_directly(V2, CHANNELS, 2 * PRICE).await;
    let (payee, before) = (world.payee(), world.node.transactions_mined());
    let held = world.balance(payee);
    let collected = world.server.settle().await.unwrap();
    assert_eq!((collected.waiting, collected.failed), (0, 0));
    let mined = world.node.transactions_mined().saturating_sub(before);
    assert!(mined <= most, "{mined} transactions");
    for terms in &all {
        assert_eq!(settled(&world, terms), 2 * PRICE);
    }
    let fees = u128::from(mined).saturating_mul(20_000);
    let paid = world.balance(payee).saturating_sub(held);
    let earned = CHANNELS.saturating_mul(2 * PRICE);
    assert!(paid <= earned && paid.saturating_add(fees) >= earned);
}

// Graceful end: no new content, streams end with a receipt, the rest is settled.
#[tokio::test(start_paused = true)]
async fn a_shutdown_refuses_new_requests_and_settles() {
    let world = quiet(SettlePolicy {
        on_shutdown: OnShutdown::Settle,
        ..SettlePolicy::on_demand()
    });
    let route = world.route(V2);
    let terms = earned(&world, &route, V2, 3).await;
    let payload = voucher_payload(&terms, &world.voucher(&terms, 4 * PRICE));
    let being_served = world.buy(&route, &payload).await;
    let late = voucher_payload(&terms, &world.voucher(&terms, 5 * PRICE));
    let late = world.credential(&route, &late).await;
    let server = world.server.clone();
    let ending = async { server.shutdown().await };
    let serving = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let refused = world.decide(&route, late, Purpose::Content).await;
        problem(refused, ProblemKind::ServiceUnavailable);
        served(being_served).await;
    };
    tokio::join!(ending, serving);
    assert_eq!(world.record(terms.id()).await.spent, amount(4 * PRICE));
    assert_eq!(settled(&world, &terms), 4 * PRICE);
    let calls = world.node.client_calls();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.node.client_calls(), calls);
}

/// The chain's own word: nothing is made or lost.
#[tokio::test(start_paused = true)]
async fn what_the_payee_gets_is_what_was_settled() {
    for protocol in BOTH {
        let world = quiet(SettlePolicy::on_demand());
        let route = world.route(protocol);
        let supply = world.node.total_supply(PATH_USD);
        let mut spent = 0;
        let mut all = Vec::new();
        for units in 1..5 {
            all.push(earned(&world, &route, protocol, units).await);
            spent += units * PRICE;
        }
        requested(&world, &all[1]).await;
        world.server.settle().await.unwrap();
        for _ in 0..3 {
            look(&world).await;
        }
        assert_eq!(world.node.sum_of_balances(PATH_USD), supply);
        let mut paid = 0;
        for terms in &all {
            let record = world.record(terms.id()).await;
            assert_eq!(record.settled, record.spent);
            paid += record.settled.base_units();
        }
        assert_eq!(paid, spent);
        let escrow = world.balance(protocol.default_escrow(42431).unwrap());
        // One channel is closed: its rest went back.
        assert_eq!(escrow, 3 * DEPOSIT - (spent - 2 * PRICE));
    }
}

// A batch that is too large for a node is sent in parts.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_is_split() {
    let policy = SettlePolicy {
        batch: 8,
        ..SettlePolicy::on_demand()
    };
    let small = DevnetConfig {
        max_calls: 3,
        ..DevnetConfig::default()
    };
    let world = World::on(small, |builder| {
        builder
            .settlement(by_hand(policy))
            .watch_every(Duration::from_secs(1_000_000))
    });
    let all = world.earned_directly(V2, 8, 2 * PRICE).await;
    world.server.settle().await.unwrap();
    for _ in 0..12 {
        look(&world).await;
    }
    for terms in &all {
        assert_eq!(settled(&world, terms), 2 * PRICE);
    }
}
