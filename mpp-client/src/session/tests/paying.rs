use mpp_tempo::wire::NeedVoucher;

use super::*;
use crate::error::{ClientError, TransportError};
use crate::event::ClientEvent;
use crate::flow::{Raise, Sent};
use crate::policy::PolicyViolation;
use crate::session::ledger::Discrepancy;
use crate::testing::offer;

fn need(channel_id: ChannelId, required: u128, accepted: u128) -> NeedVoucher {
    NeedVoucher {
        channel_id,
        required_cumulative: units(required),
        accepted_cumulative: units(accepted),
        deposit: units(10_000),
    }
}

// Vouchers never ask the chain.
#[tokio::test]
async fn vouchers_cost_no_call_to_the_chain() {
    for offer in offers() {
        let bench = Bench::new();
        let id = bench.open(&offer).await;
        let calls = bench.chain.client_calls();
        for n in 2..=10 {
            let mut payment = bench.begin(&offer).await;
            let (payload, credential) = send(&mut payment).await;
            assert!(matches!(payload, SessionPayload::Voucher { .. }));
            assert!(credential.source.is_some());
            let voucher = payload.voucher().unwrap();
            assert_eq!(voucher.voucher.cumulative, units(1_000 * n));
            let total = 1_000 * n;
            payment.confirm(&receipt(id, total, total)).unwrap();
        }
        assert_eq!(bench.chain.client_calls(), calls);
    }
}

#[tokio::test]
async fn sixty_four_requests_at_once_reserve_exactly_their_cost() {
    let offer = offer_with(|request| request["suggestedDeposit"] = json!("100000"));
    let bench = Bench::new();
    let id = bench.open(&offer).await;
    let mut payments = Vec::new();
    for n in 2..=65 {
        let mut payment = bench.begin(&offer).await;
        assert_eq!(presented(&mut payment).await, units(1_000 * n));
        payments.push(payment);
    }
    // The server takes them from the last to the first: the others are late and come again.
    for (spent, mut payment) in (2..).zip(payments.into_iter().rev()) {
        payment.raise(Raise::Best).await.unwrap();
        assert_eq!(presented(&mut payment).await, units(65_000));
        let receipt = receipt(id, 65_000, 1_000 * spent);
        payment.confirm(&receipt).unwrap();
    }
    let ledger = bench.record(id).ledger;
    assert_eq!(ledger.signed(), units(65_000));
    assert_eq!(ledger.spent(), units(65_000));
    assert_eq!(ledger.expected(), units(65_000));
}

// SECURITY-CASES: a cost taken twice when a client retries after a lost response.
#[tokio::test]
async fn a_lost_answer_is_indeterminate_and_stays_covered() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut lost = bench.begin(&offer()).await;
    send(&mut lost).await;
    let error = lost.lose(TransportError::new("the connection broke"));
    let ClientError::Indeterminate {
        channel_id,
        tx_hash,
        cumulative,
        cost,
        ..
    } = error
    else {
        panic!("not indeterminate");
    };
    assert_eq!((channel_id, tx_hash), (id, None));
    assert_eq!((cumulative, cost), (units(2_000), units(1_000)));
    let mut next = bench.begin(&offer()).await;
    assert_eq!(presented(&mut next).await, units(3_000));
}

// PROTOCOL 5.6: the stored answer of a lost request says what that one was charged.
#[tokio::test]
async fn a_replayed_answer_tells_what_the_lost_request_was_charged() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut lost = bench.begin(&offer()).await;
    send(&mut lost).await;
    lost.lose(TransportError::new("the connection broke"));
    let mut repeat = bench.begin(&offer()).await;
    send(&mut repeat).await;
    repeat.replayed(&receipt(id, 2_000, 2_000)).unwrap();
    let ledger = bench.record(id).ledger;
    assert_eq!(ledger.spent(), units(2_000));
    assert_eq!(ledger.expected(), units(2_000));
    assert!(!ledger.is_busy());
    // The voucher that went out with the repetition is not spent yet, so the next presents it.
    let mut next = bench.begin(&offer()).await;
    assert_eq!(presented(&mut next).await, units(3_000));
}

#[tokio::test]
async fn a_replayed_answer_of_another_channel_does_not_open_this_one() {
    let bench = Bench::new();
    let mut opening = bench.begin(&offer()).await;
    send(&mut opening).await;
    let id = opening.channel_id();
    let other = receipt(ChannelId::repeat_byte(7), 1_000, 1_000);
    opening.replayed(&other).unwrap();
    let record = bench.record(id);
    assert!(record.open.is_some());
    assert_eq!(record.ledger.spent(), Amount::ZERO);
    let mut again = bench.begin(&offer()).await;
    let (payload, _) = send(&mut again).await;
    assert!(matches!(payload, SessionPayload::Open { .. }));
}

// SECURITY-CASES A27: ids of channels are public, and a server has a say in its own only.
#[tokio::test]
async fn a_replayed_answer_says_nothing_of_a_channel_of_another_server() {
    let bench = Bench::with(Policy::new(units(100_000)).authorize_ahead(3));
    let id = bench.open(&offer()).await;
    let mut stream = bench.begin(&offer()).await;
    assert_eq!(presented(&mut stream).await, units(5_000));
    stream.begin_stream().unwrap();
    let before = bench.record(id).ledger;
    let elsewhere = site("https://b.example/x");
    let mut request = bench.payer.begin(&elsewhere, offer()).await.unwrap();
    send(&mut request).await;
    request.replayed(&receipt(id, 5_000, 5_000)).unwrap();
    assert_eq!(bench.record(id).ledger, before);
    stream.confirm(&receipt(id, 5_000, 3_000)).unwrap();
}

// SECURITY-CASES A27: a replay explains no more than what was ordered before it.
#[tokio::test]
async fn a_replayed_answer_of_more_than_was_ordered_is_refused() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut request = bench.begin(&offer()).await;
    send(&mut request).await;
    let refused = request.replayed(&receipt(id, 2_000, 2_000));
    assert!(matches!(
        refused,
        Err(ClientError::Discrepancy(Discrepancy::Unexplained { .. }))
    ));
    let ledger = bench.record(id).ledger;
    assert_eq!(ledger.spent(), units(1_000));
    assert!(!ledger.is_busy());
}

#[tokio::test]
async fn a_lost_open_names_its_transaction() {
    let bench = Bench::new();
    let mut payment = bench.begin(&offer()).await;
    send(&mut payment).await;
    let hash = bench.record(payment.channel_id()).open.unwrap().tx_hash;
    let error = payment.lose(TransportError::new("the connection broke"));
    assert!(matches!(
        error,
        ClientError::Indeterminate { tx_hash: Some(found), .. } if found == hash
    ));
}

#[tokio::test]
async fn a_refused_request_gives_its_reservation_back() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut refused = bench.begin(&offer()).await;
    send(&mut refused).await;
    refused.refuse(ClientError::Status { status: 402 });
    let ledger = bench.record(id).ledger;
    assert_eq!(ledger.expected(), units(1_000));
    // The voucher is out already; the next request presents it and signs nothing.
    let mut events = bench.payer.events();
    let mut next = bench.begin(&offer()).await;
    assert_eq!(presented(&mut next).await, units(2_000));
    assert_eq!(events.try_next(), None);
}

// Beyond our ledger only max_unaccounted.
#[tokio::test]
async fn a_claim_is_followed_as_far_as_the_orders_explain_it() {
    let bench = Bench::with(Policy::new(units(100_000)).max_unaccounted(units(500)));
    bench.open(&offer()).await;
    let mut payment = bench.begin(&offer()).await;
    send(&mut payment).await;
    payment.raise(Raise::Claim(units(2_500))).await.unwrap();
    assert_eq!(presented(&mut payment).await, units(2_500));
    let refused = payment.raise(Raise::Claim(units(2_501))).await;
    assert!(matches!(
        refused,
        Err(ClientError::Discrepancy(Discrepancy::Unexplained { .. }))
    ));
}

// SECURITY-CASES A27: a hostile claim signs nothing.
#[tokio::test]
async fn an_unexplained_claim_signs_nothing() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut payment = bench.begin(&offer()).await;
    send(&mut payment).await;
    let signed = bench.record(id).ledger.signed();
    assert!(payment.raise(Raise::Claim(units(9_000))).await.is_err());
    assert!(payment.raise(Raise::Late).await.is_err());
    drop(payment);
    assert_eq!(bench.record(id).ledger.signed(), signed);
}

// PROTOCOL 5.4: minVoucherDelta.
#[tokio::test]
async fn vouchers_rise_by_the_smallest_step_that_is_taken() {
    let offer = offer_with(|r| r["methodDetails"]["minVoucherDelta"] = json!("3000"));
    let bench = Bench::new();
    let id = bench.open(&offer).await;
    for (spent, voucher) in [(2, 4_000), (3, 4_000), (4, 4_000), (5, 7_000)] {
        let mut payment = bench.begin(&offer).await;
        assert_eq!(presented(&mut payment).await, units(voucher));
        let receipt = receipt(id, voucher, spent * 1_000);
        payment.confirm(&receipt).unwrap();
    }
    // A server that does not announce it says it in the refusal.
    let mut payment = bench.begin(&offer).await;
    send(&mut payment).await;
    payment.raise(Raise::Above(units(7_000))).await.unwrap();
    assert_eq!(presented(&mut payment).await, units(10_000));
}

// SECURITY-CASES A27: a step that the server imposes is bounded like any other.
#[tokio::test]
async fn a_smallest_step_beyond_the_policy_signs_nothing() {
    let offer = offer_with(|r| r["methodDetails"]["minVoucherDelta"] = json!("5000"));
    let bench = Bench::with(Policy::new(units(100_000)).max_voucher_step(units(4_000)));
    let id = bench.open(&offer).await;
    let mut payment = bench.begin(&offer).await;
    let refused = payment.prepare().await;
    assert!(matches!(
        refused,
        Err(ClientError::Policy(
            PolicyViolation::VoucherStepTooLarge { .. }
        ))
    ));
    assert_eq!(bench.record(id).ledger.signed(), units(1_000));
}

// SECURITY-CASES A27: one refusal after another for the smallest step is no way to everything.
#[tokio::test]
async fn steps_that_no_order_explains_come_to_an_end() {
    let offer = offer_with(|r| {
        r["methodDetails"]["minVoucherDelta"] = json!("3000");
        r["suggestedDeposit"] = json!("90000");
    });
    for (allowed, limit) in [(0, 8_000), (5_000, 13_000)] {
        let bench = Bench::with(Policy::new(units(100_000)).max_unaccounted(units(allowed)));
        let id = bench.open(&offer).await;
        // Neither within a request nor over several.
        for _ in 0..3 {
            let mut payment = bench.begin(&offer).await;
            let mut steps = 0;
            let end = loop {
                let accepted = presented(&mut payment).await;
                match payment.raise(Raise::Above(accepted)).await {
                    Ok(()) => steps += 1,
                    Err(error) => break error,
                }
                assert!(steps < 5, "{accepted}");
            };
            assert!(
                matches!(
                    end,
                    ClientError::Discrepancy(Discrepancy::Unexplained { .. })
                ),
                "{end:?}"
            );
            drop(payment);
            assert!(bench.record(id).ledger.signed() <= units(limit));
        }
        assert!(bench.record(id).top_up.is_none());
    }
}

// A server that charges out of credit and still wants each voucher to rise, as the crate mpp does.
#[tokio::test]
async fn a_server_that_takes_no_equal_voucher_is_paid_as_long_as_steps_are_no_larger_than_prices() {
    let offer = offer_with(|r| {
        r["methodDetails"]["minVoucherDelta"] = json!("1000");
        r["suggestedDeposit"] = json!("90000");
    });
    let bench = Bench::with(Policy::new(units(100_000)).authorize_ahead(3));
    let id = bench.open(&offer).await;
    let mut accepted = units(1_000);
    for spent in 2..30 {
        let mut payment = bench.begin(&offer).await;
        let mut voucher = presented(&mut payment).await;
        if voucher <= accepted {
            payment.raise(Raise::Above(voucher)).await.unwrap();
            voucher = presented(&mut payment).await;
        }
        assert!(voucher > accepted);
        accepted = voucher;
        let receipt = receipt(id, voucher.base_units(), spent * 1_000);
        payment.confirm(&receipt).unwrap();
    }
}

#[tokio::test]
async fn authorizing_ahead_saves_vouchers() {
    let bench = Bench::with(Policy::new(units(100_000)).authorize_ahead(3));
    let id = bench.open(&offer()).await;
    let mut vouchers = Vec::new();
    for spent in 2..=6 {
        let mut payment = bench.begin(&offer()).await;
        let voucher = presented(&mut payment).await;
        vouchers.push(voucher.base_units());
        payment
            .confirm(&receipt(id, voucher.base_units(), spent * 1_000))
            .unwrap();
    }
    assert_eq!(vouchers, [5_000, 5_000, 5_000, 5_000, 9_000]);
}

// SECURITY-CASES A27: fake receipts.
#[tokio::test]
async fn a_lying_receipt_is_an_error_and_an_event() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let other = ChannelId::repeat_byte(9);
    for (channel, accepted, spent) in [
        (id, 2_000, 2_001),
        (id, 9_000, 2_000),
        (other, 2_000, 2_000),
    ] {
        let mut payment = bench.begin(&offer()).await;
        let voucher = presented(&mut payment).await;
        let mut events = bench.payer.events();
        let refused = payment.confirm(&receipt(channel, accepted, spent));
        assert!(matches!(refused, Err(ClientError::Discrepancy(_))));
        assert!(matches!(
            events.try_next(),
            Some(ClientEvent::Rejected { .. })
        ));
        assert_eq!(bench.record(id).ledger.signed(), voucher);
    }
}

#[tokio::test]
async fn a_fresh_challenge_at_another_price_is_reserved_anew() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut payment = bench.begin(&offer()).await;
    send(&mut payment).await;
    let dearer = offer_with(|request| request["amount"] = json!("1500"));
    let mut payment = payment.renew(dearer).await.unwrap();
    assert_eq!(presented(&mut payment).await, units(2_500));
    let same = payment.renew(offer()).await.unwrap();
    assert_eq!(bench.record(id).ledger.expected(), units(2_000));
    drop(same);
    assert_eq!(bench.record(id).ledger.expected(), units(1_000));
}

#[tokio::test]
async fn what_went_out_is_told_to_the_flow() {
    let bench = Bench::new();
    let mut first = bench.begin(&offer()).await;
    send(&mut first).await;
    assert!(matches!(first.sent().unwrap(), Sent::Open(stake) if stake.presented == units(1_000)));
    let id = first.channel_id();
    first.confirm(&receipt(id, 1_000, 1_000)).unwrap();
    let mut second = bench.begin(&offer()).await;
    send(&mut second).await;
    assert!(matches!(second.sent().unwrap(), Sent::Voucher(stake) if stake.signed == units(2_000)));
}

// PROTOCOL 5.7: sign exactly up to requiredCumulative.
#[tokio::test]
async fn a_stream_gets_exactly_what_it_needs() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut stream = bench.begin(&offer()).await;
    assert_eq!(presented(&mut stream).await, units(2_000));
    stream.begin_stream().unwrap();
    for required in [3_000, 4_000, 5_000] {
        let before = required - 1_000;
        stream.extend(&need(id, required, before)).unwrap();
        assert_eq!(presented(&mut stream).await, units(required));
        let unheard = stream.observe_voucher(&receipt(id, required - 1, before));
        assert!(matches!(unheard, Err(ClientError::Discrepancy(_))));
        let heard = receipt(id, required, before);
        stream.observe_voucher(&heard).unwrap();
    }
    stream.confirm(&receipt(id, 5_000, 5_000)).unwrap();
    assert_eq!(bench.record(id).ledger.expected(), units(5_000));
}

// The last voucher may still be on its way when the stream ends.
#[tokio::test]
async fn a_stream_may_end_before_its_last_voucher_arrives() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut stream = bench.begin(&offer()).await;
    send(&mut stream).await;
    stream.begin_stream().unwrap();
    stream.extend(&need(id, 3_000, 2_000)).unwrap();
    assert_eq!(presented(&mut stream).await, units(3_000));
    stream.confirm(&receipt(id, 2_000, 2_000)).unwrap();
    assert_eq!(bench.record(id).ledger.expected(), units(2_000));
}

// Both are covered, so that neither uses up the other's credit and starves it.
#[tokio::test]
async fn a_stream_and_a_request_beside_it_are_both_covered() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut stream = bench.begin(&offer()).await;
    send(&mut stream).await;
    stream.begin_stream().unwrap();
    let mut request = bench.begin(&offer()).await;
    assert_eq!(presented(&mut request).await, units(3_000));
    stream.extend(&need(id, 3_000, 2_000)).unwrap();
    assert_eq!(presented(&mut stream).await, units(4_000));
    // The request was charged out of the credit that the next announcement still counts on.
    request.confirm(&receipt(id, 4_000, 4_000)).unwrap();
    stream.extend(&need(id, 4_000, 3_000)).unwrap();
    assert_eq!(presented(&mut stream).await, units(5_000));
}

// SECURITY-CASES A27: endless need-voucher.
#[tokio::test]
async fn a_greedy_stream_is_refused() {
    let policy = Policy::new(units(100_000))
        .max_voucher_step(units(2_000))
        .max_per_stream(units(3_000));
    let bench = Bench::with(policy);
    let id = bench.open(&offer()).await;
    let mut stream = bench.begin(&offer()).await;
    send(&mut stream).await;
    stream.begin_stream().unwrap();
    let step = stream.extend(&need(id, 4_001, 2_000));
    assert!(matches!(
        step,
        Err(ClientError::Policy(
            PolicyViolation::VoucherStepTooLarge { .. }
        ))
    ));
    stream.extend(&need(id, 4_000, 2_000)).unwrap();
    assert_eq!(presented(&mut stream).await, units(4_000));
    let total = stream.extend(&need(id, 4_001, 4_000));
    assert!(matches!(
        total,
        Err(ClientError::Policy(
            PolicyViolation::StreamTooExpensive { .. }
        ))
    ));
    let foreign = stream.extend(&need(ChannelId::repeat_byte(1), 4_001, 4_000));
    assert!(matches!(
        foreign,
        Err(ClientError::Discrepancy(Discrepancy::OtherChannel))
    ));
    let invented = stream.extend(&need(id, 4_600, 4_500));
    assert!(matches!(
        invented,
        Err(ClientError::Discrepancy(Discrepancy::AcceptedAboveSigned))
    ));
    assert_eq!(bench.record(id).ledger.signed(), units(4_000));
}

#[tokio::test]
async fn a_stream_that_is_dropped_stays_covered() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut stream = bench.begin(&offer()).await;
    send(&mut stream).await;
    stream.begin_stream().unwrap();
    stream.extend(&need(id, 5_000, 2_000)).unwrap();
    send(&mut stream).await;
    drop(stream);
    assert_eq!(bench.record(id).ledger.expected(), units(5_000));
    // It had delivered one unit less than it was paid for: the next receipt shows it.
    let mut next = bench.begin(&offer()).await;
    assert_eq!(presented(&mut next).await, units(6_000));
    next.confirm(&receipt(id, 6_000, 5_000)).unwrap();
    assert_eq!(bench.record(id).ledger.expected(), units(5_000));
}
