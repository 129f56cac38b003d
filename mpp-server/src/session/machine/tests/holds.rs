//! Holding, capturing, releasing, lapsing; and quarantine.

use super::*;
use crate::{
    session::{
        command::Capture,
        record::{Idempotency, MAX_HOLDS},
        restart::after_restart,
    },
    store::{OutcomeKey, StoredResponse},
};

fn keyed(units: u128, key: u8, request: u8) -> NewHold {
    NewHold {
        idempotency: Some(Idempotency {
            key: OutcomeKey(B256::repeat_byte(key)),
            request: B256::repeat_byte(request),
        }),
        ..new_hold(units)
    }
}

fn capture(hold: u64, cost: u128) -> Command {
    Command::Capture(Capture {
        hold: HoldId(hold),
        cost: amount(cost),
        units: 1,
        response: None,
        keep_until: Timestamp::from_secs(NOW_SECS + 1_000),
    })
}

/// 100 deposited, 50 accepted, 20 spent, 10 held.
fn holding() -> ChannelRecord {
    *step(&open_record(V2, 100, 50, 20), Command::Hold(new_hold(10))).next
}

fn shortage(rejection: Rejection) -> Shortage {
    match rejection {
        Rejection::InsufficientBalance(shortage) => shortage,
        other => panic!("{other}"),
    }
}

#[track_caller]
fn gone(record: &ChannelRecord, command: Command, now: Timestamp) {
    let expected = Rejection::HoldGone {
        channel_id: record.id,
    };
    assert_eq!(apply(record, command, now).unwrap_err(), expected);
}

// PROTOCOL 5.6: available = accepted - spent - live holds, for requests and streams.
#[test]
fn what_is_held_is_not_sold_twice() {
    let record = holding();
    assert_eq!(record.available(later()), amount(20));
    let missing = shortage(refuse(&record, Command::Hold(new_hold(21))));
    assert_eq!(missing.required_top_up, amount(1));
    assert_eq!(missing.required_cumulative, amount(51));
    let missing = shortage(refuse(&record, Command::Charge(price(21))));
    assert_eq!(missing.required_cumulative, amount(51));
    assert_eq!(
        step(&record, Command::Charge(price(20))).next.spent,
        amount(40)
    );
}

#[test]
fn a_capture_charges_once_what_was_used() {
    let record = holding();
    let captured = step(&record, capture(1, 4));
    assert_eq!(captured.next.spent, amount(24));
    assert_eq!(captured.next.available(later()), amount(26));
    assert_eq!(captured.outcome.charged, amount(4));
    let entry = captured.entry.unwrap();
    assert_eq!(
        (entry.kind, entry.cost, entry.units),
        (LedgerKind::Charged, amount(4), 1)
    );
    assert_eq!(entry.challenge_id, Some(challenge_id()));
    gone(&captured.next, capture(1, 4), later());
}

#[test]
fn more_than_is_held_is_never_captured() {
    gone(&holding(), capture(1, 11), later());
}

#[test]
fn a_release_charges_nothing_and_may_come_twice() {
    let released = step(&holding(), Command::Release(HoldId(1)));
    assert_eq!(released.next.spent, amount(20));
    assert_eq!(released.next.available(later()), amount(30));
    assert_eq!(released.entry, None);
    let again = step(&released.next, Command::Release(HoldId(1)));
    assert!(!again.outcome.changed);
    gone(&released.next, capture(1, 1), later());
}

#[test]
fn a_hold_lapses_at_its_moment_unless_it_is_extended() {
    let record = holding();
    let before = Timestamp::from_secs(NOW_SECS + 29);
    assert_eq!(record.available(before), amount(20));
    assert_eq!(record.available(lapse()), amount(30));
    gone(&record, capture(1, 1), lapse());
    let until = Timestamp::from_secs(NOW_SECS + 60);
    // One that is gone keeps no other from it.
    let extend = Command::Extend {
        holds: vec![HoldId(7), HoldId(1)],
        until,
    };
    gone(&record, extend.clone(), lapse());
    let extended = apply(&record, extend, before).unwrap();
    assert_eq!(extended.entry, None);
    assert!(apply(&extended.next, capture(1, 1), lapse()).is_ok());
    // Whoever holds next forgets the lapsed one, and its number is not reused.
    let next = apply(&record, Command::Hold(new_hold(30)), lapse()).unwrap();
    assert_eq!(next.outcome.hold, Some(HoldId(2)));
    assert_eq!(next.next.holds.len(), 1);
}

#[test]
fn a_hold_is_raised_as_far_as_the_balance_goes() {
    let record = holding();
    let raise = |units| Command::Raise {
        hold: HoldId(1),
        amount: amount(units),
    };
    let raised = step(&record, raise(30)).next;
    assert_eq!(raised.available(later()), Amount::ZERO);
    assert_eq!(step(&raised, capture(1, 30)).next.spent, amount(50));
    let missing = shortage(refuse(&record, raise(31)));
    assert_eq!(
        (missing.required_top_up, missing.required_cumulative),
        (amount(1), amount(51))
    );
    assert!(!step(&raised, raise(5)).outcome.changed);
}

// PROTOCOL 5.6: in flight -> 409; different body -> 422.
#[test]
fn one_key_is_in_flight_once() {
    let record = step(&open_record(V2, 100, 50, 20), Command::Hold(keyed(5, 1, 1))).next;
    let channel_id = record.id;
    let again = Rejection::RequestInProgress { channel_id };
    assert_eq!(refuse(&record, Command::Hold(keyed(5, 1, 1))), again);
    let other = Rejection::IdempotencyKeyReused { channel_id };
    assert_eq!(refuse(&record, Command::Hold(keyed(5, 1, 2))), other);
    assert!(apply(&record, Command::Hold(keyed(5, 2, 1)), later()).is_ok());
    assert!(apply(&record, Command::Hold(keyed(5, 1, 2)), lapse()).is_ok());
}

// Issue: the outcome is kept in the commit of the charge.
#[test]
fn an_idempotent_capture_keeps_its_outcome() {
    let record = step(&open_record(V2, 100, 50, 20), Command::Hold(keyed(5, 1, 9))).next;
    let response = StoredResponse {
        status: 200,
        headers: Vec::new(),
        body: bytes::Bytes::from_static(b"a photo"),
    };
    let command = match capture(1, 5) {
        Command::Capture(capture) => Command::Capture(Capture {
            response: Some(response.clone()),
            ..capture
        }),
        _ => panic!("not a capture"),
    };
    let captured = step(&record, command);
    let kept = captured.kept.unwrap();
    assert_eq!(kept.key, OutcomeKey(B256::repeat_byte(1)));
    assert_eq!(kept.request, B256::repeat_byte(9));
    assert_eq!((kept.number, captured.next.newest_outcome), (1, 1));
    assert_eq!(kept.response, Some(response));
    assert_eq!(kept.receipt.spent, amount(25));
    assert_eq!(kept.receipt.units, Some(1));
    assert_eq!(kept.receipt.challenge_id, challenge_id());
    assert_eq!(captured.entry.unwrap().idempotency, Some(kept.key));
}

// SECURITY-CASES A16: what one payer makes the store write is bounded.
#[test]
fn a_channel_has_a_bounded_number_of_holds() {
    let mut record = open_record(V2, 10_000, 10_000, 0);
    for _ in 0..MAX_HOLDS {
        record = *step(&record, Command::Hold(new_hold(1))).next;
    }
    let expected = Rejection::TooManyHolds {
        channel_id: record.id,
    };
    assert_eq!(refuse(&record, Command::Hold(new_hold(1))), expected);
    assert!(apply(&record, Command::Hold(new_hold(1)), lapse()).is_ok());
}

#[test]
fn a_close_takes_what_is_spent_and_ends_the_holds() {
    for protocol in BOTH {
        let record = open_record(protocol, 100, 50, 20);
        let record = step(&record, Command::Hold(new_hold(10))).next;
        let closing = step(&record, close_with(&record, 20)).next;
        assert!(matches!(closing.phase, Phase::Closing { capture, .. } if capture == amount(20)));
        gone(&closing, capture(1, 10), later());
    }
}

// The payer's own close request does not make what is being served free.
#[test]
fn what_is_held_is_captured_after_a_close_request() {
    let requested = step(&holding(), Command::Observe(requested(100, 5))).next;
    assert_eq!(step(&requested, capture(1, 10)).next.spent, amount(30));
    let raise = Command::Raise {
        hold: HoldId(1),
        amount: amount(12),
    };
    assert!(matches!(
        refuse(&requested, raise),
        Rejection::ChannelFinalized { .. }
    ));
}

#[test]
fn a_restart_drops_holds_and_nothing_else() {
    let record = holding();
    let restarted = after_restart(&record, later()).unwrap();
    let expected = ChannelRecord {
        holds: Vec::new(),
        changed_at: later(),
        ..record
    };
    assert_eq!(restarted, expected);
    assert_eq!(after_restart(&restarted, later()), None);
    // The number of a dropped hold is not given to another.
    let next = step(&restarted, Command::Hold(new_hold(1)));
    assert_eq!(next.outcome.hold, Some(HoldId(2)));
}

fn settled(units: u128) -> Command {
    Command::Observe(ChannelView {
        settled: amount(units),
        ..view(100)
    })
}

// SECURITY-CASES A28: a stale backup is found by what the chain has paid out.
#[test]
fn a_settlement_that_no_voucher_explains_quarantines() {
    for protocol in BOTH {
        let record = open_record(protocol, 100, 50, 20);
        let explained = step(&record, settled(50)).next;
        assert_eq!(explained.phase, Phase::Open);
        let record = step(&record, Command::Hold(new_hold(10))).next;
        let stale = step(&record, settled(51)).next;
        assert_eq!(stale.phase.name(), "quarantined");
        gone(&stale, capture(1, 10), later());
        // Seeing it once more changes nothing.
        assert!(!step(&stale, settled(51)).outcome.changed);
    }
}

// The lost history counts as spent: no unit of it is delivered twice for free.
#[test]
fn a_quarantined_channel_is_reinstated_with_the_lost_voucher() {
    let stale = step(&open_record(V2, 100, 50, 20), settled(70)).next;
    let refused = Rejection::Quarantined {
        channel_id: stale.id,
    };
    assert_eq!(refuse(&stale, Command::Reinstate), refused);
    assert_eq!(refuse(&stale, accept(&stale, 80, 0, Some(1))), refused);
    let newer = step(&stale, accept(&stale, 80, 0, None)).next;
    assert_eq!(newer.accepted(), amount(80));
    let back = step(&newer, Command::Reinstate);
    assert_eq!(back.next.phase, Phase::Open);
    assert_eq!(back.next.spent, amount(70));
    assert_eq!(back.entry.unwrap().cost, amount(50));
    assert_eq!(back.next.available(later()), amount(10));
}

#[test]
fn a_close_request_is_remembered_through_quarantine() {
    let record = step(
        &open_record(V2, 100, 50, 20),
        Command::Observe(requested(100, 5)),
    )
    .next;
    let view = ChannelView {
        settled: amount(60),
        ..requested(100, 5)
    };
    let stale = step(&record, Command::Observe(view)).next;
    assert_eq!(stale.phase.name(), "quarantined");
    let newer = step(&stale, accept(&stale, 60, 0, None)).next;
    let back = step(&newer, Command::Reinstate).next;
    assert_eq!(back.phase, Phase::CloseRequested { at: 5 });
}
