//! Lost answers, dropped and reverted transactions, dying servers: a payment
//! is granted once, or was never made; it is never paid and refused for ever.

use std::time::Duration;

use mpp_core::problem::ProblemKind;
use mpp_devnet::{Outage, Times};
use mpp_tempo::{charge::AttributionMemo, tx::FeeMode};

use super::shop::*;
use crate::{
    ServerEvent,
    charge::record::ChargeState,
    clock::Clock as _,
    testing::{Doctored, World, granted, other_amounts, paying, problem, refused, without_events},
};

const TRANSFER_WITH_MEMO: [u8; 4] = [0x95, 0x77, 0x7d, 0x59];

fn wallet(world: &World, fee_mode: FeeMode) -> Wallet<'_> {
    match fee_mode {
        FeeMode::Sponsored => Wallet::sponsored(world),
        FeeMode::SelfPaid { .. } => Wallet::new(world),
    }
}

// The answer to the broadcast is lost, the transaction is not.
#[tokio::test(start_paused = true)]
async fn a_payment_whose_answer_was_lost_is_found_on_the_chain() {
    for fee_mode in [paying(), FeeMode::Sponsored] {
        let world = World::new();
        let route = shop(offer(&world).sponsored());
        let challenge = world.challenge(&route).await;
        let credential = wallet(&world, fee_mode).pay(&challenge).await;
        world.node.faults().lose_responses(Times::Once);
        let lost = show(&world, &route, &credential).await;
        problem(lost, ProblemKind::ServiceUnavailable);
        // Much later the transaction and the challenge are no longer valid.
        world.advance(3_600);
        served(show(&world, &route, &credential).await).await;
        assert_eq!(mined(&world), 1);
    }
}

// The process dies between the claim and the grant; another one takes over.
#[tokio::test(start_paused = true)]
async fn another_server_grants_what_a_dead_one_has_claimed() {
    let sale = Sale::new().await;
    let world = &sale.world;
    world.node.faults().set_outage(Outage::Refusing);
    let refused = sale.show().await;
    problem(refused, ProblemKind::ServiceUnavailable);
    let state = sale.state().await;
    assert!(matches!(state, ChargeState::Sent { .. }), "{state:?}");
    assert_eq!(mined(world), 0);

    world.node.faults().clear();
    let other = world.configured(world.store.clone());
    let there = shop(other.charge().amount("0.01"));
    served(show_at(&other, &there, &sale.credential).await).await;
    assert_eq!(mined(world), 1);
    // The first one, back again, knows it.
    problem(sale.show().await, ProblemKind::InvalidChallenge);
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_was_never_mined_costs_nothing_and_can_be_made_anew() {
    let sale = Sale::new().await;
    let world = &sale.world;
    world.node.faults().drop_transactions(Times::Once);
    let lost = sale.show().await;
    problem(lost, ProblemKind::ServiceUnavailable);
    // No longer valid; but a node that lags behind would not know it mined.
    world.advance(60);
    let unknown = sale.show().await;
    problem(unknown, ProblemKind::ServiceUnavailable);
    // The chain has passed its end: certainly not mined.
    world.node.mine();
    let over = sale.show().await;
    problem(over, ProblemKind::VerificationFailed);
    let state = sale.state().await;
    assert_eq!(state, ChargeState::Released);
    // The same challenge, another transaction.
    let anew = Wallet::new(world).pay(&sale.challenge).await;
    served(show(world, &sale.route, &anew).await).await;
    assert_eq!(mined(world), 1);
}

// While it can still be mined, it is sent again.
#[tokio::test(start_paused = true)]
async fn a_dropped_transaction_is_sent_again_while_it_is_valid() {
    let sale = Sale::new().await;
    let world = &sale.world;
    world.node.faults().drop_transactions(Times::Once);
    let lost = sale.show().await;
    problem(lost, ProblemKind::ServiceUnavailable);
    served(sale.show().await).await;
    assert_eq!(mined(world), 1);
}

// SECURITY-CASES A25: a reverted transaction is not believed.
#[tokio::test(start_paused = true)]
async fn a_reverted_transaction_pays_nothing() {
    let world = World::new();
    let route = shop(offer(&world));
    let challenge = world.challenge(&route).await;
    let wallet = Wallet::new(&world);
    let signed = wallet.sign(&honest(&challenge)).await;
    world
        .node
        .faults()
        .revert_calls(TRANSFER_WITH_MEMO, Times::Once);
    for credential in [pull(&challenge, &signed), push(&challenge, signed.hash())] {
        let refused = show(&world, &route, &credential).await;
        problem(refused, ProblemKind::VerificationFailed);
        let state = record(&world, &challenge).await.unwrap().state;
        assert_eq!(state, ChargeState::Released);
    }
    // The honest payment still works.
    let mut next = Wallet::new(&world);
    next.context.valid_after = Some(1);
    served(show(&world, &route, &next.pay(&challenge).await).await).await;
}

// A payer without money: the node refuses, and nothing is granted.
#[tokio::test(start_paused = true)]
async fn a_payer_without_money_gets_nothing() {
    let world = World::new();
    let poor = mpp_tempo::LocalSigner::from_bytes(&[9; 32]).unwrap();
    let route = shop(offer(&world));
    let challenge = world.challenge(&route).await;
    let wallet = Wallet {
        signer: &poor,
        ..Wallet::new(&world)
    };
    let refused = show(&world, &route, &wallet.pay(&challenge).await).await;
    problem(refused, ProblemKind::VerificationFailed);
}

// Each would leave a record and cost calls to the node.
#[tokio::test(start_paused = true)]
async fn pulls_that_pay_nothing_are_limited_by_peer() {
    let world = World::new();
    let route = shop(offer(&world));
    let poor = [9, 10].map(|byte| mpp_tempo::LocalSigner::from_bytes(&[byte; 32]).unwrap());
    let pay = async |signer, peer| {
        let challenge = world.challenge(&route).await;
        let wallet = Wallet {
            signer,
            ..Wallet::new(&world)
        };
        let credential = wallet.pay(&challenge).await;
        let decision = show_from(&world, &route, &credential, peer).await;
        (challenge, decision)
    };
    let (here, there) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    for _ in 0..20 {
        let (_, refused) = pay(&poor[0], here).await;
        problem(refused, ProblemKind::VerificationFailed);
    }
    // Another account of nothing is no way around it, and no record is left.
    for signer in &poor {
        let (challenge, refused) = pay(signer, here).await;
        problem(refused, ProblemKind::RateLimited);
        assert!(record(&world, &challenge).await.is_none());
    }
    let (_, elsewhere) = pay(&poor[1], there).await;
    problem(elsewhere, ProblemKind::VerificationFailed);
    // Whoever can pay does, and so does everybody after a while.
    served(pay(&world.payer, here).await.1).await;
    world.advance(2);
    let (_, refused) = pay(&poor[0], here).await;
    problem(refused, ProblemKind::VerificationFailed);
}

#[tokio::test(start_paused = true)]
async fn pulls_whose_end_is_not_known_count_too() {
    let world = World::new();
    let route = shop(offer(&world));
    let peer = [192, 0, 2, 1];
    for number in 1..=21 {
        let challenge = world.challenge(&route).await;
        let mut wallet = Wallet::new(&world);
        wallet.context.valid_after = Some(number);
        let credential = wallet.pay(&challenge).await;
        world.node.faults().drop_transactions(Times::Once);
        let shown = show_from(&world, &route, &credential, peer).await;
        problem(
            shown,
            match number {
                21 => ProblemKind::RateLimited,
                _ => ProblemKind::ServiceUnavailable,
            },
        );
    }
}

// A node that lags behind does not make a payment vanish.
#[tokio::test(start_paused = true)]
async fn a_lagging_node_delays_a_payment_and_does_not_lose_it() {
    let world = World::new();
    let route = shop(offer(&world));
    let challenge = world.challenge(&route).await;
    let wallet = Wallet::new(&world);
    let signed = wallet.sign(&honest(&challenge)).await;
    world.node.submit(&signed.encode()).unwrap();
    world.node.faults().lag_reads(1);
    let credential = push(&challenge, signed.hash());
    let early = show(&world, &route, &credential).await;
    problem(early, ProblemKind::RequestInProgress);
    world.node.mine();
    served(show(&world, &route, &credential).await).await;
}

// A client that has gone: the server follows its transaction to the end.
#[tokio::test(start_paused = true)]
async fn a_vanished_client_finds_its_payment_later() {
    let sale = Sale::new().await;
    let world = &sale.world;
    world
        .node
        .faults()
        .delay_transactions(Duration::from_secs(2), Times::Once);
    let gone = tokio::time::timeout(Duration::from_millis(100), sale.show());
    assert!(gone.await.is_err());
    world.advance(2);
    // Tasks that are under way come to their end before this does.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let state = sale.state().await;
    assert_eq!(state, ChargeState::Paid);
    drop(granted(sale.show().await));
}

// It was let go, and is on the chain: the payer has sent it, too.
#[tokio::test(start_paused = true)]
async fn a_payment_that_was_let_go_is_found_when_it_is_shown_late() {
    let world = World::new();
    let route = shop(offer(&world));
    let challenge = world.challenge(&route).await;
    let wallet = Wallet::new(&world);
    let signed = wallet.sign(&honest(&challenge)).await;
    let credential = pull(&challenge, &signed);
    world.node.faults().drop_transactions(Times::Once);
    problem(
        show(&world, &route, &credential).await,
        ProblemKind::ServiceUnavailable,
    );
    put_state(&world, &challenge, ChargeState::Released).await;
    world.node.submit(&signed.encode()).unwrap();
    // The transaction is over, the challenge is not.
    world.advance(60);
    served(show(&world, &route, &credential).await).await;
    assert_eq!(mined(&world), 1);
}

// Two that follow one transaction see the same end.
#[tokio::test(start_paused = true)]
async fn a_payment_that_two_have_followed_is_told_once() {
    let world = World::with(|builder| builder.hold_lease(Duration::from_secs(1)));
    let route = shop(offer(&world));
    let challenge = world.challenge(&route).await;
    let credential = Wallet::new(&world).pay(&challenge).await;
    let mut events = world.server.subscribe();
    world
        .node
        .faults()
        .delay_transactions(Duration::from_secs(2), Times::Once);
    let gone = tokio::time::timeout(
        Duration::from_millis(100),
        show(&world, &route, &credential),
    );
    assert!(gone.await.is_err());
    world.advance(2);
    drop(granted(show(&world, &route, &credential).await));
    // Tasks that are under way come to their end before this does.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut told = 0;
    while let Ok(event) = events.try_recv() {
        told += u32::from(matches!(event, ServerEvent::ChargePaid { .. }));
    }
    assert_eq!((told, mined(&world)), (1, 1));
}

// SECURITY-CASES A4: an unrelated transfer in the same transaction.
#[tokio::test]
async fn a_transfer_of_another_challenge_is_no_payment() {
    let world = World::new();
    let route = shop(offer(&world));
    let challenge = world.challenge(&route).await;
    let other = world.challenge(&route).await;
    let wallet = Wallet::new(&world);
    let mut transfers = honest(&challenge);
    transfers[0].memo =
        Some(AttributionMemo::new(other.realm.as_str(), None, other.id.as_str()).to_word());
    let signed = wallet.sign(&transfers).await;
    world.node.submit(&signed.encode()).unwrap();
    let refused = show(&world, &route, &push(&challenge, signed.hash())).await;
    problem(refused, ProblemKind::VerificationFailed);
    // It pays the challenge that it names.
    served(show(&world, &route, &push(&other, signed.hash())).await).await;
}

// SECURITY-CASES A25: a success that does not show the transfers is no payment.
#[tokio::test(start_paused = true)]
async fn a_receipt_without_the_transfers_pays_nothing() {
    for change in [without_events, other_amounts] {
        let mut world = World::new();
        let node = world.node.clone();
        world.server = world.again(|builder| builder.chain(Doctored { node, change }));
        let route = shop(offer(&world));
        let challenge = world.challenge(&route).await;
        let credential = Wallet::new(&world).pay(&challenge).await;
        for _ in 0..2 {
            let refusal = refused(show(&world, &route, &credential).await);
            assert!(refusal.problem.status() >= 500, "{:?}", refusal.problem);
        }
        assert_eq!(mined(&world), 1);
        assert!(!record(&world, &challenge).await.unwrap().is_paid());
    }
}

// However many requests take long, and however slow the store is: all grants are extended in time,
// and nobody else is given one meanwhile.
#[tokio::test(start_paused = true)]
async fn many_long_requests_keep_their_grants() {
    let (world, store) = World::on_slow_store();
    let route = shop(offer(&world));
    let mut served = Vec::new();
    for number in 1..=300 {
        let challenge = world.challenge(&route).await;
        let mut wallet = Wallet::new(&world);
        wallet.context.valid_after = Some(number);
        let credential = wallet.pay(&challenge).await;
        let grant = granted(show(&world, &route, &credential).await);
        served.push((challenge, grant));
    }
    store.take(Duration::from_millis(200));
    for _ in 0..60 {
        world.clock.advance_secs(1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = world.clock.now();
        for (challenge, _) in &served {
            let state = record(&world, challenge).await.unwrap().state;
            let is_kept = matches!(state, ChargeState::Serving { until } if until > now);
            assert!(is_kept, "{state:?} at {now}");
        }
    }
    store.take(Duration::ZERO);
    for (_, grant) in served {
        grant.capture(None).await.unwrap();
    }
}
