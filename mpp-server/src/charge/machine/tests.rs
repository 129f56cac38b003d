//! The rules of a charge, one by one and in random lives.

use alloy_primitives::{Address, B256, Bytes};
use mpp_core::{Amount, ChallengeId};
use proptest::prelude::*;

use super::*;
use crate::charge::record::Bill;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000_i64.saturating_add(seconds))
}

fn record(state: ChargeState) -> ChargeRecord {
    ChargeRecord {
        challenge_id: ChallengeId::new("c1").unwrap(),
        bill: Bill {
            chain_id: 42431,
            currency: Address::ZERO,
            amount: Amount::new(100),
            recipient: Address::ZERO,
            external_id: None,
        },
        payer: Address::repeat_byte(1),
        payment: shown(1),
        memo: B256::ZERO,
        asked: Some(asked(1, 1)),
        claimed_at: at(0),
        paid_at: None,
        grants: 0,
        refunded: Amount::ZERO,
        refunds: 0,
        state,
        ends_at: None,
    }
}

fn shown(byte: u8) -> PaymentId {
    PaymentId {
        replay_id: Some(B256::repeat_byte(byte)),
        hash: None,
    }
}

fn asked(key: u8, request: u8) -> Asked {
    Asked {
        key: B256::repeat_byte(key),
        request: B256::repeat_byte(request),
    }
}

fn sent() -> SentTx {
    SentTx {
        hash: B256::repeat_byte(9),
        valid_before: Some(1),
        raw: Bytes::from_static(b"raw"),
    }
}

fn states() -> [ChargeState; 6] {
    let until = at(10);
    [
        ChargeState::Claimed { until },
        ChargeState::Sent {
            sent: sent(),
            until,
        },
        ChargeState::Paid,
        ChargeState::Serving { until },
        ChargeState::Served {
            at: at(0),
            response: None,
            keep_until: until,
        },
        ChargeState::Released,
    ]
}

#[test]
fn another_payment_begins_only_where_nothing_came_of_the_first() {
    for state in states() {
        let todo = look(&record(state.clone()), &shown(2), None, at(0));
        assert_eq!(todo.is_ok(), state == ChargeState::Released, "{state:?}");
    }
}

#[test]
fn the_same_payment_goes_on_where_it_was_left() {
    let check = |index: usize, now, expected: Result<Todo, Rejection>| {
        let [state] = &states()[index..=index] else {
            panic!()
        };
        let todo = look(
            &record(state.clone()),
            &shown(1),
            Some(asked(1, 1)),
            at(now),
        );
        assert_eq!(todo, expected, "{state:?} {now}");
    };
    let busy = || Err(Rejection::ChargeInProgress);
    check(0, 9, busy());
    check(0, 10, Ok(Todo::Begin));
    check(1, 9, busy());
    check(1, 10, Ok(Todo::Resolve(sent())));
    check(2, 0, Ok(Todo::Serve));
    check(3, 9, busy());
    check(3, 10, Ok(Todo::Serve));
    check(4, 9, Ok(Todo::Replay(None)));
    check(5, 0, Ok(Todo::Begin));
}

#[test]
fn a_served_charge_answers_only_the_request_it_was_served_to() {
    let served = record(states()[4].clone());
    let answer = |asked, now| look(&served, &shown(1), asked, at(now));
    let used = Err(Rejection::InvalidChallenge("the challenge was used"));
    assert_eq!(answer(None, 0), used);
    assert_eq!(answer(Some(asked(2, 1)), 0), used);
    assert_eq!(answer(Some(asked(1, 1)), 10), used);
    let reused = Err(Rejection::ChargeKeyReused);
    assert_eq!(answer(Some(asked(1, 2)), 0), reused);
}

// Another may have begun anew after the lease of whoever gives up.
#[test]
fn only_the_attempt_that_gives_up_ends() {
    let until = at(10);
    let prepared = record(ChargeState::Claimed { until });
    let followed = record(ChargeState::Sent {
        sent: sent(),
        until,
    });
    let claim = |seconds| Attempt::Claim { until: at(seconds) };
    let hash = |byte| Attempt::Sent {
        hash: B256::repeat_byte(byte),
    };
    let fail =
        |record: &ChargeRecord, of| apply(record, ChargeCommand::Fail { of }, at(0)).unwrap();
    for (record, of) in [(&prepared, claim(10)), (&followed, hash(9))] {
        assert_eq!(fail(record, of).state, ChargeState::Released);
    }
    let others = [
        (&prepared, claim(9)),
        (&prepared, hash(9)),
        (&followed, claim(10)),
        (&followed, hash(8)),
    ];
    for (record, of) in others {
        assert_eq!(&fail(record, of), record);
    }
    let leave = |byte| {
        let hash = B256::repeat_byte(byte);
        apply(&followed, ChargeCommand::Leave { hash }, at(0)).unwrap()
    };
    assert_eq!(leave(8), followed);
    assert_ne!(leave(9), followed);
}

// Whoever was slow to sign does not send in the place of who came next.
#[test]
fn only_the_attempt_that_has_the_claim_sends() {
    let until = at(10);
    let send = |state, of| {
        let sent = sent();
        apply(
            &record(state),
            ChargeCommand::Send { of, sent, until },
            at(0),
        )
    };
    let claim = |seconds| Attempt::Claim { until: at(seconds) };
    let hash = sent().hash;
    let sending = send(ChargeState::Claimed { until }, claim(10)).unwrap();
    assert_eq!(sending.payment.hash, Some(hash));
    let busy = Err(Rejection::ChargeInProgress);
    for of in [claim(9), claim(11), Attempt::Sent { hash }] {
        assert_eq!(send(ChargeState::Claimed { until }, of), busy);
    }
    for state in states().into_iter().skip(1) {
        for of in [claim(10), Attempt::Sent { hash }] {
            assert_eq!(send(state.clone(), of), busy);
        }
    }
}

#[test]
fn only_a_claim_that_has_lapsed_makes_room() {
    for (index, state) in states().into_iter().enumerate() {
        let before = record(state);
        assert_eq!(release(&before, at(9)), before);
        let is_released = release(&before, at(10)).state == ChargeState::Released;
        assert_eq!(is_released, index == 0 || index == 5, "{before:?}");
    }
}

// Its transactions may have no end.
#[test]
fn a_record_from_before_ends_were_noted_is_read() {
    let record = record(ChargeState::Released);
    let mut older = postcard::to_allocvec(&record).unwrap();
    assert_eq!(older.pop(), Some(0));
    let read: ChargeRecord = postcard::from_bytes(&older).unwrap();
    assert_eq!(read, record);
    let ended = ChargeRecord {
        ends_at: Some(at(1)),
        ..record
    };
    let bytes = postcard::to_allocvec(&ended).unwrap();
    assert_eq!(postcard::from_bytes::<ChargeRecord>(&bytes), Ok(ended));
}

// What may still be paid, or was, is a line of the books.
#[test]
fn only_what_can_not_be_paid_any_more_is_over() {
    for (index, state) in states().into_iter().enumerate() {
        let mut record = record(state);
        assert!(!is_over(&record, at(1_000_000)), "{record:?}");
        record.ends_at = Some(at(20));
        assert!(!is_over(&record, at(19)));
        let was_paid = (2..5).contains(&index);
        assert_eq!(is_over(&record, at(20)), !was_paid, "{record:?}");
        record.ends_at = Some(at(5));
        let is_left = index == 5;
        assert_eq!(is_over(&record, at(9)), is_left, "{record:?}");
    }
}

// The first request under a key that a charge is granted to is the one it answers.
#[test]
fn a_charge_without_a_key_takes_that_of_its_request() {
    let until = at(10);
    let mut paid = record(ChargeState::Paid);
    let serve = |record: &ChargeRecord, key| {
        let asked = Some(asked(key, 1));
        apply(record, ChargeCommand::Serve { until, asked }, at(0))
    };
    assert_eq!(serve(&paid, 2).unwrap().asked, Some(asked(1, 1)));
    paid.asked = None;
    let serving = serve(&paid, 2).unwrap();
    assert_eq!(serving.asked, Some(asked(2, 1)));
    assert_eq!(serve(&serving, 3), Err(Rejection::ChargeInProgress));
}

#[test]
fn refunds_never_exceed_what_was_paid() {
    let paid = record(ChargeState::Paid);
    let half = begin_refund(&paid, Amount::new(60)).unwrap();
    assert_eq!((half.refunded, half.refunds), (Amount::new(60), 1));
    let refused = |units| begin_refund(&half, Amount::new(units)).unwrap_err();
    for units in [101, u128::MAX] {
        let paid = Amount::new(100);
        assert_eq!(refused(units), NotRefundable::TooMuch { paid });
    }
    for units in [0, 59] {
        let refunded = Amount::new(60);
        assert_eq!(refused(units), NotRefundable::TooLittle { refunded });
    }
    let whole = begin_refund(&half, Amount::new(100)).unwrap();
    assert_eq!((whole.refunded, whole.refunds), (Amount::new(100), 2));
    assert_eq!(undo_refund(&whole, Amount::new(40)).refunded, half.refunded);
    let nothing = begin_refund(&paid, Amount::ZERO);
    assert_eq!(nothing, Err(NotRefundable::Nothing));
    let unpaid = begin_refund(&record(ChargeState::Released), Amount::new(1));
    assert_eq!(unpaid, Err(NotRefundable::NotPaid));
}

// SECURITY-CASES A1: whoever got the money back does not get the service, too.
#[test]
fn only_a_refund_that_was_undone_lets_a_charge_be_served() {
    let until = at(10);
    let serve = ChargeCommand::Serve { until, asked: None };
    let refused = Rejection::InvalidChallenge("the charge was sent back");
    for state in [ChargeState::Paid, ChargeState::Serving { until }] {
        let paid = record(state);
        let some = begin_refund(&paid, Amount::new(1)).unwrap();
        let all = begin_refund(&some, Amount::new(100)).unwrap();
        for refunded in [&some, &all] {
            let looked = look(refunded, &shown(1), None, until);
            assert_eq!(looked, Err(refused.clone()));
            let served = apply(refunded, serve.clone(), until);
            assert_eq!(served, Err(refused.clone()));
        }
        let undone = undo_refund(&undo_refund(&all, Amount::new(99)), Amount::new(1));
        assert_eq!(look(&undone, &shown(1), None, until), Ok(Todo::Serve));
        assert!(apply(&undone, serve.clone(), until).is_ok());
    }
    // Whoever is being served goes on, and nobody else is told of it.
    let serving = record(ChargeState::Serving { until });
    let serving = begin_refund(&serving, Amount::new(1)).unwrap();
    let busy = Err(Rejection::ChargeInProgress);
    assert_eq!(look(&serving, &shown(1), None, at(9)), busy);
    assert_eq!(
        apply(&serving, serve, at(9)),
        Err(Rejection::ChargeInProgress)
    );
    let capture = ChargeCommand::Capture {
        grant: 0,
        response: None,
        keep_until: until,
    };
    assert!(apply(&serving, capture, at(9)).is_ok());
}

#[test]
fn a_total_that_is_reached_leaves_nothing_to_refund() {
    let paid = record(ChargeState::Paid);
    let half = begin_refund(&paid, Amount::new(60)).unwrap();
    let due = |units| refund_due(&half, Amount::new(units));
    assert_eq!(due(60), Ok(Amount::ZERO));
    assert_eq!(due(100), Ok(Amount::new(40)));
}

#[derive(Clone, Debug)]
enum Event {
    Wait(i64),
    Send(Attempt),
    Follow,
    Leave(u8),
    Confirm,
    Fail(Attempt),
    Serve,
    Extend(u64),
    Capture(u64),
    Return(u64),
    Refund(u128),
    Undo(u128),
}

fn attempt() -> impl Strategy<Value = Attempt> {
    prop_oneof![
        (9..12_i64).prop_map(|until| Attempt::Claim { until: at(until) }),
        (8..10_u8).prop_map(|byte| Attempt::Sent {
            hash: B256::repeat_byte(byte)
        }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => (1..12_i64).prop_map(Event::Wait),
        2 => attempt().prop_map(Event::Send),
        1 => Just(Event::Follow),
        1 => (8..10_u8).prop_map(Event::Leave),
        1 => Just(Event::Confirm),
        1 => attempt().prop_map(Event::Fail),
        3 => Just(Event::Serve),
        1 => (0..3_u64).prop_map(Event::Extend),
        2 => (0..3_u64).prop_map(Event::Capture),
        2 => (0..3_u64).prop_map(Event::Return),
        1 => (0..102_u128).prop_map(Event::Refund),
        1 => (1..102_u128).prop_map(Event::Undo),
    ]
}

proptest! {
    // SECURITY-CASES A1: whatever happens in whatever order, one request at a time is served,
    // and one at all is captured; what was paid stays paid, and is not served once it was sent
    // back.
    #[test]
    fn a_charge_is_captured_once_in_every_life(events in prop::collection::vec(event(), 1..60)) {
        let mut now = 0_i64;
        let mut record = record(states()[0].clone());
        let mut captures = 0_u32;
        let mut live: Option<(u64, i64)> = None;
        for event in events {
            let lapse = now.saturating_add(10);
            let until = at(lapse);
            let newest = |back: u64| record.grants.saturating_sub(back);
            let command = match event {
                Event::Wait(seconds) => {
                    now = now.saturating_add(seconds);
                    continue;
                }
                Event::Refund(total) => {
                    record = begin_refund(&record, Amount::new(total)).unwrap_or(record);
                    prop_assert!(record.refunded <= record.bill.amount);
                    continue;
                }
                Event::Undo(amount) => {
                    record = undo_refund(&record, Amount::new(amount));
                    continue;
                }
                Event::Send(of) => ChargeCommand::Send { of, sent: sent(), until },
                Event::Follow => ChargeCommand::Follow { until },
                Event::Leave(byte) => ChargeCommand::Leave { hash: B256::repeat_byte(byte) },
                Event::Confirm => ChargeCommand::Confirm { hash: sent().hash },
                Event::Fail(of) => ChargeCommand::Fail { of },
                Event::Serve => ChargeCommand::Serve { until, asked: None },
                Event::Extend(back) => ChargeCommand::Extend { grant: newest(back), until },
                Event::Capture(back) => ChargeCommand::Capture {
                    grant: newest(back),
                    response: None,
                    keep_until: until,
                },
                Event::Return(back) => ChargeCommand::Return { grant: newest(back) },
            };
            let was_paid = record.is_paid();
            let Ok(next) = apply(&record, command.clone(), at(now)) else {
                continue;
            };
            prop_assert!(next.is_paid() || !was_paid);
            prop_assert_eq!(next.is_paid() && !was_paid, matches!(command, ChargeCommand::Confirm { .. }) && !was_paid);
            match command {
                ChargeCommand::Serve { .. } => {
                    prop_assert!(record.refunded.is_zero());
                    // Nobody else is being served.
                    prop_assert!(live.is_none_or(|(_, until)| until <= now));
                    prop_assert_eq!(captures, 0);
                    live = Some((next.grants, lapse));
                }
                ChargeCommand::Extend { grant, .. } => live = Some((grant, lapse)),
                ChargeCommand::Capture { grant, .. } => {
                    prop_assert_eq!(live.map(|(grant, _)| grant), Some(grant));
                    captures = captures.saturating_add(1);
                    live = None;
                }
                ChargeCommand::Return { grant } if live.is_some_and(|(id, _)| id == grant) => {
                    live = None;
                }
                _ => {}
            }
            record = next;
        }
        prop_assert!(captures <= 1);
    }
}
