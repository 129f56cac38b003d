//! Fees paid by the server: only for what was promised, once per challenge and signer.

use std::time::Duration;

use alloy_primitives::U256;
use mpp_core::problem::ProblemKind;
use mpp_devnet::Times;
use mpp_tempo::{
    LocalSigner, Network, SessionProtocol, Signer,
    network::PATH_USD,
    tx::{
        FeeMode, SignedTx, TxContext, TxFees, build,
        build::{OpenParams, Transfer},
        gas,
    },
    wire::SessionPayload,
};

use crate::{
    SponsorBudget,
    gate::{Decision, Purpose},
    testing::{
        BOTH, Opening, PRICE, World, amount, claim_sender, managed, problem, served, sign,
        sponsoring_access_keys, top_up_payload,
    },
};

const V2: SessionProtocol = SessionProtocol::V2;

// Issue: sponsored open: the sponsor pays the fee. Draft-tempo-session-00, Fee Payment.
#[tokio::test(start_paused = true)]
async fn the_sponsor_pays_for_open_and_top_up() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.sponsored_route(protocol);
        let payer = world.payer.address();
        let before = (world.balance(payer), world.balance(world.sponsor()));
        let params = world.params(protocol);
        let opening = world.sign_open(&params, FeeMode::Sponsored).await;
        let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
        served(world.buy(&route, &payload).await).await;
        let deposit = params.deposit.base_units();
        assert_eq!(before.0 - world.balance(payer), deposit);
        let paid = before.1 - world.balance(world.sponsor());
        assert!(paid > 0);
        // The next challenge: one transaction is sponsored for each.
        world.advance(1);
        let signed = world
            .sign_top_up(&opening.terms, 500, FeeMode::Sponsored)
            .await;
        let payload = top_up_payload(&opening.terms, signed.encode(), 500);
        managed(world.manage(&route, &payload).await);
        assert_eq!(before.0 - world.balance(payer), deposit + 500);
        assert!(before.1 - world.balance(world.sponsor()) > paid);
    }
}

// PROTOCOL 4: servers accept unsponsored transactions on sponsored routes too.
#[tokio::test(start_paused = true)]
async fn a_payer_may_pay_its_own_fees() {
    let world = World::new();
    let route = world.sponsored_route(V2);
    let before = world.balance(world.sponsor());
    let opening = world.opening(V2).await;
    let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
    served(world.buy(&route, &payload).await).await;
    assert_eq!(world.balance(world.sponsor()), before);
}

#[tokio::test(start_paused = true)]
async fn a_route_without_sponsor_sponsors_nothing() {
    let world = World::new();
    let params = world.params(V2);
    let opening = world.sign_open(&params, FeeMode::Sponsored).await;
    let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
    let decision = world.buy(&world.route(V2), &payload).await;
    problem(decision, ProblemKind::VerificationFailed);
    assert_eq!(world.node.transactions_mined(), 0);
}

/// A sponsored open in this context is refused unsent.
async fn check_policy(change: impl FnOnce(&mut TxContext)) {
    let world = World::new();
    let mut context = world.context(gas::open(V2), FeeMode::Sponsored);
    change(&mut context);
    let params = world.params(V2);
    let unsigned = build::open(&context, &params).unwrap();
    let terms = unsigned.open_terms(&params, world.payer.address());
    let transaction = unsigned.sign(&world.payer).await.unwrap();
    let opening = Opening { terms, transaction };
    let payload = opening.payload(&world.voucher(&terms, PRICE));
    let before = world.balance(world.sponsor());
    let decision = world.buy(&world.sponsored_route(V2), &payload).await;
    problem(decision, ProblemKind::VerificationFailed);
    assert_eq!(world.balance(world.sponsor()), before);
    assert_eq!(world.node.transactions_mined(), 0);
}

// SECURITY-CASES A15: gas, fee, long validity, another chain, not valid yet.
#[tokio::test(start_paused = true)]
async fn a_sponsored_transaction_beyond_the_policy_is_refused() {
    check_policy(|context| context.fees.gas_limit = 2_000_001).await;
    check_policy(|context| context.fees.max_fee_per_gas = 100_000_000_001).await;
    check_policy(|context| {
        context.fees = TxFees {
            max_fee_per_gas: 90_000_000_000,
            max_priority_fee_per_gas: 0,
            gas_limit: 2_000_000,
        };
    })
    .await;
    check_policy(|context| context.valid_for = Duration::from_secs(31)).await;
    check_policy(|context| context.chain_id = Network::MAINNET.chain_id).await;
    check_policy(|context| context.valid_after = Some(1_800_000_020)).await;
}

// Nobody opens again: what is set aside for the open comes back all the same.
#[tokio::test(start_paused = true)]
async fn what_is_set_aside_for_an_open_that_is_never_mined_comes_back() {
    let once = gas::open(V2).saturating_mul(2_000_000_000);
    let budget = SponsorBudget {
        per_payer: U256::from(once),
        ..SponsorBudget::default()
    };
    let world = World::with(|builder| builder.sponsor_budget(budget));
    let route = world.sponsored_route(V2);
    let open = async || {
        let opening = world.sign_open(&world.params(V2), FeeMode::Sponsored).await;
        assert_eq!(opening.transaction.max_total_fee(), budget.per_payer);
        let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
        world.buy(&route, &payload).await
    };
    world.node.faults().drop_transactions(Times::Once);
    problem(open().await, ProblemKind::ServiceUnavailable);
    world.advance(1);
    problem(open().await, ProblemKind::RateLimited);
    world.advance(60);
    world.node.mine();
    tokio::time::sleep(Duration::from_secs(60)).await;
    served(open().await).await;
}

// SECURITY-CASES A15: a sponsored transaction smuggles calls.
#[tokio::test(start_paused = true)]
async fn a_sponsored_transaction_with_other_calls_is_refused() {
    let world = World::new();
    let route = world.sponsored_route(V2);
    let terms = world.open(&world.route(V2), V2, 0).await;
    let mined = world.node.transactions_mined();
    let context = world.context(gas::open(V2), FeeMode::Sponsored);
    let transfer = Transfer {
        token: PATH_USD,
        to: world.stranger.address(),
        amount: amount(1),
        memo: None,
    };
    let smuggled = build::transfer(&context, &[transfer]).unwrap();
    let smuggled = smuggled.sign(&world.payer).await.unwrap();
    let before = world.balance(world.sponsor());
    let top_up = top_up_payload(&terms, smuggled.encode(), 1);
    let decision = world.manage(&route, &top_up).await;
    problem(decision, ProblemKind::VerificationFailed);
    let voucher = world.voucher(&terms, 0);
    let open = SessionPayload::Open {
        channel_id: terms.id(),
        transaction: smuggled.encode(),
        authorized_signer: None,
        descriptor: Some(terms.descriptor),
        cumulative_amount: voucher.voucher.cumulative,
        signature: voucher.signature,
    };
    let decision = world.manage(&route, &open).await;
    problem(decision, ProblemKind::VerificationFailed);
    assert_eq!(world.balance(world.sponsor()), before);
    assert_eq!(world.node.transactions_mined(), mined);
}

// SECURITY-CASES A15: one cosign per challenge, for each who was given it.
#[tokio::test(start_paused = true)]
async fn one_transaction_is_sponsored_per_challenge() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.sponsored_route(protocol);
        let challenge = world.challenge(&route).await;
        let mut openings = Vec::new();
        for _ in 0..5 {
            let params = world.params(protocol);
            openings.push(world.sign_open(&params, FeeMode::Sponsored).await);
        }
        let attempts = openings.iter().map(|opening| {
            let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
            let credential = mpp_core::Credential::new(challenge.clone(), payload.to_value());
            world.decide(&route, credential, Purpose::Management)
        });
        let decisions = futures_util::future::join_all(attempts).await;
        let (sponsored, others): (Vec<_>, Vec<_>) = decisions
            .into_iter()
            .partition(|decision| matches!(decision, Decision::Respond(_)));
        assert_eq!(sponsored.len(), 1);
        for decision in others {
            problem(decision, ProblemKind::VerificationFailed);
        }
        assert_eq!(world.node.transactions_mined(), 1);
    }
}

/// A sponsored open of a channel, by whoever signs.
async fn sponsored_open(world: &World, protocol: SessionProtocol, signer: &LocalSigner) -> Opening {
    let params = world.params(protocol);
    let context = world.context(gas::open(protocol), FeeMode::Sponsored);
    let unsigned = build::open(&context, &params).unwrap();
    let terms = unsigned.open_terms(&params, signer.address());
    let transaction = unsigned.sign(signer).await.unwrap();
    Opening { terms, transaction }
}

// Challenges of one moment are equal: whoever asks then is given the same one.
#[tokio::test(start_paused = true)]
async fn everybody_who_was_given_a_challenge_is_sponsored_for_it() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.sponsored_route(protocol);
        let (one, other) = (world.challenge(&route).await, world.challenge(&route).await);
        assert_eq!(one.id, other.id);
        for signer in [&world.payer, &world.stranger] {
            let opening = sponsored_open(&world, protocol, signer).await;
            let payload = opening.payload(&sign(signer, &opening.terms, PRICE));
            served(world.buy(&route, &payload).await).await;
        }
        assert_eq!(world.node.transactions_mined(), 2);
    }
}

// What an access key does for an account that it names takes nothing from that account.
#[tokio::test(start_paused = true)]
async fn a_forgery_does_not_use_up_the_challenge_of_the_account_that_it_names() {
    let world = World::with(sponsoring_access_keys);
    let route = world.sponsored_route(V2);
    let (thief, victim) = (&world.stranger, world.payer.address());
    let params = OpenParams {
        authorized_signer: thief.address(),
        ..world.params(V2)
    };
    let context = world.context(gas::open(V2), FeeMode::Sponsored);
    let unsigned = build::open(&context, &params).unwrap();
    let terms = unsigned.open_terms(&params, victim);
    let signed = unsigned.sign(thief).await.unwrap();
    let transaction = SignedTx::decode(&claim_sender(&signed, victim)).unwrap();
    let forged = Opening { terms, transaction };
    let payload = forged.payload(&sign(thief, &terms, PRICE));
    let refused = problem(
        world.buy(&route, &payload).await,
        ProblemKind::VerificationFailed,
    );
    assert!(
        refused.detail.contains("node refused"),
        "{}",
        refused.detail
    );
    let own = sponsored_open(&world, V2, &world.payer).await;
    let payload = own.payload(&world.voucher(&own.terms, PRICE));
    served(world.buy(&route, &payload).await).await;
}

// The same transaction may be presented again for its challenge.
#[tokio::test(start_paused = true)]
async fn a_sponsored_open_can_be_repeated() {
    let world = World::new();
    let route = world.sponsored_route(V2);
    let params = world.params(V2);
    let opening = world.sign_open(&params, FeeMode::Sponsored).await;
    let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
    let credential = world.credential(&route, &payload).await;
    for _ in 0..2 {
        let decision = world.decide(&route, credential.clone(), Purpose::Management);
        managed(decision.await);
    }
    assert_eq!(world.node.transactions_mined(), 1);
}

// SECURITY-CASES A15, PROTOCOL 4: a payer without the deposit would burn the sponsor's fee.
#[tokio::test(start_paused = true)]
async fn an_open_that_can_not_succeed_is_not_sponsored() {
    let world = World::new();
    let mut params = world.params(V2);
    params.deposit = amount(u128::from(u64::MAX) + 1);
    let opening = world.sign_open(&params, FeeMode::Sponsored).await;
    let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
    let before = world.balance(world.sponsor());
    let decision = world.buy(&world.sponsored_route(V2), &payload).await;
    problem(decision, ProblemKind::VerificationFailed);
    assert_eq!(world.balance(world.sponsor()), before);
}

// PROTOCOL 4: atomic budget per payer and in total, simulate first.
#[tokio::test(start_paused = true)]
async fn opens_beyond_the_budget_are_refused_unsent() {
    let most = U256::from(gas::open(V2)) * U256::from(2_000_000_000_u64);
    let world = World::with(|builder| {
        builder.sponsor_budget(SponsorBudget {
            per_payer: most,
            ..SponsorBudget::default()
        })
    });
    let route = world.sponsored_route(V2);
    let mut opened = 0;
    let refusal = loop {
        world.advance(1);
        let params = world.params(V2);
        let opening = world.sign_open(&params, FeeMode::Sponsored).await;
        let payload = opening.payload(&world.voucher(&opening.terms, 0));
        match world.manage(&route, &payload).await {
            decision @ Decision::Respond(_) => drop(managed(decision)),
            other => break other,
        }
        opened += 1;
        assert!(opened < 100);
    };
    problem(refusal, ProblemKind::RateLimited);
    assert_eq!(world.node.transactions_mined(), opened);
    assert!(opened >= 1);
}

// A frozen payer: the open would revert, and the fee would be ours.
#[tokio::test(start_paused = true)]
async fn an_open_that_would_revert_is_not_sponsored() {
    let world = World::new();
    world.node.freeze(world.payer.address());
    let params = world.params(V2);
    let opening = world.sign_open(&params, FeeMode::Sponsored).await;
    let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
    let before = world.balance(world.sponsor());
    let decision = world.buy(&world.sponsored_route(V2), &payload).await;
    problem(decision, ProblemKind::VerificationFailed);
    assert_eq!(world.balance(world.sponsor()), before);
    assert_eq!(world.node.transactions_mined(), 0);
}
