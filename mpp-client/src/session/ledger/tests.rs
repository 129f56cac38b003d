mod model;

use super::*;

const fn units(amount: u128) -> Amount {
    Amount::new(amount)
}

const fn totals(accepted: u128, spent: u128) -> Totals {
    Totals {
        accepted: units(accepted),
        spent: units(spent),
    }
}

/// Reserves `cost`, signs what the plan says and presents it.
#[track_caller]
fn order(ledger: &mut Ledger, cost: u128) -> Reservation {
    let mut request = ledger.reserve(units(cost)).unwrap();
    let Plan::Voucher(cumulative) = ledger.plan(Need::Ordered, Margin::default()) else {
        panic!("the deposit is too small for this test");
    };
    ledger.sign(cumulative).unwrap();
    request.present(cumulative);
    request
}

#[track_caller]
fn confirm(ledger: &mut Ledger, request: &Reservation, accepted: u128, spent: u128) {
    ledger
        .confirm(request, totals(accepted, spent), Amount::ZERO)
        .unwrap();
}

#[test]
fn requests_in_sequence_sign_exactly_what_they_cost() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    for n in 1..=100 {
        let request = order(&mut ledger, 1);
        assert_eq!(request.presented(), units(n));
        confirm(&mut ledger, &request, n, n);
    }
    assert_eq!(ledger.spent(), units(100));
    ledger.reserve(units(1)).unwrap();
    assert_eq!(
        ledger.plan(Need::Ordered, Margin::default()),
        Plan::TopUp(units(101))
    );
}

#[test]
fn concurrent_requests_each_reserve_their_cost() {
    let mut ledger = Ledger::new(units(1_000), Amount::ZERO);
    let requests: Vec<_> = (0..64).map(|_| order(&mut ledger, 1)).collect();
    assert_eq!(ledger.signed(), units(64));
    // The answers overtake each other: the last processed one arrives first.
    for (n, request) in (1_u8..=64).zip(&requests).rev() {
        confirm(&mut ledger, request, 64, n.into());
    }
    assert_eq!(ledger.expected(), units(64));
    assert_eq!(ledger.signed(), units(64));
}

// After a terminal 4xx the reservation is released.
#[test]
fn a_released_request_leaves_its_voucher_for_the_next() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let refused = order(&mut ledger, 5);
    ledger.release(&refused);
    assert_eq!(ledger.expected(), Amount::ZERO);
    assert_eq!(order(&mut ledger, 5).presented(), units(5));
}

// SECURITY-CASES: a cost taken twice when a client retries after a lost response.
#[test]
fn a_lost_request_that_was_charged_stays_covered_and_is_counted_once() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let lost = order(&mut ledger, 1);
    ledger.lose(&lost);
    let next = order(&mut ledger, 1);
    assert_eq!(next.presented(), units(2));
    confirm(&mut ledger, &next, 2, 2);
    assert_eq!(ledger.expected(), units(2));
    assert_eq!(ledger.in_doubt(), Amount::ZERO);
    assert_eq!(order(&mut ledger, 1).presented(), units(3));
}

#[test]
fn a_lost_request_that_was_not_charged_frees_its_voucher() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let lost = order(&mut ledger, 1);
    ledger.lose(&lost);
    let next = order(&mut ledger, 1);
    confirm(&mut ledger, &next, 2, 1);
    assert_eq!(ledger.expected(), units(1));
    // The credit of two pays for the next request without a new signature.
    assert_eq!(order(&mut ledger, 1).presented(), units(2));
}

#[test]
fn a_lost_request_that_is_charged_late_is_honored_when_claimed() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let lost = order(&mut ledger, 1);
    ledger.lose(&lost);
    let second = order(&mut ledger, 1);
    confirm(&mut ledger, &second, 2, 1);
    // Only now the server gets to the lost request: spent is 2, and a third needs 3.
    let third = order(&mut ledger, 1);
    assert_eq!(third.presented(), units(2));
    ledger.claim(units(3), Amount::ZERO).unwrap();
    assert_eq!(
        ledger.plan(Need::Ordered, Margin::default()),
        Plan::Voucher(units(3))
    );
    // Once is enough.
    let again = ledger.claim(units(4), Amount::ZERO);
    assert!(matches!(again, Err(Discrepancy::Unexplained { .. })));
}

// The crate mpp writes its receipts before it charges.
#[test]
fn a_receipt_that_says_too_little_is_made_up_for_when_claimed() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let first = order(&mut ledger, 1);
    confirm(&mut ledger, &first, 1, 0);
    // By its own word the server has not charged it: the credit pays for the next request.
    let second = order(&mut ledger, 1);
    assert_eq!(second.presented(), units(1));
    ledger.claim(units(2), Amount::ZERO).unwrap();
    assert_eq!(
        ledger.plan(Need::Ordered, Margin::default()),
        Plan::Voucher(units(2))
    );
    // Nobody gets more than was ordered.
    let more = ledger.claim(units(3), Amount::ZERO);
    assert!(matches!(more, Err(Discrepancy::Unexplained { .. })));
}

// A terminal 4xx releases, and a server that charged it is not stuck with us.
#[test]
fn a_dismissed_request_is_not_covered_but_honored() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let failed = order(&mut ledger, 1);
    ledger.dismiss(&failed);
    assert_eq!(ledger.expected(), Amount::ZERO);
    let next = order(&mut ledger, 1);
    assert_eq!(next.presented(), units(1));
    // It was charged before the resource was looked at: the next request needs a total of 2.
    ledger.claim(units(2), Amount::ZERO).unwrap();
    ledger.sign(units(2)).unwrap();
    confirm(&mut ledger, &next, 2, 2);
    assert_eq!(ledger.expected(), units(2));
    assert!(!ledger.claim_late());
}

#[test]
fn what_may_come_late_is_covered_when_the_server_names_no_amount() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let failed = order(&mut ledger, 3);
    ledger.dismiss(&failed);
    let _next = order(&mut ledger, 1);
    assert!(ledger.claim_late());
    assert_eq!(ledger.expected(), units(4));
    assert!(!ledger.claim_late());
}

#[test]
fn a_loss_during_a_request_is_not_settled_by_that_request() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let early = order(&mut ledger, 1);
    let lost = order(&mut ledger, 1);
    ledger.lose(&lost);
    confirm(&mut ledger, &early, 2, 1);
    assert_eq!(ledger.in_doubt(), units(1));
    assert_eq!(ledger.expected(), units(2));
}

/// A stream that begins like a request and may cost up to 50.
#[track_caller]
fn begin_stream(ledger: &mut Ledger) -> Reservation {
    let mut stream = order(ledger, 1);
    ledger.begin_stream(&mut stream, units(50));
    stream
}

/// Answers a stream's announcement; returns the voucher.
#[track_caller]
fn feed(ledger: &mut Ledger, required: u128, accepted: u128) -> Amount {
    let required = ledger.stream_need(units(required), units(accepted), units(1));
    ledger.extend_stream(required);
    let Plan::Voucher(cumulative) = ledger.plan(Need::Stream(required), Margin::default()) else {
        panic!("the deposit is too small for this test");
    };
    ledger.sign(cumulative).unwrap();
    cumulative
}

#[test]
fn a_stream_is_extended_and_settles_to_what_it_cost() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let stream = begin_stream(&mut ledger);
    for spent in 1..=4 {
        let voucher = feed(&mut ledger, spent + 1, spent);
        assert_eq!(voucher, units(spent + 1));
        ledger
            .observe(Some(&stream), totals(spent + 1, spent), Amount::ZERO)
            .unwrap();
    }
    confirm(&mut ledger, &stream, 5, 4);
    assert_eq!(ledger.expected(), units(4));
    assert_eq!(order(&mut ledger, 1).presented(), units(5));
}

#[test]
fn a_stream_and_a_request_beside_it_are_covered_together() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let stream = begin_stream(&mut ledger);
    let request = order(&mut ledger, 1);
    assert_eq!(ledger.signed(), units(2));
    assert_eq!(feed(&mut ledger, 2, 1), units(3));
    confirm(&mut ledger, &request, 3, 3);
    confirm(&mut ledger, &stream, 3, 3);
    assert_eq!(ledger.expected(), units(3));
}

// A stream takes what credit there is without asking, also what was signed for a request.
#[test]
fn what_a_stream_takes_untold_is_believed_up_to_its_limit() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let stream = begin_stream(&mut ledger);
    let request = order(&mut ledger, 1);
    // The stream has taken both units. The request needs a third.
    ledger.claim(units(3), Amount::ZERO).unwrap();
    assert_eq!(ledger.expected(), units(3));
    ledger.sign(units(3)).unwrap();
    confirm(&mut ledger, &request, 3, 3);
    // The limit is 50 for the stream: with the request 51 in all.
    assert!(ledger.claim(units(52), Amount::ZERO).is_err());
    assert!(ledger.claim(units(51), Amount::ZERO).is_ok());
    confirm(&mut ledger, &stream, 3, 3);
    assert_eq!(ledger.expected(), units(3));
    assert!(ledger.claim(units(4), Amount::ZERO).is_err());
}

#[test]
fn what_a_lost_stream_took_untold_is_believed_up_to_the_credit_there_was() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let stream = begin_stream(&mut ledger);
    let _request = order(&mut ledger, 1);
    ledger.lose(&stream);
    // It may have taken the request's unit, but no more than was signed.
    assert!(ledger.claim(units(4), Amount::ZERO).is_err());
    ledger.claim(units(3), Amount::ZERO).unwrap();
}

#[test]
fn a_stream_that_replaces_another_shares_its_account() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let first = begin_stream(&mut ledger);
    feed(&mut ledger, 2, 1);
    let mut second = order(&mut ledger, 1);
    assert_eq!(second.presented(), units(3));
    ledger.begin_stream(&mut second, units(50));
    // The server ends the first one, whose reader goes away.
    ledger.lose(&first);
    assert_eq!(ledger.expected(), units(3));
    assert_eq!(ledger.in_doubt(), Amount::ZERO);
    confirm(&mut ledger, &second, 3, 3);
    assert_eq!(ledger.expected(), units(3));
}

#[test]
fn the_plan_respects_delta_ahead_and_deposit() {
    #[track_caller]
    fn check(deposit: u128, signed: u128, need: u128, ahead: u128, delta: u128, plan: Plan) {
        let mut ledger = Ledger::new(units(deposit), units(signed));
        ledger.reserve(units(need)).unwrap();
        let margin = Margin {
            ahead: units(ahead),
            min_delta: units(delta),
        };
        assert_eq!(ledger.plan(Need::Ordered, margin), plan);
    }
    check(100, 10, 11, 0, 0, Plan::Voucher(units(11)));
    check(100, 10, 11, 0, 5, Plan::Voucher(units(15)));
    check(100, 10, 11, 7, 5, Plan::Voucher(units(18)));
    check(100, 10, 10, 7, 5, Plan::Voucher(units(10)));
    check(12, 10, 11, 7, 0, Plan::Voucher(units(12)));
    check(12, 10, 11, 0, 5, Plan::TopUp(units(15)));
    check(10, 10, 11, 0, 0, Plan::TopUp(units(11)));
}

#[test]
fn the_plan_follows_the_need() {
    #[track_caller]
    fn check(need: Need, plan: Plan) {
        let mut ledger = Ledger::new(units(100), units(10));
        ledger.reserve(units(20)).unwrap();
        assert_eq!(ledger.plan(need, Margin::default()), plan);
    }
    check(Need::Ordered, Plan::Voucher(units(20)));
    check(Need::AtLeast(units(15)), Plan::Voucher(units(20)));
    check(Need::AtLeast(units(50)), Plan::Voucher(units(50)));
    check(Need::AtLeast(units(101)), Plan::TopUp(units(101)));
    // Others in flight are covered beside the stream.
    check(Need::Stream(units(5)), Plan::Voucher(units(25)));
    check(Need::Stream(units(81)), Plan::TopUp(units(101)));
}

#[test]
fn a_stream_that_was_overtaken_needs_more_than_it_announced() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let stream = begin_stream(&mut ledger);
    // Announced: 2, with 1 accepted. Then a request takes the second unit, and its receipt comes.
    let request = order(&mut ledger, 1);
    confirm(&mut ledger, &request, 2, 2);
    assert_eq!(ledger.stream_need(units(2), units(1), units(1)), units(3));
    // Not overtaken: what was announced.
    assert_eq!(ledger.stream_need(units(3), units(2), units(1)), units(3));
    // Ten units at once.
    assert_eq!(ledger.stream_need(units(11), units(1), units(1)), units(12));
    ledger.release(&stream);
}

#[test]
fn a_deposit_that_shrank_must_grow_again_first() {
    let mut ledger = Ledger::new(units(100), units(10));
    ledger.set_deposit(units(5));
    assert_eq!(
        ledger.plan(Need::Ordered, Margin::default()),
        Plan::TopUp(units(10))
    );
}

#[test]
fn a_voucher_above_the_deposit_is_never_noted() {
    let mut ledger = Ledger::new(units(10), units(1));
    assert_eq!(ledger.sign(units(11)), Err(Discrepancy::Overflow));
    assert_eq!(ledger.signed(), units(1));
}

// SECURITY-CASES A27: fake receipts.
#[test]
fn a_lying_receipt_is_named_and_changes_nothing() {
    #[track_caller]
    fn check(accepted: u128, spent: u128, lie: Discrepancy) {
        let mut ledger = Ledger::new(units(100), Amount::ZERO);
        for n in 1..=5 {
            let request = order(&mut ledger, 1);
            confirm(&mut ledger, &request, n, n);
        }
        let request = order(&mut ledger, 1);
        // Further credit that the lies could take.
        ledger.sign(units(50)).unwrap();
        let before = ledger.clone();
        assert_eq!(
            ledger.confirm(&request, totals(accepted, spent), Amount::ZERO),
            Err(lie)
        );
        assert_eq!(ledger, before);
        assert_eq!(
            ledger.observe(Some(&request), totals(accepted, spent), Amount::ZERO),
            Err(lie)
        );
        assert_eq!(ledger, before);
    }
    check(6, 7, Discrepancy::SpentAboveAccepted);
    check(51, 6, Discrepancy::AcceptedAboveSigned);
    check(5, 5, Discrepancy::AcceptedBelowPresented);
    check(6, 4, Discrepancy::SpentWentBack);
    check(
        50,
        7,
        Discrepancy::Unexplained {
            claimed: units(7),
            explained: units(6),
        },
    );
}

#[test]
fn max_unaccounted_is_a_total() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let _request = order(&mut ledger, 1);
    ledger.claim(units(3), units(3)).unwrap();
    ledger.claim(units(4), units(3)).unwrap();
    let refused = ledger.claim(units(5), units(3));
    assert_eq!(
        refused,
        Err(Discrepancy::Unexplained {
            claimed: units(5),
            explained: units(4),
        })
    );
}

// PROTOCOL 5.8: the accounts go on from the server's, as far as they are signed.
#[test]
fn resumed_accounts_use_the_credit_that_is_there_first() {
    let mut ledger = Ledger::resumed(units(10), totals(5, 3));
    assert_eq!((ledger.signed(), ledger.expected()), (units(5), units(3)));
    for presented in [5, 5, 6, 7] {
        let spent = ledger.spent().base_units() + 1;
        let request = order(&mut ledger, 1);
        assert_eq!(request.presented(), units(presented));
        confirm(&mut ledger, &request, presented, spent);
    }
    let lie = ledger.observe(None, totals(8, 7), Amount::ZERO);
    assert_eq!(lie, Err(Discrepancy::AcceptedAboveSigned));
}

// A process that is killed books nothing: its requests are in doubt like any lost ones.
#[test]
fn abandoned_requests_are_covered_until_a_receipt_tells() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let own = order(&mut ledger, 1);
    let before = ledger.running();
    for _ in 0..3 {
        order(&mut ledger, 2);
    }
    let gone = Running::default().moved(before, ledger.running());
    assert_eq!(
        (gone.in_flight, gone.flights, gone.streams),
        (units(6), 3, 0)
    );
    ledger.abandon(&gone);
    assert_eq!(ledger.running(), before);
    assert_eq!((ledger.in_doubt(), ledger.expected()), (units(6), units(7)));
    // This one began before the loss and can not end the doubt; the next one does.
    confirm(&mut ledger, &own, 7, 3);
    assert_eq!(ledger.in_doubt(), units(6));
    let next = order(&mut ledger, 1);
    confirm(&mut ledger, &next, 8, 4);
    assert!(ledger.in_doubt().is_zero() && !ledger.is_busy());
    assert_eq!(ledger.expected(), units(4));
}

#[test]
fn an_abandoned_stream_is_believed_as_far_as_there_was_credit() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let mut request = order(&mut ledger, 1);
    ledger.begin_stream(&mut request, units(50));
    ledger.sign(units(10)).unwrap();
    let gone = Running::default().moved(Running::default(), ledger.running());
    ledger.abandon(&gone);
    assert!(!ledger.is_busy());
    assert_eq!(ledger.in_doubt(), units(1));
    // Up to what was signed it may have taken more, and may say so.
    ledger.claim(units(10), Amount::ZERO).unwrap();
    let beyond = ledger.claim(units(11), Amount::ZERO);
    assert!(matches!(beyond, Err(Discrepancy::Unexplained { .. })));
}

#[test]
fn what_one_client_has_running_is_told_from_the_total() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let (mut ours, mut theirs) = (Running::default(), Running::default());
    let mut steps = Vec::new();
    for cost in [1, 2, 3, 4] {
        let before = ledger.running();
        steps.push(order(&mut ledger, cost));
        let own = if cost % 2 == 0 {
            &mut ours
        } else {
            &mut theirs
        };
        *own = own.moved(before, ledger.running());
    }
    assert_eq!((ours.in_flight, ours.flights), (units(6), 2));
    for (request, is_ours) in steps.iter().zip([false, true, false, true]) {
        let before = ledger.running();
        ledger.release(request);
        let own = if is_ours { &mut ours } else { &mut theirs };
        *own = own.moved(before, ledger.running());
    }
    assert!(ours.is_nothing() && theirs.is_nothing());
}

// A server that charges by use reserves more than the price, as far as the policy allows.
#[test]
fn a_request_grows_up_to_its_limit() {
    let mut ledger = Ledger::new(units(100), Amount::ZERO);
    let mut request = order(&mut ledger, 1);
    ledger.grow(&mut request, units(5), units(4));
    assert_eq!(request.cost(), units(4));
    assert!(ledger.claim(units(5), Amount::ZERO).is_err());
    assert!(ledger.claim(units(4), Amount::ZERO).is_ok());
    ledger.grow(&mut request, units(6), units(10));
    assert_eq!((request.cost(), ledger.expected()), (units(6), units(6)));
    ledger.sign(units(6)).unwrap();
    // It used less in the end: nothing else stays covered.
    confirm(&mut ledger, &request, 6, 3);
    assert_eq!(ledger.expected(), units(3));
}
