//! What the watcher notices, and what it does not fall for.

use std::time::Duration;

use mpp_core::problem::ProblemKind;
use mpp_devnet::Outage;
use mpp_tempo::{
    SessionProtocol,
    tx::{build, gas},
};

use crate::{
    Route, ServerEvent,
    session::record::{Phase, Quarantine},
    testing::{
        BOTH, Flawed, PRICE, World, amount, key, paying, problem, served, view, voucher_payload,
    },
};

const V2: SessionProtocol = SessionProtocol::V2;

/// Longer than the watcher's pause.
async fn a_while() {
    tokio::time::sleep(Duration::from_secs(12)).await;
}

async fn in_service(world: &World, protocol: SessionProtocol) -> (Route, mpp_tempo::ChannelTerms) {
    let route = world.route(protocol);
    let terms = world.open(&route, protocol, 5 * PRICE).await;
    a_while().await;
    (route, terms)
}

// SECURITY-CASES A12; issue: forced close refused service after the request.
#[tokio::test(start_paused = true)]
async fn a_close_request_on_chain_stops_the_service() {
    for protocol in BOTH {
        let world = World::new();
        let (route, terms) = in_service(&world, protocol).await;
        let mut events = world.server.subscribe();
        let payload = voucher_payload(&terms, &world.voucher(&terms, 5 * PRICE));
        served(world.buy(&route, &payload).await).await;
        world.request_close(&terms).await;
        let requested_at = world.on_chain(&terms).unwrap().close_requested_at;
        a_while().await;
        let decision = world.buy(&route, &payload).await;
        problem(decision, ProblemKind::ChannelFinalized);
        let mut noticed = false;
        while let Ok(event) = events.try_recv() {
            noticed |= event
                == ServerEvent::CloseRequested {
                    channel_id: terms.id(),
                    at: requested_at.unwrap(),
                };
        }
        assert!(noticed);
    }
}

// SECURITY-CASES A12: also with the node down for ten minutes.
#[tokio::test(start_paused = true)]
async fn an_outage_hides_nothing_for_ever() {
    let world = World::new();
    let (_, terms) = in_service(&world, V2).await;
    let mut events = world.server.subscribe();
    world.node.faults().set_outage(Outage::Refusing);
    world.request_close(&terms).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.record(terms.id()).await.phase, Phase::Open);
    assert!(matches!(
        events.try_recv(),
        Ok(ServerEvent::ChainUnreadable)
    ));
    world.node.faults().set_outage(Outage::None);
    a_while().await;
    let record = world.record(terms.id()).await;
    assert!(matches!(record.phase, Phase::CloseRequested { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_top_up_past_the_server_is_noticed() {
    for protocol in BOTH {
        let world = World::new();
        let (_, terms) = in_service(&world, protocol).await;
        let signed = world.sign_top_up(&terms, 500, paying()).await;
        world.node.submit(&signed.encode()).unwrap();
        a_while().await;
        let record = world.record(terms.id()).await;
        assert_eq!(record.deposit, amount(10_500));
    }
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_ends_the_channel() {
    for protocol in BOTH {
        let world = World::new();
        let (_, terms) = in_service(&world, protocol).await;
        let mut events = world.server.subscribe();
        world.request_close(&terms).await;
        world.advance(1_000);
        world.withdraw(&terms).await;
        a_while().await;
        let mut told = 0_u32;
        while let Ok(event) = events.try_recv() {
            told += u32::from(matches!(event, ServerEvent::Closed { .. }));
        }
        assert_eq!(told, 1);
        let record = world.record(terms.id()).await;
        assert!(matches!(
            record.phase,
            Phase::Closed {
                transaction: Some(_)
            }
        ));
    }
}

// SECURITY-CASES A33: a node that lags behind the open must not end the channel.
#[tokio::test(start_paused = true)]
async fn a_lagging_read_does_not_end_a_new_channel() {
    for protocol in BOTH {
        let world = World::new();
        let (route, _) = in_service(&world, protocol).await;
        let terms = world.open(&route, protocol, PRICE).await;
        world.node.faults().lag_reads(1);
        let record = world.server.refresh(terms.id()).await.unwrap();
        assert_eq!(record.phase, Phase::Open);
        world.node.faults().clear();
        let payload = voucher_payload(&terms, &world.voucher(&terms, PRICE));
        served(world.buy(&route, &payload).await).await;
    }
}

// PROTOCOL 5.4: what a settlement elsewhere has paid out is owed at least.
#[tokio::test(start_paused = true)]
async fn a_settlement_elsewhere_is_noticed() {
    for protocol in BOTH {
        let world = World::new();
        let (_, terms) = in_service(&world, protocol).await;
        let context = world.context(gas::SETTLE, paying());
        let voucher = world.voucher(&terms, 2 * PRICE);
        let unsigned = build::settle(&context, &terms, &voucher).unwrap();
        let signed = unsigned.sign(&key(&world.node, 0)).await.unwrap();
        world.node.submit(&signed.encode()).unwrap();
        a_while().await;
        let record = world.record(terms.id()).await;
        assert_eq!(record.settled, amount(2 * PRICE));
        assert_eq!(record.owed(), amount(2 * PRICE));
        assert_eq!(record.phase, Phase::Open);
    }
}

/// An open that its payer has sent itself, and that the watcher has read past.
async fn sent_past_the_server(
    world: &World,
    protocol: SessionProtocol,
) -> (Route, crate::testing::Opening) {
    let route = world.route(protocol);
    let opening = world.opening(protocol).await;
    world.node.submit(&opening.transaction.encode()).unwrap();
    a_while().await;
    (route, opening)
}

// SECURITY-CASES A34: a receipt proves what was once, not what is.
#[tokio::test(start_paused = true)]
async fn an_open_that_was_mined_and_withdrawn_serves_nothing() {
    for protocol in BOTH {
        let world = World::new();
        let (route, opening) = sent_past_the_server(&world, protocol).await;
        world.request_close(&opening.terms).await;
        a_while().await;
        world.advance(1_000);
        world.withdraw(&opening.terms).await;
        a_while().await;
        let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
        for _ in 0..2 {
            let decision = world.buy(&route, &payload).await;
            problem(decision, ProblemKind::ChannelFinalized);
        }
        let record = world.record(opening.terms.id()).await;
        assert!(matches!(record.phase, Phase::Closed { .. }), "{record:?}");
    }
}

// SECURITY-CASES A12: the request was made before the server knew the channel.
#[tokio::test(start_paused = true)]
async fn an_open_whose_payer_has_asked_to_close_serves_nothing() {
    for protocol in BOTH {
        let world = World::new();
        let (route, opening) = sent_past_the_server(&world, protocol).await;
        world.request_close(&opening.terms).await;
        a_while().await;
        let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
        let decision = world.buy(&route, &payload).await;
        problem(decision, ProblemKind::ChannelFinalized);
        let record = world.record(opening.terms.id()).await;
        assert!(matches!(record.phase, Phase::CloseRequested { .. }));
    }
}

// SECURITY-CASES A12: and the node that is asked does not show it yet.
#[tokio::test(start_paused = true)]
async fn a_close_request_that_an_open_did_not_show_is_noticed() {
    for protocol in BOTH {
        let mut world = World::new();
        let node = Flawed::new(world.node.clone());
        world.server = world.again(|builder| builder.chain(node.clone()));
        let (route, opening) = sent_past_the_server(&world, protocol).await;
        let id = opening.terms.id();
        node.keep_view(id, view(crate::testing::DEPOSIT));
        world.request_close(&opening.terms).await;
        a_while().await;
        let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
        served(world.buy(&route, &payload).await).await;
        node.forget_views();
        a_while().await;
        let record = world.record(id).await;
        assert!(matches!(record.phase, Phase::CloseRequested { .. }));
    }
}

// SECURITY-CASES A28: what was paid out before the store was lost is not sold again.
#[tokio::test(start_paused = true)]
async fn an_open_of_a_channel_that_was_paid_out_before_is_quarantined() {
    for protocol in BOTH {
        let mut world = World::new();
        let (_, opening) = sent_past_the_server(&world, protocol).await;
        let terms = opening.terms;
        world
            .settle(&terms, &world.voucher(&terms, 2 * PRICE))
            .await;
        world.server = world.configured(crate::MemoryStore::new());
        let route = world.route(protocol);
        a_while().await;
        let payload = opening.payload(&world.voucher(&terms, 3 * PRICE));
        let decision = world.buy(&route, &payload).await;
        problem(decision, ProblemKind::ServiceUnavailable);
        let record = world.record(terms.id()).await;
        let Phase::Quarantined { reason, .. } = record.phase else {
            panic!("{record:?}");
        };
        assert_eq!(reason, Quarantine::SettledAboveAccepted);
    }
}

// A watcher without an owner would poll the chain for ever.
#[tokio::test(start_paused = true)]
async fn the_watcher_ends_with_the_server() {
    let world = World::new();
    let _route = world.route(V2);
    a_while().await;
    let World { server, node, .. } = world;
    let other = server.clone();
    drop(server);
    let calls = node.client_calls();
    a_while().await;
    assert!(node.client_calls() > calls);
    drop(other);
    a_while().await;
    let calls = node.client_calls();
    a_while().await;
    assert_eq!(node.client_calls(), calls);
}
