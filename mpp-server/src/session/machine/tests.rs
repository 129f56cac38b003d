//! Every rule of the machine, and every command in every phase.

mod holds;
mod reorgs;
mod settle;

use alloy_primitives::B256;
use mpp_core::{Amount, Timestamp};
use mpp_tempo::{ChannelView, Existence, SessionProtocol};

use super::*;
use crate::{
    session::record::{HoldId, PendingTx, Phase, Quarantine},
    testing::{
        BOTH, NOW_SECS, amount, challenge_id, now, open_record, open_tx, opening, payer, sign,
        verified, view,
    },
};

const V1: SessionProtocol = SessionProtocol::V1;
const V2: SessionProtocol = SessionProtocol::V2;

fn price(units: u128) -> Charge {
    Charge {
        cost: amount(units),
        units: 1,
        challenge_id: challenge_id(),
        stream: None,
    }
}

fn accept(record: &ChannelRecord, units: u128, min_delta: u128, hold: Option<u128>) -> Command {
    Command::Accept {
        voucher: verified(&record.terms, units),
        min_delta: amount(min_delta),
        hold: hold.map(new_hold),
    }
}

fn new_hold(units: u128) -> NewHold {
    NewHold {
        amount: amount(units),
        challenge_id: challenge_id(),
        idempotency: None,
        until: lapse(),
    }
}

/// When the holds of these tests lapse.
fn lapse() -> Timestamp {
    Timestamp::from_secs(NOW_SECS + 30)
}

fn close_with(record: &ChannelRecord, units: u128) -> Command {
    Command::BeginClose(verified(&record.terms, units))
}

fn open_failed() -> Command {
    Command::OpenFailed {
        transaction: open_tx().hash,
    }
}

fn close_tx(byte: u8) -> PendingTx {
    PendingTx {
        hash: B256::repeat_byte(byte),
        valid_before: 1_800_000_025,
    }
}

fn later() -> Timestamp {
    Timestamp::from_secs(NOW_SECS + 1)
}

#[track_caller]
fn step(record: &ChannelRecord, command: Command) -> Step {
    apply(record, command, later()).unwrap()
}

#[track_caller]
fn refuse(record: &ChannelRecord, command: Command) -> Rejection {
    apply(record, command, later()).unwrap_err()
}

fn closing(mut record: ChannelRecord, sent: Option<PendingTx>) -> ChannelRecord {
    record.phase = Phase::Closing {
        voucher: sign(&payer(), &record.terms, record.owed().base_units()),
        capture: record.owed(),
        sent,
        requested_at: None,
    };
    record
}

fn in_phase(phase: Phase) -> ChannelRecord {
    let mut record = open_record(V2, 100, 50, 20);
    record.phase = phase;
    record
}

fn finalized(settled: u128) -> ChannelView {
    ChannelView {
        settled: amount(settled),
        existence: Existence::Finalized,
        ..view(0)
    }
}

fn requested(deposit: u128, at: u64) -> ChannelView {
    ChannelView {
        close_requested_at: Some(at),
        ..view(deposit)
    }
}

// PROTOCOL 5.6: accept and hold are one command; nothing is charged yet.
#[test]
fn a_voucher_pays_for_the_request_that_brings_it() {
    for protocol in BOTH {
        let record = open_record(protocol, 100, 20, 20);
        let step = step(&record, accept(&record, 30, 0, Some(10)));
        assert_eq!(step.next.accepted(), amount(30));
        assert_eq!(step.next.spent, amount(20));
        assert_eq!(step.next.held(later()), amount(10));
        assert_eq!(step.next.available(later()), Amount::ZERO);
        assert_eq!(step.next.changed_at, later());
        assert_eq!(step.outcome.hold, Some(HoldId(1)));
        assert_eq!(step.outcome.charged, Amount::ZERO);
        assert_eq!(step.outcome.shortage, None);
        let entry = step.entry.unwrap();
        assert_eq!(entry.kind, LedgerKind::Accepted);
        assert_eq!((entry.cost, entry.units), (Amount::ZERO, 0));
        assert_eq!((entry.accepted, entry.spent), (amount(30), amount(20)));
    }
}

// SECURITY-CASES A24: the price is charged, never the voucher's increase.
#[test]
fn a_dust_voucher_does_not_buy_service() {
    let record = open_record(V2, 100, 20, 20);
    let step = step(&record, accept(&record, 21, 0, Some(10)));
    assert_eq!(step.next.spent, amount(20));
    let shortage = step.outcome.shortage.unwrap();
    assert_eq!(shortage.required_top_up, amount(9));
    assert_eq!(shortage.required_cumulative, amount(30));
    assert_eq!(shortage.accepted, amount(21));
    assert_eq!(shortage.deposit, amount(100));
}

// PROTOCOL 5.6: "verify and persist accepted -> check available >= cost".
#[test]
fn an_accepted_voucher_is_kept_when_it_does_not_cover_the_price() {
    let record = open_record(V2, 100, 20, 20);
    let step = step(&record, accept(&record, 25, 0, Some(10)));
    assert!(step.outcome.changed);
    assert_eq!(step.next.accepted(), amount(25));
    assert_eq!(step.outcome.charged, Amount::ZERO);
    assert_eq!(step.entry.unwrap().kind, LedgerKind::Accepted);
}

// Draft-tempo-session-00, Idempotency: an equal amount changes no voucher state.
#[test]
fn an_equal_voucher_is_idempotent() {
    let record = open_record(V2, 100, 50, 20);
    let step = step(&record, accept(&record, 50, 10, None));
    assert!(!step.outcome.changed);
    assert_eq!((*step.next, step.entry), (record, None));
}

// Draft-tempo-session-00, Idempotency: a lower amount MUST be rejected.
#[test]
fn a_lower_voucher_is_refused() {
    let record = open_record(V2, 100, 50, 20);
    let expected = Rejection::DeltaTooSmall {
        channel_id: record.id,
        accepted: amount(50),
        min_delta: Amount::ZERO,
    };
    assert_eq!(refuse(&record, accept(&record, 49, 0, None)), expected);
    assert_eq!(refuse(&record, accept(&record, 0, 0, Some(1))), expected);
}

// Draft-tempo-session-00, Voucher Verification 6: increase >= minVoucherDelta.
#[test]
fn an_increase_below_the_minimum_is_refused() {
    let record = open_record(V2, 100, 50, 20);
    let delta_too_small = |error| matches!(error, Rejection::DeltaTooSmall { .. });
    assert!(delta_too_small(refuse(
        &record,
        accept(&record, 59, 10, None)
    )));
    let step = step(&record, accept(&record, 60, 10, None));
    assert_eq!(step.next.accepted(), amount(60));
}

// Draft-tempo-session-00, Voucher Verification 7: cumulative <= deposit.
#[test]
fn a_voucher_above_the_deposit_is_refused() {
    let record = open_record(V2, 100, 50, 20);
    let expected = Rejection::AmountExceedsDeposit {
        channel_id: record.id,
        deposit: amount(100),
    };
    assert_eq!(refuse(&record, accept(&record, 101, 0, None)), expected);
    let step = step(&record, accept(&record, 100, 0, None));
    assert_eq!(step.next.accepted(), amount(100));
}

// PROTOCOL 5.6: spent <= accepted.
#[test]
fn a_charge_above_the_balance_is_refused_with_what_is_missing() {
    let record = open_record(V2, 100, 50, 20);
    assert_eq!(
        step(&record, Command::Charge(price(30))).next.spent,
        amount(50)
    );
    let Rejection::InsufficientBalance(shortage) = refuse(&record, Command::Charge(price(31)))
    else {
        panic!("not refused for its balance");
    };
    assert_eq!(shortage.required_top_up, amount(1));
    assert_eq!(shortage.required_cumulative, amount(51));
}

// SECURITY-CASES A32: a price that overflows is not a smaller price.
#[test]
fn a_charge_that_overflows_is_refused() {
    let record = open_record(V1, u128::MAX, u128::MAX, u128::MAX - 1);
    let rejection = refuse(&record, Command::Charge(price(5)));
    assert!(matches!(rejection, Rejection::InsufficientBalance(_)));
    assert!(
        step(&record, Command::Charge(price(1)))
            .next
            .available(later())
            .is_zero()
    );
}

// PROTOCOL 5.7: a new stream on a channel ends the previous one.
#[test]
fn only_the_newest_stream_charges() {
    let record = open_record(V2, 100, 50, 20);
    let streaming = |epoch| {
        Command::Charge(Charge {
            stream: Some(epoch),
            ..price(1)
        })
    };
    let first = step(&record, Command::BeginStream).next;
    let second = step(&first, Command::BeginStream).next;
    assert!(second.stream > first.stream);
    let expected = Rejection::StreamSuperseded {
        channel_id: record.id,
    };
    assert_eq!(refuse(&second, streaming(first.stream)), expected);
    assert_eq!(
        step(&second, streaming(second.stream)).next.spent,
        amount(21)
    );
    // A plain request is no stream and goes on.
    assert_eq!(
        step(&second, Command::Charge(price(1))).next.spent,
        amount(21)
    );
}

// PROTOCOL 5.4: the receipt's deposit opens the channel; DESIGN 2.5: facts come as observations.
#[test]
fn an_observed_channel_goes_into_service() {
    for protocol in BOTH {
        let step = step(&opening(protocol, 10), Command::Observe(view(100)));
        assert_eq!(step.next.phase, Phase::Open);
        assert_eq!(step.next.deposit, amount(100));
        assert_eq!(step.next.accepted(), amount(10));
        assert_eq!(step.entry.unwrap().kind, LedgerKind::Opened);
    }
}

// PROTOCOL 5.6: accepted <= deposit. A v1 id does not contain the deposit, so a payer can have
// another transaction with a smaller one mined than the one we were shown.
#[test]
fn a_first_voucher_above_the_deposit_on_chain_does_not_count() {
    let step = step(&opening(V1, 1_000), Command::Observe(view(10)));
    assert_eq!(step.next.phase, Phase::Open);
    assert_eq!(step.next.accepted(), Amount::ZERO);
    let charged = apply(&step.next, Command::Charge(price(1)), now());
    assert!(matches!(charged, Err(Rejection::InsufficientBalance(_))));
}

// PROTOCOL 5.6: all monotone; a lagging node shows older states.
#[test]
fn an_older_state_changes_nothing() {
    let mut record = open_record(V2, 100, 50, 20);
    record.settled = amount(15);
    for old in [view(100), view(60), requested(60, 5)] {
        let step = step(&record, Command::Observe(old));
        assert!(!step.outcome.changed, "{old:?}");
    }
}

// PROTOCOL 5.3: topUp cancels a close request; what a lagging node shows after it is history.
#[test]
fn a_close_request_that_a_top_up_cancelled_does_not_come_back() {
    let record = in_phase(Phase::CloseRequested { at: 5 });
    let reopened = step(&record, Command::Observe(view(150))).next;
    assert_eq!(reopened.phase, Phase::Open);
    let lagging = step(&reopened, Command::Observe(requested(100, 5)));
    assert_eq!(lagging.next.phase, Phase::Open);
}

// SECURITY-CASES A12: a close request freezes the channel, and only a top-up thaws it.
#[test]
fn a_close_request_stops_selling_until_a_top_up() {
    let record = open_record(V2, 100, 50, 20);
    let frozen = step(&record, Command::Observe(requested(100, 5))).next;
    assert_eq!(frozen.phase, Phase::CloseRequested { at: 5 });
    let lagging = step(&frozen, Command::Observe(view(100))).next;
    assert_eq!(lagging.phase, Phase::CloseRequested { at: 5 });
    let again = step(&frozen, Command::Observe(requested(100, 9))).next;
    assert_eq!(again.phase, Phase::CloseRequested { at: 9 });
}

// SECURITY-CASES A33: an empty slot is also what a node shows that lags behind the open.
#[test]
fn an_empty_slot_proves_no_close() {
    let unknown = ChannelView::unknown();
    for phase in [
        Phase::Open,
        Phase::CloseRequested { at: 5 },
        closing(open_record(V2, 100, 50, 20), None).phase,
        Phase::Opening(open_tx()),
        Phase::Failed,
    ] {
        let record = in_phase(phase);
        let step = step(&record, Command::Observe(unknown));
        assert!(!step.outcome.changed, "{:?}", record.phase);
    }
}

// SECURITY-CASES A13: terminal is terminal.
#[test]
fn a_closed_channel_stays_closed() {
    let record = open_record(V2, 100, 50, 20);
    let closed = step(&record, Command::Observe(finalized(20))).next;
    assert_eq!(closed.phase, Phase::Closed { transaction: None });
    assert_eq!(closed.settled, amount(20));
    let by = |byte| Command::Closed {
        transaction: B256::repeat_byte(byte),
        settled: amount(20),
    };
    let told = step(&closed, by(1)).next;
    let transaction = Some(B256::repeat_byte(1));
    assert_eq!(told.phase, Phase::Closed { transaction });
    for command in [
        by(2),
        Command::Observe(view(500)),
        Command::Observe(finalized(0)),
        open_failed(),
        Command::CloseFailed {
            transaction: B256::repeat_byte(1),
        },
    ] {
        assert_eq!(step(&told, command).next, told);
    }
}

// PROTOCOL 5.4: capture = max(spent, settled), never more.
#[test]
fn a_close_captures_what_is_owed() {
    let check = |settled: u128, voucher: u128, expected: u128| {
        let mut record = open_record(V2, 100, 50, 20);
        record.settled = amount(settled);
        let step = step(&record, close_with(&record, voucher));
        let Phase::Closing {
            voucher: chosen,
            capture,
            sent,
            requested_at,
        } = step.next.phase
        else {
            panic!("not closing");
        };
        assert_eq!(capture, amount(expected));
        assert_eq!(chosen.voucher.cumulative, amount(voucher));
        assert_eq!((sent, requested_at), (None, None));
    };
    check(0, 20, 20);
    check(0, 50, 20);
    check(0, 100, 20);
    check(30, 30, 30);
}

// Draft-tempo-session-00, Cooperative Close 2: the voucher covers max(spent, settled).
#[test]
fn a_close_voucher_below_what_is_owed_is_refused() {
    let record = open_record(V2, 100, 50, 20);
    let expected = Rejection::CloseAmount {
        channel_id: record.id,
        required: amount(20),
    };
    assert_eq!(refuse(&record, close_with(&record, 19)), expected);
}

#[test]
fn a_close_voucher_above_the_deposit_is_refused() {
    for protocol in BOTH {
        let record = open_record(protocol, 100, 50, 20);
        let rejection = refuse(&record, close_with(&record, 101));
        assert!(matches!(rejection, Rejection::AmountExceedsDeposit { .. }));
    }
}

// PROTOCOL 5.4: v1 pays a voucher in full, so it must be for exactly what is owed.
#[test]
fn a_v1_close_needs_the_exact_amount_or_a_held_voucher() {
    let record = open_record(V1, 100, 50, 20);
    let required = |required| Rejection::CloseAmount {
        channel_id: record.id,
        required: amount(required),
    };
    assert_eq!(refuse(&record, close_with(&record, 50)), required(20));
    assert_eq!(refuse(&record, close_with(&record, 19)), required(20));
    let exact = step(&record, close_with(&record, 20)).next;
    assert!(matches!(exact.phase, Phase::Closing { capture, .. } if capture == amount(20)));
    // Everything accepted is spent: the held voucher fits whatever the payer sent.
    let used_up = open_record(V1, 100, 50, 50);
    let held = step(&used_up, close_with(&used_up, 80)).next;
    let Phase::Closing { voucher, .. } = held.phase else {
        panic!("not closing");
    };
    assert_eq!(voucher, used_up.best.unwrap());
}

// PROTOCOL 5.3: the payee can close during the grace period.
#[test]
fn a_channel_with_a_close_request_can_be_closed() {
    let record = in_phase(Phase::CloseRequested { at: 5 });
    let closing = step(&record, close_with(&record, 20)).next;
    assert!(matches!(
        closing.phase,
        Phase::Closing {
            requested_at: Some(5),
            ..
        }
    ));
}

// PROTOCOL 5.4: one close in flight per channel.
#[test]
fn a_second_close_transaction_is_refused() {
    let record = closing(open_record(V2, 100, 50, 20), None);
    let close_sent = |byte, instead_of: Option<u8>| Command::CloseSent {
        sent: close_tx(byte),
        instead_of: instead_of.map(B256::repeat_byte),
    };
    let sent = step(&record, close_sent(1, None)).next;
    for instead_of in [None, Some(3)] {
        assert!(matches!(
            refuse(&sent, close_sent(2, instead_of)),
            Rejection::ChannelFinalized { .. }
        ));
    }
    let replaced = step(&sent, close_sent(2, Some(1))).next;
    let Phase::Closing { sent: newest, .. } = &replaced.phase else {
        panic!("not closing");
    };
    assert_eq!(*newest, Some(close_tx(2)));
    let repeated = step(&sent, close_sent(1, None));
    assert!(!repeated.outcome.changed);
    let begun_again = step(&sent, close_with(&sent, 50));
    assert!(!begun_again.outcome.changed);
}

// SECURITY-CASES A33: a close that did not happen leaves the channel as it was.
#[test]
fn a_failed_close_leaves_the_channel_open() {
    let mut record = closing(open_record(V2, 100, 50, 20), Some(close_tx(1)));
    let failed = |byte| Command::CloseFailed {
        transaction: B256::repeat_byte(byte),
    };
    let reopened = step(&record, failed(1)).next;
    assert_eq!(reopened.phase, Phase::Open);
    // News of an older close must not stop the one that is under way.
    assert!(!step(&record, failed(2)).outcome.changed);
    if let Phase::Closing { requested_at, .. } = &mut record.phase {
        *requested_at = Some(5);
    }
    let frozen = step(&record, failed(1)).next;
    assert_eq!(frozen.phase, Phase::CloseRequested { at: 5 });
}

#[test]
fn a_close_under_way_takes_note_of_the_payers_request() {
    let record = closing(open_record(V2, 100, 50, 20), None);
    let noted = step(&record, Command::Observe(requested(100, 5))).next;
    let at = |record: &ChannelRecord| match &record.phase {
        Phase::Closing { requested_at, .. } => *requested_at,
        _ => panic!("not closing"),
    };
    assert_eq!(at(&noted), Some(5));
    assert_eq!(at(&step(&noted, Command::Observe(view(100))).next), Some(5));
    assert_eq!(at(&step(&noted, Command::Observe(view(101))).next), None);
}

#[test]
fn a_failed_open_can_still_turn_out_to_be_mined() {
    let failed = step(&opening(V2, 10), open_failed()).next;
    assert_eq!(failed.phase, Phase::Failed);
    let mined = step(&failed, Command::Observe(view(100))).next;
    assert_eq!(mined.phase, Phase::Open);
}

// PROTOCOL 5.3: one id may be opened by several transactions, one after the other.
#[test]
fn an_attempt_does_not_end_by_what_became_of_an_earlier_one() {
    let record = opening(V1, 10);
    let transaction = B256::repeat_byte(1);
    let earlier = step(&record, Command::OpenFailed { transaction }).next;
    assert_eq!(*earlier, record);
}

// PROTOCOL 5.4, voucher: cheap checks precede the curve, in this order.
#[test]
fn screening_follows_the_protocols_order() {
    let record = open_record(V2, 100, 50, 20);
    let screened = |record: &ChannelRecord, units| {
        screen(record, &sign(&payer(), &record.terms, units), amount(10))
    };
    assert_eq!(screened(&record, 50), Ok(Screened::Known));
    assert_eq!(screened(&record, 60), Ok(Screened::NeedsCurve));
    let mut forged = sign(&payer(), &record.terms, 40);
    forged.voucher.cumulative = amount(50);
    assert_eq!(
        screen(&record, &forged, amount(10)),
        Ok(Screened::NeedsCurve)
    );
    assert!(matches!(
        screened(&record, 101),
        Err(Rejection::AmountExceedsDeposit { .. })
    ));
    for stale in [0, 49, 51, 59] {
        assert!(matches!(
            screened(&record, stale),
            Err(Rejection::DeltaTooSmall { .. })
        ));
    }
    // A close request outranks every amount.
    let frozen = in_phase(Phase::CloseRequested { at: 5 });
    assert!(matches!(
        screened(&frozen, 101),
        Err(Rejection::ChannelFinalized { .. })
    ));
}

#[test]
fn a_channel_without_deposit_is_not_found() {
    let record = open_record(V2, 0, 0, 0);
    let expected = Rejection::ChannelNotFound {
        channel_id: record.id,
    };
    assert_eq!(refuse(&record, Command::Keep), expected);
}

/// What a phase makes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    /// Nothing changes.
    Same,
    NotFound,
    Finalized,
    Phase(&'static str),
    /// The phase stays, something else changes.
    Changed,
    Quarantined,
}

fn outcome(record: &ChannelRecord, command: Command) -> Becomes {
    match apply(record, command, later()) {
        Err(Rejection::ChannelNotFound { .. }) => Becomes::NotFound,
        Err(Rejection::ChannelFinalized { .. }) => Becomes::Finalized,
        Err(Rejection::Quarantined { .. }) => Becomes::Quarantined,
        Err(other) => panic!("{other}"),
        Ok(step) if !step.outcome.changed => Becomes::Same,
        Ok(step) if step.next.phase.name() == record.phase.name() => Becomes::Changed,
        Ok(step) => Becomes::Phase(step.next.phase.name()),
    }
}

/// The columns of the tables below.
fn phases() -> [Phase; 8] {
    let open = || open_record(V2, 100, 50, 20);
    [
        Phase::Opening(open_tx()),
        Phase::Failed,
        Phase::Open,
        Phase::CloseRequested { at: 5 },
        closing(open(), None).phase,
        closing(open(), Some(close_tx(1))).phase,
        Phase::Closed { transaction: None },
        Phase::Quarantined {
            reason: Quarantine::SettledAboveAccepted,
            requested_at: None,
            evidence: None,
        },
    ]
}

#[track_caller]
fn check_row(name: &str, command: &Command, expected: &[Becomes]) {
    let becomes = phases().map(|phase| outcome(&in_phase(phase), command.clone()));
    assert_eq!(becomes, expected, "{name}");
}

/// Nothing is sold but in service, and closing has its order.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_request_in_every_phase() {
    use Becomes::{Changed, Finalized, NotFound, Same};
    let to = Becomes::Phase;
    let record = in_phase(Phase::Open);
    let closed = Command::Closed {
        transaction: B256::repeat_byte(1),
        settled: amount(20),
    };
    let failed = Command::CloseFailed {
        transaction: B256::repeat_byte(1),
    };
    let row = |open: Becomes, quarantined: Becomes| {
        let (gone, late) = ([NotFound; 2], [Finalized; 4]);
        [gone.as_slice(), &[open], &late, &[quarantined]].concat()
    };
    let sells = |open: Becomes| row(open, Becomes::Quarantined);
    let table: Vec<(&str, Command, Vec<Becomes>)> = vec![
        (
            "accept",
            accept(&record, 60, 0, None),
            row(Changed, Changed),
        ),
        ("buy", accept(&record, 60, 0, Some(10)), sells(Changed)),
        ("charge", Command::Charge(price(1)), sells(Changed)),
        ("hold", Command::Hold(new_hold(1)), sells(Changed)),
        ("keep", Command::Keep, row(Same, Same)),
        (
            "reinstate",
            Command::Reinstate,
            [vec![Same; 7], vec![to("open")]].concat(),
        ),
        ("stream", Command::BeginStream, sells(Changed)),
        (
            "begin close",
            close_with(&record, 20),
            vec![
                NotFound,
                NotFound,
                to("closing"),
                to("closing"),
                Same,
                Same,
                Finalized,
                Becomes::Quarantined,
            ],
        ),
        (
            "close sent",
            Command::CloseSent {
                sent: close_tx(3),
                instead_of: None,
            },
            vec![
                Finalized, Finalized, Finalized, Finalized, Changed, Finalized, Finalized,
                Finalized,
            ],
        ),
        (
            "close failed",
            failed,
            vec![Same, Same, Same, Same, Same, to("open"), Same, Same],
        ),
        (
            "dispute",
            Command::Dispute(record.best.clone().unwrap()),
            vec![
                Same,
                Same,
                to("quarantined"),
                to("quarantined"),
                // Another voucher than this one is about to go on chain.
                Same,
                Same,
                Same,
                Same,
            ],
        ),
        (
            "close with held",
            Command::CloseWithHeld,
            vec![
                NotFound,
                NotFound,
                to("closing"),
                to("closing"),
                Same,
                Same,
                Finalized,
                Becomes::Quarantined,
            ],
        ),
        (
            "settled",
            Command::Settled(amount(20)),
            vec![
                Same, Same, Changed, Changed, Changed, Changed, Changed, Changed,
            ],
        ),
        (
            "closed",
            closed,
            vec![
                to("closed"),
                to("closed"),
                to("closed"),
                to("closed"),
                to("closed"),
                to("closed"),
                Changed,
                to("closed"),
            ],
        ),
    ];
    for (name, command, expected) in table {
        check_row(name, &command, &expected);
    }
}

/// What the chain shows is noted in every phase, and nothing leaves the end.
#[test]
fn every_fact_in_every_phase() {
    use Becomes::{Changed, Same};
    let to = Becomes::Phase;
    let table: Vec<(&str, Command, Vec<Becomes>)> = vec![
        (
            "open failed",
            open_failed(),
            [vec![to("failed")], vec![Same; 7]].concat(),
        ),
        (
            "shown open",
            Command::Observe(view(100)),
            [vec![to("open"); 2], vec![Same; 6]].concat(),
        ),
        (
            "shown topped up",
            Command::Observe(view(150)),
            vec![
                to("open"),
                to("open"),
                Changed,
                to("open"),
                Changed,
                Changed,
                Same,
                Changed,
            ],
        ),
        (
            "shown close request",
            Command::Observe(requested(100, 5)),
            vec![
                to("close-requested"),
                to("close-requested"),
                to("close-requested"),
                Same,
                Changed,
                Changed,
                Same,
                Changed,
            ],
        ),
        (
            "shown finalized",
            Command::Observe(finalized(0)),
            [vec![to("closed"); 6], vec![Same], vec![to("closed")]].concat(),
        ),
        (
            "shown nothing",
            Command::Observe(ChannelView::unknown()),
            vec![Same; 8],
        ),
    ];
    for (name, command, expected) in table {
        check_row(name, &command, &expected);
    }
}
