//! Configuration that does not hold together, and the life of a server.

use mpp_devnet::{Devnet, DevnetConfig};
use mpp_tempo::LocalSigner;

use super::*;
use crate::{
    clock::ManualClock,
    store::{ClaimKey, conformance::sample},
    testing::{World, key, secret},
};

fn node() -> Devnet {
    Devnet::new(DevnetConfig::default())
}

fn account() -> LocalSigner {
    key(&node(), 0)
}

fn complete() -> Builder<MemoryStore> {
    PaymentServer::builder()
        .realm(Realm::new("shop.example").unwrap())
        .secret_key(secret(1))
        .testnet()
        .chain(node())
        .account(account())
}

#[track_caller]
fn missing(change: impl FnOnce(&mut Builder<MemoryStore>)) -> &'static str {
    let mut builder = complete();
    change(&mut builder);
    match builder.build() {
        Err(Misuse::Missing(parameter)) => parameter,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_required_part_is_asked_for() {
    assert!(complete().build().is_ok());
    assert_eq!(missing(|builder| builder.realm = None), "realm");
    assert_eq!(missing(|builder| builder.secret_key = None), "secret_key");
    assert_eq!(missing(|builder| builder.network = None), "network");
    assert_eq!(missing(|builder| builder.chain = None), "chain");
    assert_eq!(missing(|builder| builder.account = None), "account");
}

#[tokio::test]
async fn a_chain_client_of_another_chain_is_refused() {
    let other = complete().network(Network::MAINNET).build();
    assert!(matches!(other, Err(Misuse::Invalid(_))));
}

#[test]
fn a_server_needs_a_runtime() {
    assert!(matches!(complete().build(), Err(Misuse::Invalid(_))));
}

// Without a pause the watcher would flood the node; without a lifetime nothing could be paid.
#[tokio::test]
async fn durations_of_zero_are_refused() {
    let pause = complete().watch_every(Duration::ZERO).build();
    assert!(matches!(pause, Err(Misuse::Invalid(_))));
    let lifetime = complete().challenge_lifetime(Duration::ZERO).build();
    assert!(matches!(lifetime, Err(Misuse::Invalid(_))));
}

#[tokio::test]
async fn sponsoring_needs_a_fee_payer() {
    let server = complete().build().unwrap();
    let offer = server.session().amount("0.001").fee_payer().build();
    assert!(matches!(offer, Err(Misuse::Missing("fee_payer"))));
    let sponsor = complete().fee_payer(account()).build().unwrap();
    let offer = sponsor.session().amount("0.001").fee_payer().build();
    assert!(offer.is_ok());
}

// PROTOCOL 1.1: refuse to start with a secret below 32 bytes. SECURITY-CASES A22.
#[test]
fn a_short_or_well_known_secret_makes_no_key() {
    assert!(SecretKey::from_bytes(&[7; 31]).is_err());
    assert!(SecretKey::from_bytes(&[0; 32]).is_err());
}

// SECURITY-CASES A20: no key in Debug.
#[tokio::test]
async fn debug_shows_no_secret() {
    let text = format!("{:?}", complete());
    let server = format!("{:?}", complete().build().unwrap());
    let node = node();
    let private = &node.accounts()[0].private_key.trim_start_matches("0x");
    let bytes: Vec<u8> = (0..32).map(|byte| byte ^ 1).collect();
    for text in [text, server] {
        assert!(!text.contains(private));
        assert!(!text.contains(&format!("{bytes:?}")));
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_the_watcher() {
    let world = World::new();
    world.server.shutdown().await;
    let calls = world.node.client_calls();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.node.client_calls(), calls);
}

// Issue: a slow subscriber loses the oldest events and never slows a request.
#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_is_told_what_it_missed() {
    let world = World::with(|builder| builder.event_capacity(2));
    let mut events = world.server.subscribe();
    let route = world.route(mpp_tempo::SessionProtocol::V2);
    for _ in 0..5 {
        world.challenge(&route).await;
    }
    let lagged = broadcast::error::TryRecvError::Lagged(3);
    assert_eq!(events.try_recv(), Err(lagged));
    assert!(events.try_recv().is_ok());
}

// A store in memory is for tests.
#[tokio::test]
async fn production_refuses_a_store_that_forgets() {
    let refused = complete().production().build();
    assert!(matches!(refused, Err(Misuse::Invalid(why)) if why.contains("production")));
}

#[cfg(feature = "embedded")]
#[tokio::test]
async fn production_takes_a_store_that_keeps() {
    let name = format!("mpp-server-production-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let store = crate::EmbeddedStore::open(&path).unwrap();
    assert!(complete().store(store).production().build().is_ok());
    std::fs::remove_file(path).unwrap();
}

// Nobody has to ask for it.
#[tokio::test(start_paused = true)]
async fn a_server_makes_room_in_its_store_until_it_ends() {
    const HOUR: u32 = 60 * 60;
    let (store, clock) = (MemoryStore::new(), ManualClock::new(sample::at(0)));
    let claim = |end: u32| {
        let key = ClaimKey::Proof(sample::challenge_id());
        let end = sample::at(i64::from(end));
        store.claim(key, alloy_primitives::B256::ZERO, end, sample::at(0))
    };
    let server = complete().store(store.clone()).clock(clock.clone());
    let server = server.build().unwrap();
    claim(1).await.unwrap();
    clock.advance_secs(2 * HOUR);
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(store.kept(), 0);
    claim(HOUR).await.unwrap();
    server.shutdown().await;
    clock.advance_secs(2 * HOUR);
    tokio::time::sleep(Duration::from_secs(900)).await;
    assert_eq!(store.kept(), 1, "a server that has ended works on");
}
