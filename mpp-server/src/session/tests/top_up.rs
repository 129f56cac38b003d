//! Adding to a deposit.

use mpp_core::{Amount, problem::ProblemKind};
use mpp_tempo::{
    SessionProtocol,
    tx::{build, gas},
    wire::SessionPayload,
};

use crate::{
    gate::Purpose,
    session::record::Phase,
    testing::{
        BOTH, DEPOSIT, PRICE, World, amount, at, close_payload, managed, paying, problem, refused,
        served, top_up_payload, voucher_payload,
    },
};

const V2: SessionProtocol = SessionProtocol::V2;

// PROTOCOL 5.4: topUp: calls checked -> broadcast -> TopUp log, newDeposit recorded.
#[tokio::test(start_paused = true)]
async fn a_top_up_raises_the_deposit_once() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        let terms = world.open(&route, protocol, 0).await;
        let signed = world.sign_top_up(&terms, 500, paying()).await;
        let payload = top_up_payload(&terms, signed.encode(), 500);
        let receipt = managed(world.manage(&route, &payload).await);
        assert_eq!(receipt.channel_id, terms.id().to_string());
        // A repeated request finds the mined transaction and adds nothing.
        managed(world.manage(&route, &payload).await);
        world.advance(3_600);
        managed(world.manage(&route, &payload).await);
        let record = world.record(terms.id()).await;
        assert_eq!(record.deposit, amount(DEPOSIT + 500));
        assert_eq!(world.on_chain(&terms).unwrap().deposit, record.deposit);
        assert_eq!(world.node.transactions_mined(), 2);
        let payload = voucher_payload(&terms, &world.voucher(&terms, DEPOSIT + 500));
        served(world.buy(&route, &payload).await).await;
    }
}

// PROTOCOL 5.5: a top-up is never content: the handler does not run, nothing is charged.
#[tokio::test(start_paused = true)]
async fn a_top_up_on_a_content_request_charges_nothing() {
    let world = World::new();
    let route = world.route(V2);
    let terms = world.open(&route, V2, 5 * PRICE).await;
    let signed = world.sign_top_up(&terms, 500, paying()).await;
    let payload = top_up_payload(&terms, signed.encode(), 500);
    let receipt = managed(world.buy(&route, &payload).await);
    assert_eq!(receipt.spent, Amount::ZERO);
}

// PROTOCOL 5.3: topUp cancels a close request.
#[tokio::test(start_paused = true)]
async fn a_top_up_brings_a_channel_back_into_service() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        let terms = world.open(&route, protocol, 0).await;
        world.request_close(&terms).await;
        let frozen = world.server.refresh(terms.id()).await.unwrap();
        assert!(matches!(frozen.phase, Phase::CloseRequested { .. }));
        let signed = world.sign_top_up(&terms, 500, paying()).await;
        let payload = top_up_payload(&terms, signed.encode(), 500);
        managed(world.manage(&route, &payload).await);
        assert_eq!(world.record(terms.id()).await.phase, Phase::Open);
    }
}

// PROTOCOL 1.3: topUp with an expired or unknown challenge -> challenge-not-found.
#[tokio::test(start_paused = true)]
async fn a_top_up_with_an_old_challenge_is_told_so() {
    let world = World::new();
    let route = world.route(V2);
    let terms = world.open(&route, V2, 0).await;
    let signed = world.sign_top_up(&terms, 500, paying()).await;
    let payload = top_up_payload(&terms, signed.encode(), 500);
    let mut unknown = world.credential(&route, &payload).await;
    unknown.challenge.expires = Some(at(3_600).to_string());
    let decision = world.decide(&route, unknown, Purpose::Management).await;
    problem(decision, ProblemKind::ChallengeNotFound);
    let expired = world.credential(&route, &payload).await;
    world.clock.advance_secs(300);
    let decision = world.decide(&route, expired, Purpose::Management).await;
    let problem = problem(decision, ProblemKind::ChallengeNotFound);
    assert_eq!(problem.channel_id, Some(terms.id().to_string()));
    assert_eq!(world.node.transactions_mined(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_top_up_that_is_not_what_it_claims_is_refused() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        let terms = world.open(&route, protocol, 0).await;
        let other = world.open(&route, protocol, 0).await;
        let mined = world.node.transactions_mined();
        let signed = world.sign_top_up(&terms, 500, paying()).await.encode();
        let verification = ProblemKind::VerificationFailed;
        // Another amount, another channel, another action, nothing at all.
        let lie = top_up_payload(&terms, signed.clone(), 501);
        problem(world.manage(&route, &lie).await, verification);
        // The channel's id with another channel's descriptor, and without one.
        if protocol == V2 {
            let described = |descriptor| SessionPayload::TopUp {
                channel_id: terms.id(),
                transaction: signed.clone(),
                descriptor,
                additional_deposit: amount(500),
            };
            let forged = described(Some(other.descriptor));
            problem(world.manage(&route, &forged).await, verification);
            let decision = world.manage(&route, &described(None)).await;
            problem(decision, ProblemKind::InvalidPayload);
        }
        let foreign = top_up_payload(&other, signed, 500);
        problem(world.manage(&route, &foreign).await, verification);
        let opening = world.opening(protocol).await.transaction.encode();
        let open = top_up_payload(&terms, opening, 500);
        problem(world.manage(&route, &open).await, verification);
        let nothing = world.sign_top_up(&terms, 0, paying()).await.encode();
        let zero = top_up_payload(&terms, nothing, 0);
        problem(
            world.manage(&route, &zero).await,
            ProblemKind::InvalidPayload,
        );
        // A stranger's transaction for the payer's channel.
        let context = world.context(gas::TOP_UP, paying());
        let unsigned = build::top_up(&context, &terms, amount(500)).unwrap();
        let strange = unsigned.sign(&world.stranger).await.unwrap();
        let strange = top_up_payload(&terms, strange.encode(), 500);
        problem(world.manage(&route, &strange).await, verification);
        assert_eq!(world.node.transactions_mined(), mined);
        assert_eq!(world.record(terms.id()).await.deposit, amount(DEPOSIT));
    }
}

// PROTOCOL 1.3: 410 for a closed channel and for one that is not there yet.
#[tokio::test(start_paused = true)]
async fn a_top_up_needs_a_live_channel() {
    let world = World::new();
    let route = world.route(V2);
    let terms = world.open(&route, V2, 0).await;
    let signed = world.sign_top_up(&terms, 500, paying()).await.encode();
    let top_up = top_up_payload(&terms, signed, 500);
    let close = close_payload(&terms, &world.voucher(&terms, 0));
    managed(world.manage(&route, &close).await);
    let decision = world.manage(&route, &top_up).await;
    problem(decision, ProblemKind::ChannelFinalized);
    // One whose open transaction never arrived anywhere.
    let opening = world.opening(V2).await;
    let outage = mpp_devnet::Outage::Refusing;
    world.node.faults().set_outage(outage);
    let open = opening.payload(&world.voucher(&opening.terms, 0));
    let decision = world.manage(&route, &open).await;
    assert_eq!(refused(decision).problem.status(), 503);
    world.node.faults().clear();
    let signed = world.sign_top_up(&opening.terms, 500, paying()).await;
    let top_up = top_up_payload(&opening.terms, signed.encode(), 500);
    let decision = world.manage(&route, &top_up).await;
    problem(decision, ProblemKind::ChannelNotFound);
}
