use mpp_core::{
    Amount, Challenge, Credential, IntentName, Realm,
    problem::{Problem, ProblemKind},
};
use mpp_tempo::{
    LocalSigner, SessionProtocol, Signer as _,
    charge::ProofTerms,
    network::Network,
    wire::{ChargePayload, ChargeRequest},
};

use super::*;
use crate::{
    BadSignatureLimit, Route,
    gate::{Attempt, Decision, Purpose, Refusal},
    testing::*,
};

const V2: SessionProtocol = SessionProtocol::V2;

/// What a route answers to a request without a credential.
async fn ask(world: &World, route: &Route, accept: Option<&str>, purpose: Purpose) -> Refusal {
    let attempt = Attempt::from_credential(None, purpose).accept_payment(accept);
    refused(world.server.decide(route, attempt).await)
}

/// The challenge that asks for a proof.
async fn proof_challenge(world: &World, route: &Route) -> Challenge {
    let asked = ask(world, route, Some("tempo/charge"), Purpose::Management).await;
    let [challenge] = &asked.challenges[..] else {
        panic!("{} challenges", asked.challenges.len());
    };
    assert_eq!(challenge.draft().intent, IntentName::charge());
    challenge.to_challenge()
}

fn source(signer: &LocalSigner, chain_id: u64) -> String {
    format!("did:pkh:eip155:{chain_id}:{:#x}", signer.address())
}

/// A credential that proves `signer`, as deployed peers make it.
fn proof(signer: &LocalSigner, challenge: Challenge) -> Credential {
    proof_at(signer, challenge.realm.clone(), challenge)
}

fn proof_at(signer: &LocalSigner, realm: Realm, challenge: Challenge) -> Credential {
    let chain_id = Network::MODERATO.chain_id;
    let terms = ProofTerms {
        account: signer.address(),
        chain_id,
        challenge_id: challenge.id.as_str(),
        realm: realm.as_str(),
    };
    let signature = signer.sign_digest_sync(&terms.digest()).into();
    let payload = serde_json::to_value(ChargePayload::Proof { signature }).unwrap();
    Credential::new(challenge, payload).with_source(source(signer, chain_id))
}

async fn present(world: &World, route: &Route, credential: Credential) -> Decision {
    world.decide(route, credential, Purpose::Management).await
}

#[track_caller]
fn recognized(decision: Decision) -> Recognized {
    match decision {
        Decision::Recognize(payer) => payer,
        other => panic!("not recognized: {other:?}"),
    }
}

/// The snapshot that `signer` is told.
async fn told(world: &World, route: &Route, signer: &LocalSigner) -> Option<SessionSnapshot> {
    let challenge = proof_challenge(world, route).await;
    let decision = present(world, route, proof(signer, challenge)).await;
    recognized(decision).snapshot.map(|snapshot| *snapshot)
}

async fn refused_for(world: &World, route: &Route, credential: Credential) -> Problem {
    refused(present(world, route, credential).await).problem
}

// PROTOCOL 5.8: HEAD, and a zero-amount charge challenge.
#[tokio::test]
async fn who_takes_charges_only_and_buys_nothing_is_asked_for_a_proof() {
    let world = World::new();
    let route = world.route(V2);
    let challenge = proof_challenge(&world, &route).await;
    let request: ChargeRequest = challenge.request.decode().unwrap();
    assert!(request.amount.is_zero());
    assert_eq!(request.recipient, world.payee());
    assert_eq!(request.method_details.chain_id, 42_431);
    for (accept, purpose) in [
        (None, Purpose::Management),
        (Some("tempo/session"), Purpose::Management),
        (Some("*/*"), Purpose::Management),
        (
            Some("tempo/charge, tempo/session;q=0.1"),
            Purpose::Management,
        ),
        (Some("card/charge"), Purpose::Management),
        (Some("tempo/charge"), Purpose::Content),
    ] {
        let asked = ask(&world, &route, accept, purpose).await;
        let intents: Vec<_> = asked
            .challenges
            .iter()
            .map(|c| c.draft().intent.as_str())
            .collect();
        assert_eq!(intents, ["session"], "{accept:?} {purpose:?}");
    }
    // Snapshots describe v2 channels only.
    let v1 = world.route(SessionProtocol::V1);
    let asked = ask(&world, &v1, Some("tempo/charge"), Purpose::Management).await;
    assert_eq!(asked.challenges[0].draft().intent, IntentName::session());
}

// PROTOCOL 5.8: the snapshot with the client's own highest voucher.
#[tokio::test]
async fn a_proof_brings_the_snapshot_of_the_payers_channel() {
    let world = World::new();
    let route = world.route(V2);
    let terms = world.open(&route, V2, PRICE).await;
    let voucher = world.voucher(&terms, 3 * PRICE);
    served(world.buy(&route, &voucher_payload(&terms, &voucher)).await).await;
    let challenge = proof_challenge(&world, &route).await;
    let decision = present(&world, &route, proof(&world.payer, challenge.clone())).await;
    let payer = recognized(decision);
    assert_eq!(payer.receipt.reference(), challenge.id.as_str());
    assert_eq!(payer.receipt.challenge_id(), Some(&challenge.id));
    let snapshot = payer.snapshot.unwrap();
    assert_eq!(snapshot.verify().unwrap(), terms);
    assert_eq!(snapshot.accepted_cumulative, amount(3 * PRICE));
    assert_eq!(snapshot.spent, amount(PRICE));
    assert_eq!(snapshot.required_cumulative, amount(PRICE));
    assert_eq!(snapshot.deposit, amount(DEPOSIT));
    assert_eq!(snapshot.settled, Amount::ZERO);
    assert_eq!(snapshot.units, Some(1));
    let highest = snapshot.highest_voucher.unwrap().to_signed();
    assert_eq!(highest, voucher);
}

// Only the payer, or its authorized signer, gets its snapshot.
#[tokio::test]
async fn a_stranger_is_told_nothing_and_the_authorized_signer_everything() {
    let world = World::new();
    let route = world.route(V2);
    world.open(&route, V2, PRICE).await;
    assert_eq!(told(&world, &route, &world.stranger).await, None);
    let mut params = world.params(V2);
    params.authorized_signer = world.stranger.address();
    let opening = world.sign_open(&params, paying()).await;
    let first = sign(&world.stranger, &opening.terms, PRICE);
    managed(world.manage(&route, &opening.payload(&first)).await);
    let snapshot = told(&world, &route, &world.stranger).await.unwrap();
    assert_eq!(snapshot.channel_id, opening.terms.id());
}

// PROTOCOL 4: one use only, also at another server over the same store.
#[tokio::test]
async fn a_proof_is_good_once() {
    let world = World::new();
    let route = world.route(V2);
    let challenge = proof_challenge(&world, &route).await;
    let credential = proof(&world.payer, challenge.clone());
    recognized(present(&world, &route, credential.clone()).await);
    problem(
        present(&world, &route, credential).await,
        ProblemKind::ProofReplayed,
    );
    let other = proof(&world.stranger, challenge);
    problem(
        present(&world, &route, other).await,
        ProblemKind::ProofReplayed,
    );
}

#[tokio::test]
async fn a_proof_of_something_else_is_refused() {
    let world = World::new();
    let route = world.route(V2);
    world.open(&route, V2, PRICE).await;
    let challenge = || proof_challenge(&world, &route);
    let chain_id = Network::MODERATO.chain_id;

    // Signed for another realm.
    let elsewhere = Realm::new("other.example").unwrap();
    let credential = proof_at(&world.payer, elsewhere, challenge().await);
    let refused = refused_for(&world, &route, credential).await;
    assert_eq!(refused.kind, ProblemKind::VerificationFailed);

    // Signed by somebody else than it says.
    let credential = proof(&world.stranger, challenge().await);
    let credential = credential.with_source(source(&world.payer, chain_id));
    let refused = refused_for(&world, &route, credential).await;
    assert_eq!(refused.kind, ProblemKind::VerificationFailed);

    // For another challenge of the same route.
    let mut credential = proof(&world.payer, challenge().await);
    world.advance(1);
    credential.challenge = challenge().await;
    let refused = refused_for(&world, &route, credential).await;
    assert_eq!(refused.kind, ProblemKind::VerificationFailed);

    // On another chain.
    let credential = proof(&world.payer, challenge().await);
    let credential = credential.with_source(source(&world.payer, 4217));
    let refused = refused_for(&world, &route, credential).await;
    assert_eq!(refused.kind, ProblemKind::VerificationFailed);

    // Of nobody.
    let mut credential = proof(&world.payer, challenge().await);
    credential.source = None;
    let refused = refused_for(&world, &route, credential).await;
    assert_eq!(refused.kind, ProblemKind::InvalidPayload);

    // A payment where a proof is due.
    let mut credential = proof(&world.payer, challenge().await);
    credential.payload = serde_json::json!({"type": "hash", "hash": B256_TEXT});
    let refused = refused_for(&world, &route, credential).await;
    assert_eq!(refused.kind, ProblemKind::InvalidPayload);

    // Too late.
    let credential = proof(&world.payer, challenge().await);
    world.advance(300);
    let refused = refused_for(&world, &route, credential).await;
    assert_eq!(refused.kind, ProblemKind::PaymentExpired);
}

const B256_TEXT: &str = "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

// SECURITY-CASES A3: a credential of route A never opens route B; nor does a proof buy anything.
#[tokio::test]
async fn a_proof_opens_nothing_and_no_other_route() {
    let world = World::new();
    let route = world.route(V2);
    let other = crate::testing::route("/other", world.offer(V2).build().unwrap());
    let credential = proof(&world.payer, proof_challenge(&world, &route).await);
    let refused = refused_for(&world, &other, credential.clone()).await;
    assert_eq!(refused.kind, ProblemKind::InvalidChallenge);
    let bought = world.decide(&route, credential, Purpose::Content).await;
    problem(bought, ProblemKind::MethodUnsupported);
}

#[tokio::test]
async fn a_channel_that_is_not_in_service_is_not_told() {
    let world = World::new();
    let route = world.route(V2);
    let terms = world.open(&route, V2, PRICE).await;
    // Of another price, it is the same channel; in another currency it would be none.
    let dearer = crate::testing::route("/dear", world.offer(V2).amount("0.5").build().unwrap());
    assert!(told(&world, &dearer, &world.payer).await.is_some());
    let operated = world.offer(V2).operator(world.payee()).build().unwrap();
    let operated = crate::testing::route("/operated", operated);
    assert_eq!(told(&world, &operated, &world.payer).await, None);
    world.request_close(&terms).await;
    world.server.refresh(terms.id()).await.unwrap();
    assert_eq!(told(&world, &route, &world.payer).await, None);
}

#[tokio::test]
async fn the_newest_channel_is_told_and_an_older_one_after_it() {
    let world = World::new();
    let route = world.route(V2);
    let old = world.open(&route, V2, PRICE).await;
    world.advance(10);
    let new = world.open(&route, V2, PRICE).await;
    let snapshot = told(&world, &route, &world.payer).await.unwrap();
    assert_eq!(snapshot.channel_id, new.id());
    let spent = world.voucher(&new, 0);
    managed(world.manage(&route, &close_payload(&new, &spent)).await);
    let snapshot = told(&world, &route, &world.payer).await.unwrap();
    assert_eq!(snapshot.channel_id, old.id());
}

// Any node may serve any channel: what another one opened is found, within seconds.
#[tokio::test]
async fn channels_of_before_and_of_other_servers_are_found_in_the_store() {
    let world = World::new();
    let route = world.route(V2);
    // Another server over the same store, which has looked already.
    let other = World::with(|builder| builder.store(world.store.clone()));
    let other_route = other.route(V2);
    assert_eq!(told(&other, &other_route, &world.payer).await, None);
    let terms = world.open(&route, V2, PRICE).await;
    assert_eq!(told(&other, &other_route, &world.payer).await, None);
    other.advance(5);
    let snapshot = told(&other, &other_route, &world.payer).await.unwrap();
    assert_eq!(snapshot.channel_id, terms.id());
}

/// Names one channel, whoever asks.
#[derive(Debug)]
struct Careless(ChannelId);

impl ChannelResolver for Careless {
    fn resolve<'a>(
        &'a self,
        _: Address,
        _: &'a Resumable,
    ) -> BoxFuture<'a, Result<Option<ChannelId>, Fault>> {
        Box::pin(async { Ok(Some(self.0)) })
    }
}

#[tokio::test]
async fn a_resolver_is_asked_and_not_trusted() {
    let world = World::new();
    let route = world.route(V2);
    let old = world.open(&route, V2, PRICE).await;
    world.advance(10);
    world.open(&route, V2, PRICE).await;
    let careless = World::with(|builder| {
        let resolver = Careless(old.id());
        builder
            .store(world.store.clone())
            .channel_resolver(resolver)
    });
    let route = careless.route(V2);
    let snapshot = told(&careless, &route, &world.payer).await.unwrap();
    assert_eq!(snapshot.channel_id, old.id());
    assert_eq!(told(&careless, &route, &world.stranger).await, None);
    let unknown = World::with(|builder| builder.channel_resolver(Careless(ChannelId::ZERO)));
    let route = unknown.route(V2);
    assert_eq!(told(&unknown, &route, &world.payer).await, None);
}

// SECURITY-CASES A8: bad signatures cost their sender's quota.
#[tokio::test]
async fn bad_proofs_are_looked_at_a_few_times_only() {
    let limit = BadSignatureLimit {
        burst: 2,
        refill_millis: 1_000,
    };
    let world = World::with(|builder| builder.bad_signature_limit(limit));
    let route = world.route(V2);
    let challenge = proof_challenge(&world, &route).await;
    let elsewhere = Realm::new("other.example").unwrap();
    let bad = || proof_at(&world.payer, elsewhere.clone(), challenge.clone());
    for kind in [
        ProblemKind::VerificationFailed,
        ProblemKind::VerificationFailed,
        ProblemKind::RateLimited,
    ] {
        assert_eq!(refused_for(&world, &route, bad()).await.kind, kind);
    }
    // Nobody else waits for that.
    let honest = proof(&world.stranger, challenge.clone());
    recognized(present(&world, &route, honest).await);
}
