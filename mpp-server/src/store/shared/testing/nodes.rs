//! Two payment servers over one store.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use mpp_core::{Realm, problem::ProblemKind};
use mpp_tempo::{ChannelTerms, SessionProtocol};
use tokio::task::JoinSet;

use crate::{
    ChannelStore, PaymentServer, Route,
    charge::tests::shop,
    gate::Decision,
    session::meter::Frame,
    store::conformance::sample,
    testing::{
        PRICE, World, amount, granted, key, managed, paying, refused, secret, voucher_payload,
    },
};

const V2: SessionProtocol = SessionProtocol::V2;

/// Two worlds on one chain; each server has a store object of its own.
fn worlds<S: ChannelStore + std::fmt::Debug>(one: S, other: S) -> [World; 2] {
    let (mut first, mut second) = (World::new(), World::new());
    second.node = first.node.clone();
    second.clock = first.clock.clone();
    first.server = server(&first, one);
    second.server = server(&second, other);
    [first, second]
}

fn server(world: &World, store: impl ChannelStore + std::fmt::Debug) -> PaymentServer {
    PaymentServer::builder()
        .realm(Realm::new("shop.example").unwrap())
        .secret_key(secret(1))
        .testnet()
        .chain(world.node.clone())
        .account(key(&world.node, 0))
        .clock(world.clock.clone())
        .store(store)
        .build()
        .unwrap()
}

/// Opens a channel whose first voucher authorizes the whole deposit.
async fn open(world: &World, route: &Route, deposit: u128) -> ChannelTerms {
    let mut params = world.params(V2);
    params.deposit = amount(deposit);
    let opening = world.sign_open(&params, paying()).await;
    let payload = opening.payload(&world.voucher(&opening.terms, deposit));
    managed(world.manage(route, &payload).await);
    opening.terms
}

/// 64 clients buy from the same four channels, at both nodes, more than there
/// is: every unit that is there is sold, once.
pub(in crate::store) async fn two_nodes_sell_exactly_what_is_there<S>(one: S, other: S)
where
    S: ChannelStore + Clone + std::fmt::Debug,
{
    const UNITS: u64 = 48;
    const CLIENTS: usize = 64;
    const EACH: usize = 4;
    let store = one.clone();
    let worlds = Arc::new(worlds(one, other));
    let routes = Arc::new([worlds[0].route(V2), worlds[1].route(V2)]);
    let mut channels = Vec::new();
    for _ in 0..4 {
        channels.push(open(&worlds[0], &routes[0], u128::from(UNITS) * PRICE).await);
    }
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (worlds, routes) = (Arc::clone(&worlds), Arc::clone(&routes));
        let terms = channels[client % channels.len()];
        clients.spawn(async move {
            let node = client / 4 % 2;
            let (world, route) = (&worlds[node], &routes[node]);
            let voucher = world.voucher(&terms, u128::from(UNITS) * PRICE);
            let payload = voucher_payload(&terms, &voucher);
            let mut served = 0;
            for _ in 0..EACH {
                match world.buy(route, &payload).await {
                    Decision::Grant(grant) => {
                        grant.capture(None).await.unwrap();
                        served += 1;
                    }
                    other => {
                        let problem = refused(other).problem;
                        assert_eq!(problem.kind, ProblemKind::InsufficientBalance);
                    }
                }
            }
            served
        });
    }
    let served: u64 = clients.join_all().await.into_iter().sum();
    assert_eq!(served, 4 * UNITS, "CLIENTS * EACH is more than is there");
    for terms in &channels {
        let total = u128::from(UNITS) * PRICE;
        for world in &*worlds {
            let record = world.record(terms.id()).await;
            assert_eq!((record.spent, record.units), (amount(total), UNITS));
        }
        let ledger = store.ledger(sample::whole_ledger(Some(terms.id()))).await;
        let costs = ledger.unwrap().into_iter().map(|line| line.entry.cost);
        assert_eq!(costs.map(|cost| cost.base_units()).sum::<u128>(), total);
    }
}

/// 100 copies of one payment, half of them at each node: one is granted.
pub(in crate::store) async fn one_copy_of_a_charge_is_granted<S>(one: S, other: S)
where
    S: ChannelStore + std::fmt::Debug,
{
    let worlds = worlds(one, other);
    let routes = [0, 1].map(|node: usize| shop::shop(shop::offer(&worlds[node])));
    let challenge = worlds[0].challenge(&routes[0]).await;
    let credential = shop::Wallet::new(&worlds[0]).pay(&challenge).await;
    let copies = (0..100_usize).map(|copy| {
        let node = copy % 2;
        shop::show(&worlds[node], &routes[node], &credential)
    });
    let mut grants = Vec::new();
    for decision in futures_util::future::join_all(copies).await {
        match decision {
            Decision::Grant(grant) => grants.push(grant),
            other => {
                let problem = refused(other).problem;
                assert_eq!(problem.kind, ProblemKind::RequestInProgress);
            }
        }
    }
    assert_eq!(grants.len(), 1);
    assert_eq!(worlds[0].node.transactions_mined(), 1);
    for grant in grants {
        grant.capture(None).await.unwrap();
    }
    for (world, route) in worlds.iter().zip(&routes) {
        let again = refused(shop::show(world, route, &credential).await).problem;
        assert_eq!(again.kind, ProblemKind::InvalidChallenge);
    }
}

/// A stream waits at one node for a voucher that comes to the other.
pub(in crate::store) async fn a_stream_resumes_on_another_node<S>(one: S, other: S)
where
    S: ChannelStore + std::fmt::Debug,
{
    let [here, there] = worlds(one, other);
    let (route, elsewhere) = (here.route(V2), there.route(V2));
    let terms = here.open(&route, V2, 0).await;
    let pays = |units: u128| voucher_payload(&terms, &here.voucher(&terms, units * PRICE));
    let grant = granted(here.buy(&route, &pays(1)).await);
    let tab = Arc::clone(grant.tab().unwrap());
    grant.capture(None).await.unwrap();
    let mut stream = tab.stream(|mut meter| async move {
        for word in 0..3 {
            meter.charge().await?;
            meter.send(format!("word {word}")).await;
        }
        Ok(())
    });
    let next = |frame: Option<Frame>| frame.expect("the stream goes on");
    assert!(matches!(next(stream.next().await), Frame::Data(_)));
    for units in [2, 3] {
        assert!(matches!(next(stream.next().await), Frame::NeedVoucher(_)));
        let mut resumed = std::pin::pin!(stream.next());
        let waits = tokio::time::timeout(Duration::from_millis(50), &mut resumed);
        assert!(waits.await.is_err(), "nothing is sold without a voucher");
        managed(there.manage(&elsewhere, &pays(units)).await);
        // Far longer than a wake-up takes: only a lost one lets it pass.
        let frame = tokio::time::timeout(Duration::from_secs(30), resumed).await;
        assert!(matches!(next(frame.expect("a wake-up")), Frame::Data(_)));
    }
    assert!(matches!(next(stream.next().await), Frame::Receipt(_)));
}

/// Every node can have all settled, whichever of them collects.
pub(in crate::store) async fn any_node_can_have_all_settled<S>(one: S, other: S)
where
    S: ChannelStore + std::fmt::Debug,
{
    let worlds = worlds(one, other);
    let leads = worlds[0].server.collect().await.unwrap().leading;
    let (leader, other) = match leads {
        true => (&worlds[0], &worlds[1]),
        false => (&worlds[1], &worlds[0]),
    };
    assert!(leader.server.collect().await.unwrap().leading);
    let route = leader.route(V2);
    let terms = leader.open(&route, V2, 0).await;
    let buy = async |units: u128| {
        let payload = voucher_payload(&terms, &leader.voucher(&terms, units * PRICE));
        let grant = granted(leader.buy(&route, &payload).await);
        grant.capture(None).await.unwrap();
    };
    let settled = || leader.on_chain(&terms).map(|channel| channel.settled);
    buy(1).await;
    let collected = other.server.settle().await.unwrap();
    assert!(!collected.leading);
    assert_eq!(
        (collected.begun, collected.done, collected.failed),
        (1, 1, 0)
    );
    assert_eq!(settled(), Some(amount(PRICE)));
    // Two at a time, and again with nothing to do.
    buy(2).await;
    let (first, second) = tokio::join!(other.server.settle(), other.server.settle());
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    assert_eq!(settled(), Some(amount(2 * PRICE)));
    assert_eq!(other.server.settle().await.unwrap().begun, 0);
    // The leader leaves: who asks takes its place.
    buy(3).await;
    leader.server.shutdown().await;
    assert!(other.server.settle().await.unwrap().leading);
    assert_eq!(settled(), Some(amount(3 * PRICE)));
}
