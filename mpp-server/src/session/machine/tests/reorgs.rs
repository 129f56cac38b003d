//! What events say, and what a reorganization takes back.

use super::*;
use crate::{
    session::command::{CloseNews, Facts},
    testing::{at, terms},
};

fn opened(deposit: u128) -> Command {
    Command::Follow(Facts {
        deposit: Some(amount(deposit)),
        ..Facts::default()
    })
}

fn close(close: CloseNews) -> Command {
    Command::Follow(Facts {
        close: Some(close),
        ..Facts::default()
    })
}

fn settled(units: u128) -> Command {
    Command::Follow(Facts {
        settled: Some(amount(units)),
        ..Facts::default()
    })
}

fn reason(record: &ChannelRecord) -> Option<Quarantine> {
    match record.phase {
        Phase::Quarantined { reason, .. } => Some(reason),
        _ => None,
    }
}

#[test]
fn events_alone_tell_the_life_of_a_channel() {
    for protocol in BOTH {
        let record = step(&opening(protocol, 10), opened(100)).next;
        assert_eq!((&record.phase, record.deposit), (&Phase::Open, amount(100)));
        let record = step(&record, settled(7)).next;
        assert_eq!(record.settled, amount(7));
        let record = step(&record, close(CloseNews::Requested { at: 5 })).next;
        assert_eq!(record.phase, Phase::CloseRequested { at: 5 });
        let topped_up = Command::Follow(Facts {
            deposit: Some(amount(150)),
            close: Some(CloseNews::Cancelled),
            settled: None,
        });
        let record = step(&record, topped_up).next;
        assert_eq!((&record.phase, record.deposit), (&Phase::Open, amount(150)));
    }
}

#[test]
fn events_that_come_again_change_nothing() {
    let record = open_record(V2, 150, 20, 10);
    for command in [
        opened(100),
        opened(150),
        settled(0),
        close(CloseNews::Cancelled),
    ] {
        assert!(!step(&record, command).outcome.changed);
    }
    let closed = step(
        &record,
        Command::Closed {
            transaction: B256::ZERO,
            settled: amount(10),
        },
    );
    for command in [
        opened(200),
        close(CloseNews::Requested { at: 5 }),
        settled(15),
    ] {
        assert!(!step(&closed.next, command).outcome.changed);
    }
}

// SECURITY-CASES A14: no event but the open puts a channel into service.
#[test]
fn before_its_open_nothing_is_believed_of_a_channel() {
    for command in [settled(5), close(CloseNews::Requested { at: 5 })] {
        assert!(!step(&opening(V1, 10), command).outcome.changed);
    }
}

// SECURITY-CASES A28.
#[test]
fn a_settlement_above_every_voucher_quarantines() {
    let record = step(&open_record(V2, 100, 20, 20), settled(21)).next;
    assert_eq!(reason(&record), Some(Quarantine::SettledAboveAccepted));
}

// SECURITY-CASES A14: the credit is reverted.
#[test]
fn a_top_up_that_is_taken_back_lowers_the_deposit() {
    for protocol in BOTH {
        let record = open_record(protocol, 150, 80, 60);
        let lower = step(&record, Command::Reorged(view(100))).next;
        assert_eq!((&lower.phase, lower.deposit), (&Phase::Open, amount(100)));
        let frozen = step(&record, Command::Reorged(view(70))).next;
        assert_eq!(reason(&frozen), Some(Quarantine::DepositReverted));
        assert_eq!((frozen.accepted(), frozen.spent), (amount(80), amount(60)));
        for command in [Command::Charge(price(1)), Command::Reinstate] {
            let refused = refuse(&frozen, command);
            assert!(matches!(refused, Rejection::Quarantined { .. }));
        }
        // Mined again, it goes on by itself.
        assert_eq!(step(&frozen, opened(150)).next.phase, Phase::Open);
        assert_eq!(
            step(&frozen, Command::Observe(view(150))).next.phase,
            Phase::Open
        );
        let requested = Command::Observe(requested(150, 9));
        assert_eq!(
            step(&frozen, requested).next.phase,
            Phase::CloseRequested { at: 9 }
        );
    }
}

#[test]
fn an_open_that_is_taken_back_stops_the_service_and_keeps_the_vouchers() {
    for protocol in BOTH {
        let record = open_record(protocol, 100, 80, 60);
        let gone = step(&record, Command::Reorged(ChannelView::unknown())).next;
        assert_eq!(reason(&gone), Some(Quarantine::OpenReverted));
        assert_eq!((gone.deposit, gone.accepted()), (Amount::ZERO, amount(80)));
        assert_eq!(step(&gone, opened(100)).next.phase, Phase::Open);
        // A v1 channel can come back with less.
        let less = step(&gone, Command::Reorged(view(70))).next;
        assert_eq!(reason(&less), Some(Quarantine::DepositReverted));
        let transaction = B256::repeat_byte(1);
        let closed = Command::Closed {
            transaction,
            settled: amount(60),
        };
        assert_eq!(
            step(&gone, closed).next.phase,
            Phase::Closed {
                transaction: Some(transaction)
            }
        );
    }
}

#[test]
fn a_close_request_and_a_close_can_be_taken_back() {
    for protocol in BOTH {
        let mut record = open_record(protocol, 100, 80, 60);
        record.phase = Phase::CloseRequested { at: 5 };
        assert_eq!(
            step(&record, Command::Reorged(view(100))).next.phase,
            Phase::Open
        );
        record.phase = Phase::Closed {
            transaction: Some(B256::repeat_byte(1)),
        };
        record.settled = amount(60);
        let asked = step(&record, Command::Reorged(requested(100, 5))).next;
        assert_eq!(asked.phase, Phase::CloseRequested { at: 5 });
        assert_eq!(asked.settled, Amount::ZERO);
        // Its transaction may be mined again.
        let early = apply(&record, Command::Reorged(view(100)), at(59)).unwrap();
        assert!(!early.outcome.changed);
        let back = apply(&record, Command::Reorged(view(100)), at(60)).unwrap();
        let back = back.next;
        let expected = match protocol {
            // No voucher fits what is owed: it is settled like any other.
            V1 => Phase::Open,
            V2 => Phase::Closing {
                voucher: record.best.clone().unwrap(),
                capture: amount(60),
                sent: None,
                requested_at: None,
            },
        };
        assert_eq!((&back.phase, back.settled), (&expected, Amount::ZERO));
        assert_eq!((back.spent, back.accepted()), (amount(60), amount(80)));
        // An empty slot is what a closed v2 channel leaves behind.
        let unknown = Command::Reorged(ChannelView::unknown());
        assert!(!step(&record, unknown).outcome.changed);
    }
}

// The v1 contract pays a voucher in full: the payer's own close voucher is the
// only one with which the channel can be closed once more.
#[test]
fn a_close_that_is_taken_back_is_made_again_with_the_voucher_of_the_first() {
    for protocol in BOTH {
        let record = open_record(protocol, 100, 80, 60);
        let closing = step(&record, close_with(&record, 60)).next;
        let transaction = B256::repeat_byte(1);
        let settled = amount(60);
        let closed = Command::Closed {
            transaction,
            settled,
        };
        let closed = step(&closing, closed).next;
        let back = apply(&closed, Command::Reorged(view(100)), at(61)).unwrap();
        let Phase::Closing {
            voucher, capture, ..
        } = &back.next.phase
        else {
            panic!("{:?}", back.next.phase);
        };
        assert_eq!((*capture, back.next.settled), (amount(60), Amount::ZERO));
        let paid = match protocol {
            V1 => amount(60),
            V2 => amount(80),
        };
        assert_eq!(voucher.voucher.cumulative, paid);
        let refused = refuse(&back.next, Command::Charge(price(1)));
        assert!(matches!(refused, Rejection::ChannelFinalized { .. }));
    }
}

// Nothing is sold on it meanwhile, whatever it is out of service for.
#[test]
fn a_channel_out_of_service_that_loses_its_deposit_waits_for_it() {
    for protocol in BOTH {
        let record = open_record(protocol, 100, 80, 60);
        let disputed = Command::Dispute(record.best.clone().unwrap());
        let record = step(&record, disputed).next;
        let less = step(&record, Command::Reorged(view(70))).next;
        assert_eq!(reason(&less), Some(Quarantine::VoucherDisputed));
        assert_eq!((less.accepted(), less.deposit), (amount(80), amount(70)));
        for command in [Command::Charge(price(1)), Command::Reinstate] {
            let refused = refuse(&less, command);
            assert!(matches!(refused, Rejection::Quarantined { .. }));
        }
        let back = step(&less, opened(100)).next;
        assert_eq!(step(&back, Command::Reinstate).next.phase, Phase::Open);
    }
}

#[test]
fn a_close_that_the_deposit_no_longer_covers_is_given_up() {
    let record = open_record(V2, 100, 80, 60);
    let closing = step(&record, close_with(&record, 80)).next;
    let frozen = step(&closing, Command::Reorged(view(70))).next;
    let Phase::Quarantined {
        reason, evidence, ..
    } = frozen.phase
    else {
        panic!("{:?}", frozen.phase);
    };
    assert_eq!(reason, Quarantine::DepositReverted);
    assert_eq!(
        evidence.map(|signed| signed.voucher.cumulative),
        Some(amount(80))
    );
}

#[test]
fn an_adopted_channel_serves_once_a_voucher_covers_what_was_paid_out() {
    for protocol in BOTH {
        let shown = ChannelView {
            settled: amount(30),
            ..view(100)
        };
        let found = ChannelRecord::adopted(terms(protocol), &shown, now());
        refuse(&found, Command::Charge(price(1)));
        refuse(&found, Command::Reinstate);
        let held = step(&found, accept(&found, 50, 0, None)).next;
        let served = step(&held, Command::Reinstate).next;
        assert_eq!((&served.phase, served.spent), (&Phase::Open, amount(30)));
        let unpaid = ChannelRecord::adopted(terms(protocol), &view(100), now());
        assert_eq!(step(&unpaid, Command::Reinstate).next.phase, Phase::Open);
    }
}
