//! SECURITY-CASES A1: a payment is granted once, whichever way it is shown.

use std::time::Duration;

use alloy_primitives::Address;
use mpp_core::{Challenge, Credential, problem::ProblemKind};
use mpp_devnet::{Outage, Times};
use mpp_tempo::{Signer, tx::SignedTx};

use super::shop::*;
use crate::{
    charge::record::ChargeState,
    clock::Clock as _,
    gate::Decision,
    store::StoredResponse,
    testing::{World, amount, granted, problem},
};

#[tokio::test]
async fn a_served_charge_is_never_granted_again() {
    let world = World::new();
    let route = shop(offer(&world));
    let challenge = world.challenge(&route).await;
    let wallet = Wallet::new(&world);
    let signed = wallet.sign(&honest(&challenge)).await;
    let credential = pull(&challenge, &signed);
    served(show(&world, &route, &credential).await).await;

    problem(
        show(&world, &route, &credential).await,
        ProblemKind::InvalidChallenge,
    );
    // Push after pull.
    let pushed = push(&challenge, signed.hash());
    problem(
        show(&world, &route, &pushed).await,
        ProblemKind::InvalidChallenge,
    );
    // Another transaction for the same challenge.
    let mut other = Wallet::new(&world);
    other.context.valid_after = Some(1);
    problem(
        show(&world, &route, &other.pay(&challenge).await).await,
        ProblemKind::InvalidChallenge,
    );
    assert_eq!(mined(&world), 1);
}

#[tokio::test]
async fn a_pushed_charge_is_not_pulled_again() {
    let world = World::new();
    let route = shop(offer(&world));
    let challenge = world.challenge(&route).await;
    let wallet = Wallet::new(&world);
    let signed = wallet.sign(&honest(&challenge)).await;
    world.node.submit(&signed.encode()).unwrap();
    served(show(&world, &route, &push(&challenge, signed.hash())).await).await;
    problem(
        show(&world, &route, &pull(&challenge, &signed)).await,
        ProblemKind::InvalidChallenge,
    );
    assert_eq!(mined(&world), 1);
}

// A transaction of a pinned memo could pay many challenges of the same terms.
#[tokio::test]
async fn one_transaction_pays_one_challenge() {
    let world = World::new();
    let route = shop(offer(&world).memo(alloy_primitives::B256::repeat_byte(9)));
    let first = world.challenge(&route).await;
    let second = world.challenge(&route).await;
    let signed = Wallet::new(&world).sign(&honest(&first)).await;
    served(show(&world, &route, &pull(&first, &signed)).await).await;
    problem(
        show(&world, &route, &pull(&second, &signed)).await,
        ProblemKind::InvalidChallenge,
    );
}

#[tokio::test]
async fn a_failed_handler_leaves_the_payment_to_the_same_credential() {
    let sale = Sale::new().await;
    let world = &sale.world;

    granted(sale.show().await).release().await;
    assert_eq!(sale.state().await, ChargeState::Paid);
    // One at a time.
    let grant = granted(sale.show().await);
    problem(sale.show().await, ProblemKind::RequestInProgress);
    // A client that has gone: the grant is dropped, and given back by a task.
    drop(grant);
    // Tasks that are under way come to their end before this does.
    tokio::time::sleep(Duration::from_secs(1)).await;
    served(sale.show().await).await;
    assert_eq!(mined(world), 1);
}

// A payment that was made in time is not lost when its challenge expires.
#[tokio::test]
async fn a_paid_charge_is_served_after_its_challenge_has_expired() {
    let sale = Sale::new().await;
    let world = &sale.world;
    granted(sale.show().await).release().await;
    world.advance(24 * 60 * 60);
    served(sale.show().await).await;
    problem(sale.show().await, ProblemKind::InvalidChallenge);
}

fn response() -> StoredResponse {
    StoredResponse {
        status: 200,
        headers: vec![(String::from("x-photo"), "1".into())],
        body: "a photo".into(),
    }
}

// PROTOCOL 5.6 and SECURITY-CASES A16, for charges.
#[tokio::test]
async fn an_idempotent_retry_gets_the_same_response_and_pays_nothing() {
    let sale = Sale::new().await;
    let world = &sale.world;
    let key = repeatable("k1", "body");
    let grant = granted(ask(world, &sale.route, &sale.credential, key).await);
    assert!(grant.is_idempotent());
    let receipt = grant.capture(Some(response())).await.unwrap();

    let Decision::Replay(replay) = ask(world, &sale.route, &sale.credential, key).await else {
        panic!("not replayed");
    };
    assert_eq!(replay.receipt, receipt);
    assert_eq!(replay.response, Some(response()));
    // A new credential of the same payer for the same request is not taken.
    let fresh = world.challenge(&sale.route).await;
    let mut wallet = Wallet::new(world);
    wallet.context.valid_after = Some(1);
    let second = wallet.pay(&fresh).await;
    assert!(matches!(
        ask(world, &sale.route, &second, key).await,
        Decision::Replay(_)
    ));
    assert_eq!(mined(world), 1);
    problem(
        ask(
            world,
            &sale.route,
            &sale.credential,
            repeatable("k1", "other"),
        )
        .await,
        ProblemKind::IdempotencyKeyReused,
    );
    problem(
        ask(
            world,
            &sale.route,
            &sale.credential,
            repeatable("k2", "body"),
        )
        .await,
        ProblemKind::InvalidChallenge,
    );
    // Kept for a day by default.
    world.advance(24 * 60 * 60 + 1);
    problem(
        ask(world, &sale.route, &sale.credential, key).await,
        ProblemKind::InvalidChallenge,
    );
}

// What was mined is on the books, whoever answers the request.
#[tokio::test]
async fn a_payment_that_was_pushed_under_a_known_key_is_recorded() {
    let sale = Sale::new().await;
    let world = &sale.world;
    let key = repeatable("k1", "body");
    let grant = granted(ask(world, &sale.route, &sale.credential, key).await);
    grant.capture(Some(response())).await.unwrap();
    let fresh = world.challenge(&sale.route).await;
    let mut wallet = Wallet::new(world);
    wallet.context.valid_after = Some(1);
    let (second, hash) = wallet.push(&fresh).await;
    for _ in 0..2 {
        let again = ask(world, &sale.route, &second, key).await;
        assert!(matches!(again, Decision::Replay(_)), "{again:?}");
        let recorded = record(world, &fresh).await.unwrap();
        assert!(recorded.is_paid(), "{recorded:?}");
        assert_eq!((recorded.payment.hash, recorded.asked), (Some(hash), None));
    }
    // For another request it is worth its money, and it can be sent back.
    let other = repeatable("k2", "body");
    let grant = granted(ask(world, &sale.route, &second, other).await);
    assert!(grant.is_idempotent());
    let receipt = charge_receipt(grant.capture(Some(response())).await.unwrap());
    let again = ask(world, &sale.route, &second, other).await;
    assert!(matches!(again, Decision::Replay(_)), "{again:?}");
    let all = amount(PRICE);
    world.server.refund_to(&receipt, all).await.unwrap();
}

/// A credential of the same payer for a new challenge of the route.
async fn anew(sale: &Sale) -> (Challenge, Credential) {
    let world = &sale.world;
    let fresh = world.challenge(&sale.route).await;
    let mut wallet = Wallet::new(world);
    wallet.context.valid_after = Some(1);
    let credential = wallet.pay(&fresh).await;
    (fresh, credential)
}

// The server has died before it knew what became of the payment.
#[tokio::test(start_paused = true)]
async fn a_key_whose_payment_was_never_made_pays_anew() {
    let sale = Sale::new().await;
    let world = &sale.world;
    let key = repeatable("k1", "body");
    world.node.faults().set_outage(Outage::Refusing);
    let lost = ask(world, &sale.route, &sale.credential, key).await;
    problem(lost, ProblemKind::ServiceUnavailable);
    let state = sale.state().await;
    assert!(matches!(state, ChargeState::Sent { .. }), "{state:?}");
    world.node.faults().clear();
    world.advance(60);
    world.node.mine();
    let (_, second) = anew(&sale).await;
    drop(granted(ask(world, &sale.route, &second, key).await));
    assert_eq!(sale.state().await, ChargeState::Released);
    assert_eq!(mined(world), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_payment_was_made_is_served_for_it() {
    let sale = Sale::new().await;
    let world = &sale.world;
    let key = repeatable("k1", "body");
    world.node.faults().lose_responses(Times::Once);
    let lost = ask(world, &sale.route, &sale.credential, key).await;
    problem(lost, ProblemKind::ServiceUnavailable);
    let (fresh, second) = anew(&sale).await;
    let grant = granted(ask(world, &sale.route, &second, key).await);
    grant.capture(Some(response())).await.unwrap();
    let state = sale.state().await;
    assert!(matches!(state, ChargeState::Served { .. }), "{state:?}");
    assert!(record(world, &fresh).await.is_none());
    assert_eq!(mined(world), 1);
}

// The server has died before it could sign as the fee payer.
#[tokio::test(start_paused = true)]
async fn a_key_whose_claim_has_lapsed_pays_anew() {
    let world = World::new();
    let route = shop(offer(&world).sponsored());
    let challenge = world.challenge(&route).await;
    let credential = Wallet::sponsored(&world).pay(&challenge).await;
    let key = repeatable("k1", "body");
    world.node.faults().set_outage(Outage::Refusing);
    let lost = ask(&world, &route, &credential, key).await;
    problem(lost, ProblemKind::ServiceUnavailable);
    world.node.faults().clear();
    let until = world.clock.now();
    put_state(&world, &challenge, ChargeState::Claimed { until }).await;
    world.advance(60);
    let fresh = world.challenge(&route).await;
    let second = Wallet::sponsored(&world).pay(&fresh).await;
    drop(granted(ask(&world, &route, &second, key).await));
    let state = record(&world, &challenge).await.unwrap().state;
    assert_eq!(state, ChargeState::Released);
    assert_eq!(mined(&world), 1);
}

// Its receipt can not be judged by an offer of another price.
#[tokio::test(start_paused = true)]
async fn a_key_whose_payment_was_for_another_offer_is_told_apart() {
    let sale = Sale::new().await;
    let world = &sale.world;
    let key = repeatable("k1", "body");
    world.node.faults().lose_responses(Times::Once);
    let lost = ask(world, &sale.route, &sale.credential, key).await;
    problem(lost, ProblemKind::ServiceUnavailable);
    // The price has changed meanwhile.
    let route = shop(world.server.charge().amount("0.02"));
    let fresh = world.challenge(&route).await;
    let mut wallet = Wallet::new(world);
    wallet.context.valid_after = Some(1);
    let second = wallet.pay(&fresh).await;
    let answer = ask(world, &route, &second, key).await;
    problem(answer, ProblemKind::IdempotencyKeyReused);
    assert_eq!(mined(world), 1);
    // What was paid is still served for what it was paid for.
    drop(granted(
        ask(world, &sale.route, &sale.credential, key).await,
    ));
}

// Nor by an offer of the same price that splits it otherwise, however far the payment has come.
#[tokio::test(start_paused = true)]
async fn a_key_whose_payment_was_split_otherwise_is_told_apart() {
    for is_mined in [true, false] {
        let sale = Sale::new().await;
        let world = &sale.world;
        let key = repeatable("k1", "body");
        match is_mined {
            true => world.node.faults().lose_responses(Times::Once),
            false => world.node.faults().drop_transactions(Times::Once),
        }
        let lost = ask(world, &sale.route, &sale.credential, key).await;
        problem(lost, ProblemKind::ServiceUnavailable);
        // It was split meanwhile.
        let route = shop(offer(world).split(Address::repeat_byte(0x51), "0.004"));
        for _ in 0..2 {
            let fresh = world.challenge(&route).await;
            let mut wallet = Wallet::new(world);
            wallet.context.fees.gas_limit = 1_500_000;
            let second = wallet.pay(&fresh).await;
            let answer = ask(world, &route, &second, key).await;
            problem(answer, ProblemKind::IdempotencyKeyReused);
            assert!(record(world, &fresh).await.is_none());
        }
        assert_eq!(mined(world), 1);
        // What was paid is still served for what it was paid for.
        drop(granted(
            ask(world, &sale.route, &sale.credential, key).await,
        ));
    }
}

// SECURITY-CASES A16: that a transaction claims to be of a payer buys nothing that was sold to it.
#[tokio::test]
async fn a_claimed_sender_finds_no_charge_of_another() {
    let sale = Sale::new().await;
    let world = &sale.world;
    let key = repeatable("order-7", "body");
    let thief = Wallet {
        signer: &world.stranger,
        ..Wallet::new(world)
    };
    let steal = async || {
        let fresh = world.challenge(&sale.route).await;
        let forged = claimed_for(world.payer.address(), &thief, &fresh).await;
        problem(
            ask(world, &sale.route, &forged, key).await,
            ProblemKind::VerificationFailed,
        );
    };
    // Paid and not served yet, and then served.
    granted(ask(world, &sale.route, &sale.credential, key).await)
        .release()
        .await;
    steal().await;
    let grant = granted(ask(world, &sale.route, &sale.credential, key).await);
    grant.capture(Some(response())).await.unwrap();
    steal().await;
    assert_eq!(mined(world), 1);
    assert!(matches!(
        ask(world, &sale.route, &sale.credential, key).await,
        Decision::Replay(_)
    ));
}

// What was sold does not stay with the books for ever.
#[tokio::test(start_paused = true)]
async fn a_response_is_forgotten_when_no_retry_may_ask_for_it() {
    const DAY: u32 = 24 * 60 * 60;
    let sale = Sale::new().await;
    let world = &sale.world;
    let key = repeatable("k1", "body");
    let grant = granted(ask(world, &sale.route, &sale.credential, key).await);
    grant.capture(Some(response())).await.unwrap();
    let kept = async || match sale.state().await {
        ChargeState::Served { response, .. } => response.is_some(),
        other => panic!("not served: {other:?}"),
    };
    // By the clock of another server it may be asked for still.
    world.clock.advance_secs(DAY + 60 * 60 - 1);
    tokio::time::sleep(Duration::from_secs(2 * 60 * 60)).await;
    assert!(kept().await);
    world.clock.advance_secs(1);
    tokio::time::sleep(Duration::from_secs(60 * 60)).await;
    assert!(!kept().await);
    // The charge itself stays, and is used up.
    problem(
        ask(world, &sale.route, &sale.credential, key).await,
        ProblemKind::InvalidChallenge,
    );
    assert_eq!(mined(world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_copies_at_two_servers_one_is_granted() {
    let world = World::new();
    let other = world.configured(world.store.clone());
    let route = shop(offer(&world));
    let there = shop(other.charge().amount("0.01"));
    let challenge = world.challenge(&route).await;
    let credential = Wallet::new(&world).pay(&challenge).await;
    let copies = (0..100).map(|index| {
        let (server, route) = match index % 2 {
            0 => (&world.server, &route),
            _ => (&other, &there),
        };
        show_at(server, route, &credential)
    });
    let decisions = futures_util::future::join_all(copies).await;
    let granted: Vec<_> = decisions
        .into_iter()
        .filter_map(|decision| match decision {
            Decision::Grant(grant) => Some(grant),
            Decision::Refuse(refusal) => {
                assert_eq!(refusal.problem.kind, ProblemKind::RequestInProgress);
                None
            }
            other => panic!("neither granted nor refused: {other:?}"),
        })
        .collect();
    assert_eq!(granted.len(), 1);
    assert_eq!(mined(&world), 1);
    for grant in granted {
        grant.capture(None).await.unwrap();
    }
    problem(
        show_at(&other, &there, &credential).await,
        ProblemKind::InvalidChallenge,
    );
}

// Different encodings and fee payers of one transaction are one payment.
#[tokio::test]
async fn another_encoding_of_the_same_transaction_is_the_same_payment() {
    let world = World::new();
    let route = shop(offer(&world).sponsored());
    let challenge = world.challenge(&route).await;
    let wallet = Wallet::sponsored(&world);
    let signed = wallet.sign(&honest(&challenge)).await;
    served(show(&world, &route, &pull(&challenge, &signed)).await).await;
    let cosigned = mpp_tempo::tx::cosign(signed.clone(), &world.stranger, wallet.token)
        .await
        .unwrap();
    assert_eq!(cosigned.replay_id(), signed.replay_id());
    problem(
        show(&world, &route, &pull(&challenge, &cosigned)).await,
        ProblemKind::InvalidChallenge,
    );
    assert_eq!(mined(&world), 1);
    let decoded = SignedTx::decode(&signed.encode()).unwrap();
    assert_eq!(decoded.replay_id(), cosigned.replay_id());
}

#[tokio::test]
async fn a_grant_whose_lease_has_lapsed_can_not_be_captured() {
    let world = World::with(|builder| builder.hold_lease(Duration::from_secs(2)));
    let route = shop(offer(&world));
    let challenge = world.challenge(&route).await;
    let credential = Wallet::new(&world).pay(&challenge).await;
    let slow = granted(show(&world, &route, &credential).await);
    // Its process is held up for too long: another one takes over.
    world.clock.advance_secs(3);
    let next = granted(show(&world, &route, &credential).await);
    let late = slow.capture(None).await;
    assert!(late.is_err(), "{late:?}");
    next.capture(None).await.unwrap();
}
