//! PROTOCOL 4: every honest way to pay.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use mpp_core::problem::ProblemKind;
use mpp_devnet::Times;
use mpp_tempo::{
    Signer,
    charge::ProofTerms,
    wire::{ChargeMode, ChargePayload},
};

use super::shop::*;
use crate::{
    PaymentServer,
    charge::record::ChargeState,
    clock::Clock as _,
    gate::{Access, Grant},
    store::MemoryStore,
    testing::{World, granted, problem},
};

fn payer(grant: &Grant) -> Option<Address> {
    match grant.access() {
        Access::Paid(payment) => payment.payer.account(),
        Access::Session(_) => None,
    }
}

#[tokio::test]
async fn a_pulled_charge_is_paid_served_and_receipted() {
    let world = World::new();
    let route = shop(offer(&world).external_id("order-1"));
    let before = world.balance(world.payee());
    let challenge = world.challenge(&route).await;
    let mut credential = Wallet::new(&world).pay(&challenge).await;
    credential.source = Some(Wallet::new(&world).source());

    let grant = granted(show(&world, &route, &credential).await);
    assert_eq!(payer(&grant), Some(world.payer.address()));
    assert_eq!(world.balance(world.payee()), before + PRICE);
    let receipt = charge_receipt(grant.capture(None).await.unwrap());

    let record = record(&world, &challenge).await.unwrap();
    let hash = record.payment.hash.unwrap();
    assert_eq!(receipt.reference, hash.to_string());
    assert_eq!(receipt.challenge_id, Some(challenge.id.clone()));
    assert_eq!(receipt.external_id.as_deref(), Some("order-1"));
    assert_eq!(record.memo, memo(&challenge).to_word());
    assert!(matches!(record.state, ChargeState::Served { .. }));
}

#[tokio::test]
async fn a_pushed_charge_is_paid_by_its_hash() {
    let world = World::new();
    let route = shop(offer(&world));
    let challenge = world.challenge(&route).await;
    let (credential, hash) = Wallet::new(&world).push(&challenge).await;
    let receipt = served(show(&world, &route, &credential).await).await;
    assert_eq!(receipt.reference, hash.to_string());
    assert_eq!(mined(&world), 1);
}

// A lagging node: the client is told to come again, not that it did not pay.
#[tokio::test]
async fn a_pushed_transaction_that_is_not_mined_yet_may_be_shown_again() {
    let world = World::new();
    let route = shop(offer(&world));
    let challenge = world.challenge(&route).await;
    let wallet = Wallet::new(&world);
    let signed = wallet.sign(&honest(&challenge)).await;
    let credential = push(&challenge, signed.hash());
    let early = show(&world, &route, &credential).await;
    problem(early, ProblemKind::RequestInProgress);
    world.node.submit(&signed.encode()).unwrap();
    served(show(&world, &route, &credential).await).await;
}

#[tokio::test]
async fn splits_reach_their_recipients() {
    let world = World::new();
    let (one, two) = (Address::repeat_byte(0x51), Address::repeat_byte(0x52));
    let memo = B256::repeat_byte(7);
    let offer = offer(&world)
        .split(one, "0.004")
        .split_with_memo(two, "0.001", memo);
    let route = shop(offer);
    let before = world.balance(world.payee());
    let challenge = world.challenge(&route).await;
    let mut wallet = Wallet::new(&world);
    wallet.context.fees.gas_limit = 1_500_000;
    served(show(&world, &route, &wallet.pay(&challenge).await).await).await;
    assert_eq!(world.balance(world.payee()), before + 5_000);
    assert_eq!((world.balance(one), world.balance(two)), (4_000, 1_000));
}

#[tokio::test]
async fn other_tokens_pay_where_they_are_asked_for() {
    let world = World::new();
    let token = Address::from_word(
        "0x00000000000000000000000020c0000000000000000000000000000000000001"
            .parse()
            .unwrap(),
    );
    let route = shop(offer(&world).currency(token));
    let challenge = world.challenge(&route).await;
    let mut wallet = Wallet::new(&world);
    let other = wallet.pay(&challenge).await;
    problem(
        show(&world, &route, &other).await,
        ProblemKind::VerificationFailed,
    );
    assert_eq!(mined(&world), 0);
    wallet.token = token;
    served(show(&world, &route, &wallet.pay(&challenge).await).await).await;
}

#[tokio::test]
async fn a_pinned_memo_is_pulled_and_never_pushed() {
    let world = World::new();
    let pinned = B256::repeat_byte(9);
    let route = shop(offer(&world).memo(pinned));
    let challenge = world.challenge(&route).await;
    let modes = request(&challenge).method_details.supported_modes;
    assert_eq!(modes, Some(vec![ChargeMode::Pull]));
    let wallet = Wallet::new(&world);
    let (pushed, _) = wallet.push(&challenge).await;
    let refused = show(&world, &route, &pushed).await;
    problem(refused, ProblemKind::InvalidPayload);
    let mut later = Wallet::new(&world);
    later.context.valid_after = Some(1);
    served(show(&world, &route, &later.pay(&challenge).await).await).await;
    let record = record(&world, &challenge).await.unwrap();
    assert_eq!(record.memo, pinned);
}

// Its bytes are on the chain for everybody: they pay nobody else's challenge.
#[tokio::test]
async fn a_pinned_memo_is_not_paid_by_what_was_mined_before() {
    let world = World::new();
    let route = shop(offer(&world).memo(B256::repeat_byte(9)));
    let challenge = world.challenge(&route).await;
    let signed = Wallet::new(&world).sign(&honest(&challenge)).await;
    world.node.submit(&signed.encode()).unwrap();
    let fresh = world.challenge(&route).await;
    for _ in 0..2 {
        let refused = show(&world, &route, &pull(&fresh, &signed)).await;
        let refused = problem(refused, ProblemKind::InvalidChallenge);
        assert!(refused.detail.contains("mined"), "{}", refused.detail);
        assert_eq!(record(&world, &fresh).await, None);
    }
}

// Nor does what the same fee payer has signed elsewhere.
#[tokio::test]
async fn a_pinned_memo_is_not_paid_by_what_was_sponsored_elsewhere() {
    let world = World::new();
    let other = world.configured(MemoryStore::new());
    let pinned = |server: &PaymentServer| {
        let charge = server.charge().amount("0.01").sponsored();
        shop(charge.memo(B256::repeat_byte(9)))
    };
    let (here, there) = (pinned(&world.server), pinned(&other));
    let challenge = world.challenge(&here).await;
    let signed = Wallet::sponsored(&world).sign(&honest(&challenge)).await;
    served(show(&world, &here, &pull(&challenge, &signed)).await).await;
    // It can not be told from another one until it is signed.
    let credential = pull(&challenge, &signed);
    let refused = show_at(&other, &there, &credential).await;
    let refused = problem(refused, ProblemKind::InvalidChallenge);
    assert!(refused.detail.contains("mined"), "{}", refused.detail);
    assert_eq!(mined(&world), 1);
}

// What this server has sent itself is on the chain as well.
#[tokio::test(start_paused = true)]
async fn a_pinned_memo_is_paid_by_what_was_sent_from_here() {
    let world = World::new();
    let route = shop(offer(&world).memo(B256::repeat_byte(9)));
    // The answer is lost; or the attempt was given up, and mined all the same.
    for (number, is_given_up) in [(1, false), (2, true)] {
        let challenge = world.challenge(&route).await;
        let mut wallet = Wallet::new(&world);
        wallet.context.valid_after = Some(number);
        let signed = wallet.sign(&honest(&challenge)).await;
        let credential = pull(&challenge, &signed);
        world.node.faults().lose_responses(Times::Once);
        let lost = show(&world, &route, &credential).await;
        problem(lost, ProblemKind::ServiceUnavailable);
        if is_given_up {
            put_state(&world, &challenge, ChargeState::Released).await;
        }
        served(show(&world, &route, &credential).await).await;
    }
    assert_eq!(mined(&world), 2);
}

// PROTOCOL 4: validBefore is at most the expiry of the challenge.
#[tokio::test]
async fn a_pinned_memo_is_paid_by_nothing_that_outlives_its_challenge() {
    let world = World::new();
    let route = shop(offer(&world).memo(B256::repeat_byte(9)));
    let challenge = world.challenge(&route).await;
    let expires = challenge.expires_at().unwrap();
    let left = expires.saturating_duration_since(world.clock.now());
    let left = u32::try_from(left.as_secs()).unwrap();
    world.advance(left - 10);
    let pay = async |seconds| {
        let mut wallet = Wallet::new(&world);
        wallet.context.valid_for = Duration::from_secs(seconds);
        show(&world, &route, &wallet.pay(&challenge).await).await
    };
    problem(pay(11).await, ProblemKind::VerificationFailed);
    assert_eq!((mined(&world), record(&world, &challenge).await), (0, None));
    served(pay(10).await).await;
}

#[tokio::test]
async fn a_charge_of_zero_proves_who_asks() {
    let world = World::new();
    let route = shop(offer(&world).amount("0"));
    let challenge = world.challenge(&route).await;
    let wallet = Wallet::new(&world);
    let terms = ProofTerms {
        account: world.payer.address(),
        chain_id: 42431,
        challenge_id: challenge.id.as_str(),
        realm: challenge.realm.as_str(),
    };
    let signature = terms.sign(&world.payer).await.unwrap();
    let mut proof = credential(&challenge, &ChargePayload::Proof { signature });
    proof.source = Some(wallet.source());

    let grant = granted(show(&world, &route, &proof).await);
    assert_eq!(payer(&grant), Some(world.payer.address()));
    let receipt = charge_receipt(grant.capture(None).await.unwrap());
    assert_eq!(receipt.reference, challenge.id.as_str());

    // PROTOCOL 1.3: 403 without challenge for a replayed one-shot proof.
    let again = show(&world, &route, &proof).await;
    problem(again, ProblemKind::ProofReplayed);
    assert_eq!(mined(&world), 0);
}
