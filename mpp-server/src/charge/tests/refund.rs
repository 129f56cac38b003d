//! Refunds: never more than was paid, never twice, whatever breaks.

use std::time::Duration;

use mpp_core::{Amount, problem::ProblemKind, receipt::ChargeReceipt};
use mpp_devnet::{Outage, Times};
use mpp_tempo::Signer;

use super::shop::*;
use crate::{
    Fault, RefundError,
    charge::machine::NotRefundable,
    gate::{Access, Decision},
    store::StoredResponse,
    testing::{World, amount, granted, problem},
};

const TRANSFER_WITH_MEMO: [u8; 4] = [0x95, 0x77, 0x7d, 0x59];

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
    let part = amount(4_000);
    let refund = world.server.refund_to(&receipt, part).await.unwrap();
    assert_eq!(payer_has(&world), before + 4_000);
    assert_eq!((refund.amount, refund.number), (part, 1));
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
    let refund_to = |units| world.server.refund_to(&receipt, amount(units));
    refund_to(6_000).await.unwrap();
    let too_much = refund_to(PRICE + 1).await.unwrap_err();
    let paid = amount(PRICE);
    assert!(matches!(
        too_much,
        RefundError::NotRefundable(NotRefundable::TooMuch { paid: most }) if most == paid
    ));
    for units in [0, 5_999] {
        let too_little = refund_to(units).await.unwrap_err();
        let sent = amount(6_000);
        assert!(matches!(
            too_little,
            RefundError::NotRefundable(NotRefundable::TooLittle { refunded }) if refunded == sent
        ));
    }
    // Many at once: what is left goes back once.
    let all = futures_util::future::join_all((0..8).map(|_| refund_to(PRICE))).await;
    assert!(all.iter().any(Result::is_ok), "{all:?}");
    assert_eq!(payer_has(&world), before + PRICE);
    let last = refund_to(PRICE).await.unwrap();
    assert_eq!((last.amount, last.total), (amount(4_000), paid));
    assert_eq!((last.number, payer_has(&world)), (2, before + PRICE));
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_refund_is_finished_and_not_doubled() {
    let world = World::new();
    let receipt = paid(&world).await;
    let before = payer_has(&world);
    let refund_to = |units| world.server.refund_to(&receipt, amount(units));

    // Nothing could be sent.
    world.node.faults().set_outage(Outage::Refusing);
    let fault = refund_to(4_000).await.unwrap_err();
    assert!(matches!(fault, RefundError::Fault(_)), "{fault}");
    world.node.faults().clear();
    refund_to(4_000).await.unwrap();
    assert_eq!(payer_has(&world), before + 4_000);

    // It was sent, and the answer was lost.
    world.node.faults().lose_responses(Times::Once);
    let fault = refund_to(7_000).await.unwrap_err();
    assert!(matches!(fault, RefundError::Fault(Fault::OutcomeUnknown)));
    for _ in 0..2 {
        let found = refund_to(7_000).await.unwrap();
        assert_eq!((found.number, found.amount), (2, amount(3_000)));
        assert_eq!(payer_has(&world), before + 7_000);
    }

    // It was dropped: it never happens, and is made anew.
    world.node.faults().drop_transactions(Times::Once);
    refund_to(PRICE).await.unwrap_err();
    world.advance(60);
    // A node that lags behind would not know: it is not made anew yet.
    let unknown = refund_to(PRICE).await.unwrap_err();
    assert!(matches!(unknown, RefundError::Fault(Fault::OutcomeUnknown)));
    world.node.mine();
    for _ in 0..2 {
        let whole = refund_to(PRICE).await.unwrap();
        assert_eq!((whole.number, whole.total), (4, amount(PRICE)));
        assert_eq!(payer_has(&world), before + PRICE);
    }
}

// The transaction is certain not to be mined: nothing counts as sent back.
#[tokio::test(start_paused = true)]
async fn a_refund_that_has_failed_does_not_count() {
    let world = World::new();
    let receipt = paid(&world).await;
    let before = payer_has(&world);
    world
        .node
        .faults()
        .revert_calls(TRANSFER_WITH_MEMO, Times::Once);
    let refund_to = |units| world.server.refund_to(&receipt, amount(units));
    let failed = refund_to(4_000).await.unwrap_err();
    assert!(matches!(failed, RefundError::Failed(_)), "{failed}");
    assert_eq!(payer_has(&world), before);
    let less = refund_to(1_000).await.unwrap();
    assert_eq!((less.number, less.total), (2, amount(1_000)));
    assert_eq!(payer_has(&world), before + 1_000);
}

// A server that has died is followed by one that finishes what it began.
#[tokio::test(start_paused = true)]
async fn the_next_server_finishes_a_refund_by_itself() {
    let world = World::new();
    let receipt = paid(&world).await;
    let before = payer_has(&world);
    world.node.faults().set_outage(Outage::Refusing);
    let total = amount(100);
    world.server.refund_to(&receipt, total).await.unwrap_err();
    world.node.faults().clear();
    let next = world.configured(world.store.clone());
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(payer_has(&world), before + 100);
    // Whoever repeats the call as told is answered with what happened meanwhile.
    let again = next.refund_to(&receipt, total).await.unwrap();
    assert_eq!((again.number, payer_has(&world)), (1, before + 100));
    next.shutdown().await;
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
        let refused = world.server.refund_to(&receipt, Amount::new(1)).await;
        assert!(matches!(refused, Err(RefundError::Unknown)));
    }
}

/// The receipt of a charge that was paid, and whose handler has failed.
async fn unserved(sale: &Sale) -> ChargeReceipt {
    let grant = granted(sale.show().await);
    let Access::Paid(payment) = grant.access() else {
        panic!("not paid")
    };
    let receipt = charge_receipt(payment.receipt.clone());
    grant.release().await;
    receipt
}

// Nobody gets both, the money and what it has paid for.
#[tokio::test]
async fn what_was_sent_back_is_not_served() {
    for part in [1, PRICE] {
        let sale = Sale::new().await;
        let receipt = unserved(&sale).await;
        let server = &sale.world.server;
        server.refund_to(&receipt, amount(part)).await.unwrap();
        for wait in [0, 24 * 60 * 60] {
            sale.world.advance(wait);
            let refused = problem(sale.show().await, ProblemKind::InvalidChallenge);
            assert!(refused.detail.contains("sent back"), "{}", refused.detail);
        }
    }
}

// The refund is not certain yet, and counts all the same.
#[tokio::test(start_paused = true)]
async fn a_charge_is_served_again_when_its_refund_has_failed() {
    let sale = Sale::new().await;
    let world = &sale.world;
    let receipt = unserved(&sale).await;
    let refund = || world.server.refund_to(&receipt, amount(PRICE));
    world.node.faults().drop_transactions(Times::Once);
    refund().await.unwrap_err();
    problem(sale.show().await, ProblemKind::InvalidChallenge);
    world.advance(60);
    world.node.mine();
    world
        .node
        .faults()
        .revert_calls(TRANSFER_WITH_MEMO, Times::Once);
    let failed = refund().await.unwrap_err();
    assert!(matches!(failed, RefundError::Failed(_)), "{failed}");
    served(sale.show().await).await;
}

// Its key may pay for the same request once more.
#[tokio::test]
async fn a_key_whose_payment_was_sent_back_pays_anew() {
    let sale = Sale::new().await;
    let world = &sale.world;
    let key = repeatable("k1", "body");
    granted(ask(world, &sale.route, &sale.credential, key).await)
        .release()
        .await;
    let receipt = unserved(&sale).await;
    let all = amount(PRICE);
    world.server.refund_to(&receipt, all).await.unwrap();
    let refused = ask(world, &sale.route, &sale.credential, key).await;
    problem(refused, ProblemKind::InvalidChallenge);
    let fresh = world.challenge(&sale.route).await;
    let mut wallet = Wallet::new(world);
    wallet.context.valid_after = Some(1);
    let before = payer_has(world);
    let credential = wallet.pay(&fresh).await;
    let grant = granted(ask(world, &sale.route, &credential, key).await);
    grant.capture(None).await.unwrap();
    assert!(payer_has(world) <= before - PRICE);
}

// A handler may send a part back, and whoever was served keeps the answer.
#[tokio::test]
async fn a_refund_takes_nothing_from_who_is_being_served_or_was() {
    let sale = Sale::new().await;
    let world = &sale.world;
    let key = repeatable("k1", "body");
    let show = || ask(world, &sale.route, &sale.credential, key);
    let grant = granted(show().await);
    let Access::Paid(payment) = grant.access() else {
        panic!("not paid")
    };
    let receipt = charge_receipt(payment.receipt.clone());
    let refund_to = |units| world.server.refund_to(&receipt, amount(units));
    refund_to(1).await.unwrap();
    problem(show().await, ProblemKind::RequestInProgress);
    let answer = StoredResponse {
        status: 200,
        headers: Vec::new(),
        body: "a photo".into(),
    };
    grant.capture(Some(answer.clone())).await.unwrap();
    refund_to(PRICE).await.unwrap();
    let Decision::Replay(replay) = show().await else {
        panic!("not replayed");
    };
    assert_eq!(replay.response, Some(answer));
}
