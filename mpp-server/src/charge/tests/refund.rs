//! Refunds: never more than was paid, never twice, whatever breaks.

use std::time::Duration;

use mpp_core::{Amount, receipt::ChargeReceipt};
use mpp_devnet::{Outage, Times};
use mpp_tempo::Signer;

use super::shop::*;
use crate::{
    Fault, RefundError,
    charge::machine::NotRefundable,
    testing::{World, amount},
};

async fn paid(world: &World) -> ChargeReceipt {
    let route = shop(offer(world).external_id("order-1"));
    let challenge = world.challenge(&route).await;
    let credential = Wallet::new(world).pay(&challenge).await;
    served(show(world, &route, &credential).await).await
}

fn payer_has(world: &World) -> u128 {
    world.balance(world.payer.address())
}

#[tokio::test]
async fn a_refund_reaches_the_payer_with_the_reversed_memo() {
    let world = World::new();
    let receipt = paid(&world).await;
    let before = payer_has(&world);
    let refund = world.server.refund(&receipt, amount(4_000)).await.unwrap();
    assert_eq!(payer_has(&world), before + 4_000);
    assert_eq!((refund.amount, refund.number), (amount(4_000), 1));
    assert_eq!(refund.receipt.challenge_id, receipt.challenge_id);
    assert_eq!(refund.receipt.external_id.as_deref(), Some("order-1"));
    assert_ne!(refund.receipt.reference, receipt.reference);

    let id = receipt.challenge_id.clone().unwrap();
    let charge = world.server.charge_of(&id).await.unwrap().unwrap();
    let mut reversed = charge.memo.0;
    reversed.reverse();
    let hash = refund.receipt.reference.parse().unwrap();
    let logs = world.node.receipt(hash).unwrap().logs;
    let has_memo = |log: &alloy_primitives::Log| {
        log.topics().iter().any(|topic| topic.0 == reversed)
            || log.data.data.windows(32).any(|word| word == reversed)
    };
    assert!(logs.iter().any(has_memo));
}

#[tokio::test]
async fn all_refunds_together_never_exceed_the_charge() {
    let world = World::new();
    let receipt = paid(&world).await;
    let before = payer_has(&world);
    let refund = |units| world.server.refund(&receipt, amount(units));
    refund(6_000).await.unwrap();
    let left = amount(4_000);
    for units in [0, 4_001, PRICE] {
        let refused = refund(units).await.unwrap_err();
        assert!(matches!(
            refused,
            RefundError::NotRefundable(NotRefundable::TooMuch { left: most }) if most == left
        ));
    }
    // Many at once: what is left goes back once.
    let all = futures_util::future::join_all((0..8).map(|_| refund(4_000))).await;
    let sum: u128 = all.iter().filter(|result| result.is_ok()).count() as u128;
    assert!(sum >= 1, "{all:?}");
    assert_eq!(payer_has(&world), before + PRICE);
    assert!(refund(1).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_refund_is_finished_and_not_doubled() {
    let world = World::new();
    let receipt = paid(&world).await;
    let before = payer_has(&world);
    let refund = |units| world.server.refund(&receipt, amount(units));

    // Nothing could be sent.
    world.node.faults().set_outage(Outage::Refusing);
    let fault = refund(4_000).await.unwrap_err();
    assert!(matches!(fault, RefundError::Fault(_)), "{fault}");
    world.node.faults().clear();
    refund(4_000).await.unwrap();
    assert_eq!(payer_has(&world), before + 4_000);

    // It was sent, and the answer was lost.
    world.node.faults().lose_responses(Times::Once);
    let fault = refund(3_000).await.unwrap_err();
    assert!(matches!(fault, RefundError::Fault(Fault::OutcomeUnknown)));
    let found = refund(3_000).await.unwrap();
    assert_eq!((found.number, payer_has(&world)), (2, before + 7_000));

    // It was dropped: it never happens, and may be made anew.
    world.node.faults().drop_transactions(Times::Once);
    refund(3_000).await.unwrap_err();
    world.advance(60);
    // A node that lags behind would not know: it is not made anew yet.
    let unknown = refund(3_000).await.unwrap_err();
    assert!(matches!(unknown, RefundError::Fault(Fault::OutcomeUnknown)));
    world.node.mine();
    let failed = refund(3_000).await.unwrap_err();
    assert!(matches!(failed, RefundError::Failed(_)), "{failed}");
    refund(3_000).await.unwrap();
    assert_eq!(payer_has(&world), before + PRICE);
}

// A server that has died is followed by one that finishes what it began.
#[tokio::test(start_paused = true)]
async fn the_next_server_finishes_a_refund_by_itself() {
    let world = World::new();
    let receipt = paid(&world).await;
    let before = payer_has(&world);
    world.node.faults().set_outage(Outage::Refusing);
    world
        .server
        .refund(&receipt, amount(100))
        .await
        .unwrap_err();
    world.node.faults().clear();
    let next = world.configured(world.store.clone());
    tokio::time::sleep(Duration::from_secs(31)).await;
    next.shutdown().await;
    assert_eq!(payer_has(&world), before + 100);
}

#[tokio::test]
async fn receipts_of_others_are_not_refunded() {
    let world = World::new();
    let receipt = paid(&world).await;
    let mut foreign = receipt.clone();
    foreign.reference = alloy_primitives::B256::repeat_byte(1).to_string();
    let mut mixed = receipt.clone();
    mixed.challenge_id = Some(mpp_core::ChallengeId::new("another").unwrap());
    for receipt in [foreign, mixed] {
        let refused = world.server.refund(&receipt, Amount::new(1)).await;
        assert!(matches!(refused, Err(RefundError::Unknown)));
    }
}
