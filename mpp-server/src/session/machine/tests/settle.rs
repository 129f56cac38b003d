//! Which voucher is settled, and how a server closes by itself.

use super::*;
use crate::session::record::Quarantine;

fn charge_to(record: &ChannelRecord, units: u128) -> ChannelRecord {
    *step(record, Command::Charge(price(units))).next
}

fn take(record: &ChannelRecord, units: u128) -> ChannelRecord {
    *step(record, accept(record, units, 0, None)).next
}

fn collectable(record: &ChannelRecord) -> Option<u128> {
    let signed = record.collectable();
    signed.map(|signed| signed.voucher.cumulative.base_units())
}

// PROTOCOL 5.4; a voucher above what was delivered is not ours to take.
#[test]
fn the_best_voucher_that_was_delivered_is_kept() {
    for protocol in BOTH {
        let mut record = open_record(protocol, 1_000, 10, 0);
        assert_eq!(collectable(&record), None);
        record = charge_to(&record, 10);
        assert_eq!(collectable(&record), Some(10));
        // Vouchers run ahead of what is spent.
        for units in [30, 40, 50] {
            record = take(&record, units);
            assert_eq!(collectable(&record), Some(10));
        }
        record = charge_to(&record, 19);
        assert_eq!(collectable(&record), Some(10));
        record = charge_to(&record, 1);
        assert_eq!((collectable(&record), record.spent), (Some(30), amount(30)));
        record = charge_to(&record, 20);
        assert_eq!(collectable(&record), Some(50));
        assert_eq!(record.unsettled.earned, None);
    }
}

#[test]
fn what_is_unsettled_is_counted_from_the_oldest_charge_on() {
    let mut record = open_record(V2, 100, 50, 0);
    record = charge_to(&record, 10);
    let first = Some(later());
    assert_eq!((record.unsettled.since, record.unsettled.units), (first, 1));
    let much_later = Timestamp::from_secs(NOW_SECS + 900);
    let charged = apply(&record, Command::Charge(price(5)), much_later).unwrap();
    record = *charged.next;
    assert_eq!((record.unsettled.since, record.unsettled.units), (first, 2));
    // A part is paid out: what is left is not older than that.
    let part = apply(&record, Command::Settled(amount(10)), much_later).unwrap();
    let left = (part.next.unsettled.since, part.next.unsettled.units);
    assert_eq!(left, (Some(much_later), 0));
    let all = step(&record, Command::Settled(amount(15))).next;
    assert_eq!((all.unsettled.since, all.unsettled.units), (None, 0));
    assert_eq!(all.settled, amount(15));
    // News of an older settlement changes nothing.
    assert!(!step(&all, Command::Settled(amount(10))).outcome.changed);
}

// PROTOCOL 5.4: the server may close with a voucher it holds, capturing what is owed.
#[test]
fn a_close_by_the_server_captures_what_is_owed() {
    let check = |record: &ChannelRecord, voucher: u128, capture: u128| {
        let next = step(record, Command::CloseWithHeld).next;
        let Phase::Closing {
            voucher: chosen,
            capture: captured,
            sent: None,
            ..
        } = next.phase
        else {
            panic!("not closing");
        };
        let found = (chosen.voucher.cumulative, captured);
        assert_eq!(found, (amount(voucher), amount(capture)));
    };
    let v2 = take(&charge_to(&open_record(V2, 100, 20, 0), 20), 50);
    check(&v2, 50, 20);
    // The v1 contract pays a voucher in full: the earned one, not the highest.
    let v1 = take(&charge_to(&open_record(V1, 100, 20, 0), 20), 50);
    check(&v1, 20, 20);
    let none_fits = charge_to(&v1, 1);
    let expected = Rejection::CloseAmount {
        channel_id: none_fits.id,
        required: amount(21),
    };
    assert_eq!(refuse(&none_fits, Command::CloseWithHeld), expected);
}

#[test]
fn a_close_by_the_server_waits_for_requests_unless_the_payer_asked_the_chain() {
    let record = open_record(V2, 100, 50, 20);
    let held = step(&record, Command::Hold(new_hold(5))).next;
    let busy = Rejection::RequestInProgress {
        channel_id: record.id,
    };
    assert_eq!(refuse(&held, Command::CloseWithHeld), busy);
    // A hold that nobody renews lapses.
    let lapsed = apply(&held, Command::CloseWithHeld, lapse()).unwrap().next;
    assert!(matches!(lapsed.phase, Phase::Closing { .. }));
    let requested = step(&held, Command::Observe(requested(100, 5))).next;
    let closing = step(&requested, Command::CloseWithHeld).next;
    assert!(closing.holds.is_empty());
    assert!(matches!(
        closing.phase,
        Phase::Closing {
            requested_at: Some(5),
            ..
        }
    ));
}

// What two verifiers disagree about stops the channel, also when it was to be settled.
#[test]
fn a_disputed_voucher_quarantines_its_channel_before_it_is_settled() {
    let record = charge_to(&open_record(V2, 100, 50, 0), 50);
    let held = record.best.clone().unwrap();
    let stopped = step(&record, Command::Dispute(held.clone())).next;
    let Phase::Quarantined {
        reason, evidence, ..
    } = stopped.phase
    else {
        panic!("not quarantined");
    };
    assert_eq!(reason, Quarantine::VoucherDisputed);
    assert_eq!(evidence, Some(held));
    // A voucher that is not kept any more is nobody's concern.
    let other = sign(&payer(), &record.terms, 49);
    assert!(!step(&record, Command::Dispute(other)).outcome.changed);
}

// What was paid out was there, whatever was seen of it before.
#[test]
fn a_deposit_is_no_less_than_what_our_settlement_has_paid_out() {
    let mut record = open_record(V2, 100, 80, 80);
    record = *step(&record, Command::Reorged(view(50))).next;
    assert_eq!(record.deposit, amount(50));
    record = *step(&record, Command::Settled(amount(80))).next;
    assert_eq!((record.settled, record.deposit), (amount(80), amount(80)));
}
