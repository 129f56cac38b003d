//! SECURITY-CASES A8: opens and top-ups that nothing comes of run out.

use std::net::IpAddr;

use mpp_core::problem::ProblemKind;
use mpp_tempo::{
    LocalSigner, SessionProtocol, SignedVoucher, Signer,
    tx::{FeeMode, SignedTx, TxContext, build, build::OpenParams, gas},
    wire::SessionPayload,
};

use crate::{
    Route,
    gate::{Attempt, Decision, Purpose},
    session::record::Phase,
    store::{ChannelStore as _, Scan, Which},
    testing::{
        BOTH, Opening, World, amount, claim_sender, managed, paying, problem, sign, top_up_payload,
    },
};

const V2: SessionProtocol = SessionProtocol::V2;

async fn manage(world: &World, route: &Route, payload: &SessionPayload, peer: [u8; 4]) -> Decision {
    let credential = world.credential(route, payload).await;
    let attempt = Attempt::from_credential(Some(credential), Purpose::Management);
    let attempt = attempt.peer(Some(IpAddr::from(peer)));
    world.server.decide(route, attempt).await
}

const HERE: [u8; 4] = [192, 0, 2, 1];
const THERE: [u8; 4] = [192, 0, 2, 2];

/// How the attempt of this number ends, if nothing comes of any: the quota is 20.
fn answer_to(number: u32) -> ProblemKind {
    match number {
        ..=20 => ProblemKind::VerificationFailed,
        _ => ProblemKind::RateLimited,
    }
}

/// A context whose transactions no node takes.
fn too_cheap(world: &World, gas_limit: u64) -> TxContext {
    let mut context = world.context(gas_limit, paying());
    context.fees.max_fee_per_gas = 1;
    context
}

/// An open of a new channel that no node takes.
async fn worthless(world: &World, protocol: SessionProtocol, signer: &LocalSigner) -> Opening {
    let params = world.params(protocol);
    let context = too_cheap(world, gas::open(protocol));
    let unsigned = build::open(&context, &params).unwrap();
    let terms = unsigned.open_terms(&params, signer.address());
    let transaction = unsigned.sign(signer).await.unwrap();
    Opening { terms, transaction }
}

/// How many attempts to open were recorded, all of which have failed.
async fn failed(world: &World) -> usize {
    let scan = Scan {
        which: Which::All,
        after: None,
        limit: 1_000,
    };
    let all = world.store.scan(scan).await.unwrap();
    let all = all.iter().map(|found| &found.record.phase);
    all.filter(|phase| **phase == Phase::Failed).count()
}

#[tokio::test(start_paused = true)]
async fn opens_that_come_to_nothing_are_limited_by_peer() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        for number in 1..=100 {
            let opening = worthless(&world, protocol, &world.payer).await;
            let payload = opening.payload(&world.voucher(&opening.terms, 0));
            let refused = manage(&world, &route, &payload, HERE).await;
            problem(refused, answer_to(number));
        }
        assert_eq!(failed(&world).await, 20);
        // Others wait for nobody, wherever they are, and the payer for a while.
        world.by_stranger(&route, protocol, 0).await;
        let good = world.opening(protocol).await;
        let payload = good.payload(&world.voucher(&good.terms, 0));
        let waiting = manage(&world, &route, &payload, HERE).await;
        problem(waiting, ProblemKind::RateLimited);
        managed(manage(&world, &route, &payload, THERE).await);
        world.advance(2);
        let good = world.opening(protocol).await;
        let payload = good.payload(&world.voucher(&good.terms, 0));
        managed(manage(&world, &route, &payload, HERE).await);
    }
}

// A channel that is there costs nothing to find, whatever came to nothing before.
#[tokio::test(start_paused = true)]
async fn an_open_that_was_mined_is_found_beyond_the_limit() {
    let world = World::new();
    let route = world.route(V2);
    let good = world.opening(V2).await;
    let good = good.payload(&world.voucher(&good.terms, 0));
    managed(manage(&world, &route, &good, HERE).await);
    for _ in 0..20 {
        let opening = worthless(&world, V2, &world.payer).await;
        let payload = opening.payload(&world.voucher(&opening.terms, 0));
        let refused = manage(&world, &route, &payload, HERE).await;
        problem(refused, ProblemKind::VerificationFailed);
    }
    managed(manage(&world, &route, &good, HERE).await);
}

#[tokio::test(start_paused = true)]
async fn top_ups_that_come_to_nothing_are_limited_by_peer() {
    let world = World::new();
    let route = world.route(V2);
    let terms = world.open(&route, V2, 0).await;
    for number in 1_u32..=21 {
        let context = too_cheap(&world, gas::TOP_UP + u64::from(number));
        let unsigned = build::top_up(&context, &terms, amount(500)).unwrap();
        let signed = unsigned.sign(&world.payer).await.unwrap();
        let payload = top_up_payload(&terms, signed.encode(), 500);
        let refused = manage(&world, &route, &payload, HERE).await;
        problem(refused, answer_to(number));
    }
    world.advance(2);
    let signed = world.sign_top_up(&terms, 500, paying()).await;
    let payload = top_up_payload(&terms, signed.encode(), 500);
    managed(manage(&world, &route, &payload, HERE).await);
}

// What was mined is public: whoever shows it again makes nobody wait who has signed it.
#[tokio::test(start_paused = true)]
async fn what_was_mined_before_does_not_count_for_who_has_signed_it() {
    let world = World::new();
    let route = world.sponsored_route(V2);
    let terms = world.open(&route, V2, 0).await;
    let signed = world.sign_top_up(&terms, 500, FeeMode::Sponsored).await;
    let payload = top_up_payload(&terms, signed.encode(), 500);
    managed(manage(&world, &route, &payload, HERE).await);
    world.advance(600);
    for _ in 0..30 {
        let refused = manage(&world, &route, &payload, HERE).await;
        problem(refused, ProblemKind::VerificationFailed);
    }
    let signed = world.sign_top_up(&terms, 700, FeeMode::Sponsored).await;
    let payload = top_up_payload(&terms, signed.encode(), 700);
    managed(manage(&world, &route, &payload, HERE).await);
}

// What accounts do does not shut out those for whom no balance speaks.
#[tokio::test(start_paused = true)]
async fn a_flood_by_accounts_does_not_shut_access_keys_out() {
    let world = World::new();
    let route = world.route(V2);
    for seed in 30..55 {
        let signer = LocalSigner::from_bytes(&[seed; 32]).unwrap();
        let opening = worthless(&world, V2, &signer).await;
        let payload = opening.payload(&sign(&signer, &opening.terms, 0));
        drop(manage(&world, &route, &payload, HERE).await);
    }
    let key = LocalSigner::from_bytes(&[60; 32]).unwrap();
    let (opening, first) = forged(&world, &key).await;
    // It is tried, and the node refuses it.
    let tried = manage(&world, &route, &opening.payload(&first), HERE).await;
    problem(tried, ProblemKind::VerificationFailed);
}

/// An open of a channel of another account, that the key claims to act for.
async fn forged(world: &World, key: &LocalSigner) -> (Opening, SignedVoucher) {
    let victim = world.payer.address();
    let params = OpenParams {
        authorized_signer: key.address(),
        ..world.params(V2)
    };
    let context = world.context(gas::open(V2), paying());
    let unsigned = build::open(&context, &params).unwrap();
    let terms = unsigned.open_terms(&params, victim);
    let signed = unsigned.sign(key).await.unwrap();
    let transaction = SignedTx::decode(&claim_sender(&signed, victim)).unwrap();
    (Opening { terms, transaction }, sign(key, &terms, 0))
}

// Whoever names an account that holds the deposit does not hold it, nor makes that one wait.
#[tokio::test(start_paused = true)]
async fn opens_in_the_name_of_another_count_for_who_has_signed() {
    let world = World::new();
    let route = world.route(V2);
    for number in 1..=25 {
        let key = LocalSigner::from_bytes(&[100 + number; 32]).unwrap();
        let (opening, first) = forged(&world, &key).await;
        let refused = manage(&world, &route, &opening.payload(&first), HERE).await;
        problem(refused, answer_to(number.into()));
    }
    assert_eq!(failed(&world).await, 20);
    let own = world.sign_open(&world.params(V2), paying()).await;
    let payload = own.payload(&world.voucher(&own.terms, 0));
    managed(manage(&world, &route, &payload, HERE).await);
}

// What the sponsor refuses has cost calls to the node, too.
#[tokio::test(start_paused = true)]
async fn opens_that_are_not_sponsored_count() {
    let world = World::new();
    let route = world.sponsored_route(V2);
    world.node.freeze(world.payer.address());
    for number in 1..=21 {
        let opening = world.sign_open(&world.params(V2), FeeMode::Sponsored).await;
        let payload = opening.payload(&world.voucher(&opening.terms, 0));
        let refused = manage(&world, &route, &payload, HERE).await;
        problem(refused, answer_to(number));
    }
}
