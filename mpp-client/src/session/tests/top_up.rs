use mpp_tempo::tx::{SignedTx, check};

use super::*;
use crate::error::{ClientError, TransportError};
use crate::policy::{PolicyViolation, TopUpPolicy};
use crate::session::book::Phase;
use crate::session::exit::Leave;
use crate::session::top_up::TopUp;
use crate::testing::offer;

/// An offer whose channels begin with two units.
fn small() -> Offer {
    offer_with(|request| request["suggestedDeposit"] = json!("2000"))
}

async fn use_up(bench: &Bench, offer: &Offer) -> ChannelId {
    let id = bench.open(offer).await;
    let mut payment = bench.begin(offer).await;
    send(&mut payment).await;
    payment.confirm(&receipt(id, 2_000, 2_000)).unwrap();
    id
}

async fn needs_top_up(payment: &mut Payment) -> TopUp {
    match payment.prepare().await.unwrap() {
        Next::TopUp(top_up) => *top_up,
        Next::Send(_) => panic!("no top-up is needed"),
    }
}

fn transaction(top_up: &TopUp) -> Bytes {
    let credential = read(&top_up.credential(&offer()).unwrap());
    match SessionPayload::from_value(&credential.payload).unwrap() {
        SessionPayload::TopUp { transaction, .. } => transaction,
        _ => panic!("not a top-up"),
    }
}

// PROTOCOL 5.3: topUp in both versions.
#[tokio::test]
async fn a_request_that_needs_more_is_preceded_by_a_top_up() {
    for offer in offers() {
        let offer = {
            let version = json!(offer.protocol());
            let escrow = json!(offer.escrow());
            offer_with(|request| {
                request["suggestedDeposit"] = json!("2000");
                request["methodDetails"]["sessionProtocol"] = version;
                request["methodDetails"]["escrowContract"] = escrow;
            })
        };
        let bench = Bench::new();
        let id = use_up(&bench, &offer).await;
        let mut payment = bench.begin(&offer).await;
        let top_up = needs_top_up(&mut payment).await;
        assert_eq!(top_up.additional(), units(2_000));
        let bytes = transaction(&top_up);
        let tx = SignedTx::decode(&bytes).unwrap();
        let call = check::top_up(&tx, &bench.record(id).terms).unwrap();
        assert_eq!((call.channel_id, call.additional), (id, units(2_000)));
        assert_eq!(tx.fee_token(), Some(offer.currency()));
        bench.mine(&bytes).await;
        top_up.confirm(&receipt(id, 2_000, 2_000)).unwrap();
        assert_eq!(presented(&mut payment).await, units(3_000));
        assert_eq!(bench.record(id).ledger.deposit(), units(4_000));
    }
}

// Two equal top-ups are two transactions: an expiring nonce would take the second for a replay.
#[tokio::test]
async fn two_equal_top_ups_differ() {
    let bench = Bench::new();
    let id = bench.open(&small()).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let top_up = bench.payer.top_up(id, &small(), units(500)).await.unwrap();
        let bytes = transaction(&top_up);
        bench.mine(&bytes).await;
        seen.push(bytes);
        top_up.confirm(&receipt(id, 1_000, 1_000)).unwrap();
    }
    assert_ne!(seen[0], seen[1]);
    assert_eq!(bench.record(id).ledger.deposit(), units(3_000));
    let on_chain = bench.chain.channel(SessionProtocol::V2, id).unwrap();
    assert_eq!(on_chain.deposit, units(3_000));
}

// SECURITY-CASES: a committed top-up lost because a later step failed.
#[tokio::test]
async fn a_lost_top_up_is_repeated_with_the_same_transaction() {
    let bench = Bench::new();
    let id = use_up(&bench, &small()).await;
    let mut payment = bench.begin(&small()).await;
    let top_up = needs_top_up(&mut payment).await;
    let (bytes, hash) = (
        transaction(&top_up),
        bench.payer.pending_top_up(&id).unwrap(),
    );
    let error = top_up.lose(TransportError::new("the connection broke"));
    assert!(matches!(
        error,
        ClientError::Indeterminate { tx_hash, .. } if tx_hash == hash && hash.is_some()
    ));
    let again = needs_top_up(&mut payment).await;
    assert!(again.is_repeat());
    assert_eq!(transaction(&again), bytes);
    drop(again);
    // It was mined after all: the server, which has not confirmed it, is told once more.
    bench.mine(&bytes).await;
    let told = needs_top_up(&mut payment).await;
    assert_eq!(transaction(&told), bytes);
    told.confirm(&receipt(id, 2_000, 2_000)).unwrap();
    assert_eq!(presented(&mut payment).await, units(3_000));
    assert_eq!(bench.payer.pending_top_up(&id).unwrap(), None);
    assert_eq!(bench.record(id).ledger.deposit(), units(4_000));
}

#[tokio::test]
async fn a_top_up_that_was_never_mined_is_made_anew_after_its_validity() {
    let bench = Bench::new();
    let id = use_up(&bench, &small()).await;
    let mut payment = bench.begin(&small()).await;
    let top_up = needs_top_up(&mut payment).await;
    let bytes = transaction(&top_up);
    drop(top_up);
    bench.pass(60);
    let fresh = needs_top_up(&mut payment).await;
    assert_ne!(transaction(&fresh), bytes);
    assert_eq!(bench.record(id).ledger.deposit(), units(2_000));
}

#[tokio::test]
async fn one_top_up_serves_all_that_wait_for_it() {
    let bench = Bench::new();
    let id = use_up(&bench, &small()).await;
    let mut first = bench.begin(&small()).await;
    let mut second = bench.begin(&small()).await;
    let top_up = needs_top_up(&mut first).await;
    let mut waiting = Box::pin(second.prepare());
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    bench.mine(&transaction(&top_up)).await;
    top_up.confirm(&receipt(id, 2_000, 2_000)).unwrap();
    assert!(matches!(waiting.await.unwrap(), Next::Send(_)));
}

// PROTOCOL 5.7: never above maxDeposit.
#[tokio::test]
async fn a_top_up_stays_within_the_policy() {
    let bench = Bench::with(Policy::new(units(2_500)));
    let id = use_up(&bench, &small()).await;
    let mut payment = bench.begin(&small()).await;
    let refused = payment.prepare().await;
    assert!(matches!(
        refused,
        Err(ClientError::Policy(PolicyViolation::DepositTooLarge { .. }))
    ));
    let refused = bench.payer.top_up(id, &small(), units(501)).await;
    assert!(matches!(
        refused,
        Err(ClientError::Policy(PolicyViolation::DepositTooLarge { .. }))
    ));
    assert!(bench.payer.top_up(id, &small(), units(500)).await.is_ok());
}

#[tokio::test]
async fn a_policy_that_never_refills_says_what_is_missing() {
    let bench = Bench::with(Policy::new(units(100_000)).top_up(TopUpPolicy::Never));
    let id = use_up(&bench, &small()).await;
    let mut payment = bench.begin(&small()).await;
    let error = payment.prepare().await.unwrap_err();
    assert!(matches!(
        error,
        ClientError::InsufficientDeposit { channel_id, required, deposit }
            if channel_id == id && required == units(3_000) && deposit == units(2_000)
    ));
    drop(payment);
    assert_eq!(bench.record(id).ledger.signed(), units(2_000));
}

#[tokio::test]
async fn a_server_that_misses_deposit_is_checked_against_the_chain() {
    use crate::flow::Raise;

    let bench = Bench::new();
    let id = bench.open(&small()).await;
    let mut payment = bench.begin(&small()).await;
    send(&mut payment).await;
    // The chain holds what the book says: the server is wrong.
    let refused = payment.raise(Raise::Refill).await;
    assert!(matches!(refused, Err(ClientError::Protocol(_))));
    // The book believes in a deposit that a reorganization took away.
    bench
        .book
        .update(&id, &mut |record| record.ledger.set_deposit(units(9_000)))
        .unwrap();
    let mut beside = bench.begin(&small()).await;
    send(&mut beside).await;
    let mut payment = bench.begin(&small()).await;
    assert_eq!(presented(&mut payment).await, units(4_000));
    payment.raise(Raise::Refill).await.unwrap();
    assert_eq!(needs_top_up(&mut payment).await.additional(), units(2_000));
}

/// A channel that was opened with 2,000 and refilled to 3,000, as both sides know.
async fn refilled(bench: &Bench) -> ChannelId {
    let id = bench.open(&small()).await;
    let top_up = bench
        .payer
        .top_up(id, &small(), units(1_000))
        .await
        .unwrap();
    bench.mine(&transaction(&top_up)).await;
    top_up.confirm(&receipt(id, 1_000, 1_000)).unwrap();
    id
}

// PROTOCOL 5.7: never above maxDeposit, whatever a node shows.
#[tokio::test]
async fn a_node_that_is_behind_does_not_make_room_for_another_top_up() {
    use crate::flow::Raise;

    let bench = Bench::with(Policy::new(units(3_500)));
    let id = refilled(&bench).await;
    bench.chain.faults().lag_reads(1);
    bench.payer.resolve(&id).await.unwrap();
    assert_eq!(bench.record(id).ledger.deposit(), units(3_000));
    let mut payments = Vec::new();
    for total in [2_000, 3_000] {
        let mut payment = bench.begin(&small()).await;
        assert_eq!(presented(&mut payment).await, units(total));
        payments.push(payment);
    }
    let refused = payments[1].raise(Raise::Refill).await;
    assert!(matches!(refused, Err(ClientError::Chain(_))), "{refused:?}");
    let refused = bench.payer.top_up(id, &small(), units(1_000)).await;
    assert!(matches!(
        refused,
        Err(ClientError::Policy(PolicyViolation::DepositTooLarge { .. }))
    ));
}

// A reorganization took the top-up back, and it can not be mined again.
#[tokio::test]
async fn a_smaller_deposit_is_believed_once_no_top_up_can_be_mined() {
    let bench = Bench::new();
    let id = refilled(&bench).await;
    bench.chain.faults().reorg(1, mpp_devnet::Reorged::Lost);
    bench.payer.resolve(&id).await.unwrap();
    assert_eq!(bench.record(id).ledger.deposit(), units(3_000));
    bench.pass(60);
    bench.payer.resolve(&id).await.unwrap();
    assert_eq!(bench.record(id).ledger.deposit(), units(2_000));
}

// PROTOCOL 5.3: a top-up cancels a close request.
#[tokio::test]
async fn a_channel_that_is_being_left_is_not_refilled() {
    let bench = Bench::new();
    let id = use_up(&bench, &small()).await;
    let mut payment = bench.begin(&small()).await;
    bench.payer.leave(&id).await.unwrap();
    for refused in [
        payment.prepare().await.map(drop),
        bench.payer.top_up(id, &small(), units(1)).await.map(drop),
    ] {
        assert!(
            matches!(refused, Err(ClientError::Misuse(_))),
            "{refused:?}"
        );
    }
    assert_eq!(bench.payer.pending_top_up(&id).unwrap(), None);
    bench.pass(901);
    let done = bench.payer.leave(&id).await.unwrap();
    assert!(matches!(done, Leave::Done { tx_hash: Some(_) }));
}

// The owner decides to leave while the top-up is being made.
#[tokio::test]
async fn a_top_up_is_not_made_of_a_channel_that_is_left_meanwhile() {
    let bench = Bench::new();
    let id = use_up(&bench, &small()).await;
    let offer = small();
    bench.chain.faults().set_outage(mpp_devnet::Outage::Hanging);
    let mut refilling = Box::pin(bench.payer.top_up(id, &offer, units(1)));
    assert!(futures_util::poll!(refilling.as_mut()).is_pending());
    bench
        .book
        .update(&id, &mut |record| record.phase = Phase::Leaving)
        .unwrap();
    bench.chain.faults().set_outage(mpp_devnet::Outage::None);
    let refused = refilling.await;
    assert!(
        matches!(refused, Err(ClientError::Misuse(_))),
        "{refused:?}"
    );
    assert_eq!(bench.payer.pending_top_up(&id).unwrap(), None);
}

// A top-up that nobody confirmed is not sent again either.
#[tokio::test]
async fn an_earlier_top_up_of_a_channel_that_is_left_is_not_repeated() {
    let bench = Bench::new();
    let id = use_up(&bench, &small()).await;
    let top_up = bench.payer.top_up(id, &small(), units(1_000)).await;
    let top_up = top_up.unwrap();
    let mut payment = bench.begin(&small()).await;
    bench
        .book
        .update(&id, &mut |record| record.phase = Phase::Leaving)
        .unwrap();
    let unsent = top_up.credential(&small());
    assert!(matches!(unsent, Err(ClientError::Misuse(_))), "{unsent:?}");
    drop(top_up);
    let refused = payment.prepare().await;
    assert!(
        matches!(refused, Err(ClientError::Misuse(_))),
        "{refused:?}"
    );
}

// SECURITY-CASES A27: caps per host, top-ups included.
#[tokio::test]
async fn top_ups_count_among_what_an_origin_may_lock() {
    let bench = Bench::with(Policy::new(units(100_000)).max_locked_per_origin(units(3_500)));
    let id = use_up(&bench, &small()).await;
    // As much as the channel was opened with would be too much; what is needed is not.
    let mut payment = bench.begin(&small()).await;
    let top_up = needs_top_up(&mut payment).await;
    assert_eq!(top_up.additional(), units(1_000));
    bench.mine(&transaction(&top_up)).await;
    top_up.confirm(&receipt(id, 2_000, 2_000)).unwrap();
    assert_eq!(presented(&mut payment).await, units(3_000));
    payment.confirm(&receipt(id, 3_000, 3_000)).unwrap();
    let mut payment = bench.begin(&small()).await;
    for refused in [
        payment.prepare().await.map(drop),
        bench.payer.top_up(id, &small(), units(501)).await.map(drop),
    ] {
        assert!(
            matches!(
                refused,
                Err(ClientError::Policy(PolicyViolation::TooMuchLocked { .. }))
            ),
            "{refused:?}"
        );
    }
    let top_up = bench.payer.top_up(id, &small(), units(500)).await;
    assert_eq!(top_up.unwrap().additional(), units(500));
}

#[tokio::test]
async fn top_ups_that_are_made_at_once_lock_no_more_than_the_policy_allows() {
    let bench = Bench::with(Policy::new(units(100_000)).max_locked_per_origin(units(5_000)));
    let offers = [1, 2].map(|operator| {
        offer_with(|request| {
            request["suggestedDeposit"] = json!("2000");
            let operator = json!(alloy_primitives::Address::repeat_byte(operator));
            request["methodDetails"]["operator"] = operator;
        })
    });
    let ids = [bench.open(&offers[0]).await, bench.open(&offers[1]).await];
    bench.chain.faults().set_outage(mpp_devnet::Outage::Hanging);
    let refill = |n: usize| Box::pin(bench.payer.top_up(ids[n], &offers[n], units(1_000)));
    let mut refills = [refill(0), refill(1)];
    for refill in &mut refills {
        assert!(futures_util::poll!(refill.as_mut()).is_pending());
    }
    bench.chain.faults().set_outage(mpp_devnet::Outage::None);
    let [first, second] = refills;
    assert!(first.await.is_ok());
    let refused = second.await;
    assert!(
        matches!(
            refused,
            Err(ClientError::Policy(PolicyViolation::TooMuchLocked { .. }))
        ),
        "{refused:?}"
    );
    assert_eq!(bench.payer.pending_top_up(&ids[1]).unwrap(), None);
}
