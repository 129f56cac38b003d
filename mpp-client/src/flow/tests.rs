use mpp_core::Problem;

use super::*;
use mpp_tempo::ChannelId;

use crate::testing::{challenge, receipt, recorded, request, units};

fn sent(presented: u128, signed: u128) -> Sent {
    Sent::Voucher(Stake {
        presented: units(presented),
        signed: units(signed),
    })
}

fn answer(status: u16) -> Answer {
    Answer {
        status,
        ..Answer::default()
    }
}

/// A refusal with a fresh challenge, as every one of them carries.
fn refusal(problem: Problem) -> Answer {
    Answer {
        status: problem.status(),
        challenges: vec![challenge(&request())],
        problem: Some(problem),
        ..Answer::default()
    }
}

fn problem(kind: ProblemKind) -> Problem {
    Problem::new(kind, "no")
}

#[track_caller]
fn decide(sent: Sent, answer: &Answer) -> Action {
    Flow::new().on_answer(sent, answer)
}

#[test]
fn an_unpaid_answer_is_delivered_and_a_402_is_paid() {
    let free = decide(Sent::Nothing, &answer(200));
    assert!(matches!(free, Action::Deliver(Booking::Unpaid)));
    let missing = decide(Sent::Nothing, &answer(404));
    assert!(matches!(missing, Action::Deliver(Booking::Unpaid)));

    let asked = refusal(problem(ProblemKind::PaymentRequired));
    let mut flow = Flow::new();
    assert!(matches!(flow.on_answer(Sent::Nothing, &asked), Action::Pay));
    assert!(matches!(
        flow.on_answer(Sent::Nothing, &asked),
        Action::Fail(_)
    ));
}

#[test]
fn a_success_is_booked_by_its_receipt() {
    #[track_caller]
    fn check(receipt: ReceiptField, is_stream: bool, expected: &Booking) {
        let answer = Answer {
            status: 200,
            receipt,
            is_stream,
            ..Answer::default()
        };
        let Action::Deliver(booking) = decide(sent(1, 1), &answer) else {
            panic!("not delivered");
        };
        assert_eq!(booking, *expected);
    }
    let receipt = Box::new(receipt(ChannelId::ZERO, 1, 1));
    let field = || ReceiptField::Session(receipt.clone());
    check(field(), false, &Booking::Confirm(receipt.clone()));
    check(field(), true, &Booking::Stream(Some(receipt.clone())));
    // Deployed servers begin a stream without a receipt.
    check(ReceiptField::Absent, true, &Booking::Stream(None));
    check(ReceiptField::Absent, false, &Booking::Doubt);
}

#[test]
fn a_receipt_that_is_none_leaves_the_payment_in_doubt() {
    let charge = ChargeReceipt::new(
        mpp_core::MethodName::tempo(),
        mpp_core::Timestamp::from_secs(1),
        "0x1",
    );
    let charge = ReceiptField::Charge(Box::new(charge));
    for receipt in [ReceiptField::Unreadable, charge] {
        let answer = Answer {
            status: 200,
            receipt,
            ..Answer::default()
        };
        let action = decide(sent(1, 1), &answer);
        assert!(matches!(action, Action::FailInDoubt(_)));
    }
}

// A terminal 4xx was not charged; a 5xx may have been.
#[test]
fn errors_of_the_resource_are_delivered() {
    for status in [400, 403, 404, 409, 422, 429] {
        let action = decide(sent(1, 1), &answer(status));
        assert!(matches!(action, Action::Deliver(Booking::Dismiss)));
    }
    // Nor is what does not succeed, unless a receipt says so.
    for status in [301, 303, 304] {
        let action = decide(sent(1, 1), &answer(status));
        assert!(matches!(action, Action::Deliver(Booking::Dismiss)));
    }
    for status in [500, 502, 503] {
        let action = decide(sent(1, 1), &answer(status));
        assert!(matches!(action, Action::Deliver(Booking::Doubt)));
    }
    // The resource is gone, not the channel.
    let action = decide(sent(1, 1), &answer(410));
    assert!(matches!(action, Action::Deliver(Booking::Dismiss)));
}

// PROTOCOL 1.3: every 402 carries a fresh challenge. One retry with it.
#[test]
fn a_bad_challenge_is_renewed_once() {
    for kind in [
        ProblemKind::PaymentRequired,
        ProblemKind::PaymentExpired,
        ProblemKind::InvalidChallenge,
        ProblemKind::ChallengeNotFound,
    ] {
        let mut flow = Flow::new();
        let refusal = refusal(problem(kind));
        let first = flow.on_answer(sent(1, 1), &refusal);
        assert!(matches!(first, Action::Renew(_)), "{kind:?}");
        let second = flow.on_answer(sent(1, 1), &refusal);
        assert!(matches!(second, Action::Fail(ClientError::Problem(_))));
    }
}

#[test]
fn a_402_without_a_reason_is_renewed_once() {
    let mut flow = Flow::new();
    let mut silent = refusal(problem(ProblemKind::PaymentRequired));
    silent.problem = None;
    let first = flow.on_answer(sent(1, 1), &silent);
    assert!(matches!(first, Action::Renew(_)));
    let second = flow.on_answer(sent(1, 1), &silent);
    assert!(matches!(
        second,
        Action::Fail(ClientError::Status { status: 402 })
    ));
}

// SECURITY-CASES: a lower voucher arriving out of order ending a healthy session.
#[test]
fn a_late_voucher_is_sent_again_with_the_best_one() {
    let late = refusal(problem(ProblemKind::DeltaTooSmall).with_accepted_cumulative(units(8)));
    let mut flow = Flow::new();
    for _ in 0..MAX_LATE {
        let action = flow.on_answer(sent(5, 9), &late);
        assert!(matches!(action, Action::Again(Raise::Best)));
    }
    let action = flow.on_answer(sent(5, 9), &late);
    assert!(matches!(
        action,
        Action::Fail(ClientError::Exhausted { attempts: 32, .. })
    ));
}

#[test]
fn a_late_voucher_needs_no_extension_members() {
    let late = refusal(problem(ProblemKind::DeltaTooSmall));
    let action = decide(sent(5, 9), &late);
    assert!(matches!(action, Action::Again(Raise::Best)));
}

#[test]
fn the_best_voucher_rises_by_the_smallest_step() {
    let small = refusal(problem(ProblemKind::DeltaTooSmall).with_accepted_cumulative(units(8)));
    let mut flow = Flow::new();
    for _ in 0..MAX_RAISES {
        let Action::Again(Raise::Above(accepted)) = flow.on_answer(sent(9, 9), &small) else {
            panic!("not raised");
        };
        assert_eq!(accepted, units(8));
    }
    let action = flow.on_answer(sent(9, 9), &small);
    assert!(matches!(
        action,
        Action::Fail(ClientError::Exhausted { .. })
    ));
}

// SECURITY-CASES A27: a server can not invent a voucher.
#[test]
fn an_accepted_amount_that_was_never_signed_is_a_lie() {
    let lie = refusal(problem(ProblemKind::DeltaTooSmall).with_accepted_cumulative(units(10)));
    let action = decide(sent(5, 9), &lie);
    assert!(matches!(
        action,
        Action::Fail(ClientError::Discrepancy(Discrepancy::AcceptedAboveSigned))
    ));
}

#[test]
fn a_shortage_is_claimed_or_covered() {
    #[track_caller]
    fn check(presented: u128, signed: u128, required: Option<u128>, expected: Raise) {
        let mut problem = problem(ProblemKind::InsufficientBalance);
        problem.required_cumulative = required.map(units);
        let Action::Again(raise) = decide(sent(presented, signed), &refusal(problem)) else {
            panic!("not raised");
        };
        assert_eq!(raise, expected);
    }
    check(5, 9, Some(10), Raise::Claim(units(10)));
    check(5, 9, Some(9), Raise::Best);
    check(5, 9, None, Raise::Best);
    // Deployed servers name no amount.
    check(9, 9, None, Raise::Late);
}

#[test]
fn a_shortage_that_is_covered_already_is_nonsense() {
    let problem = problem(ProblemKind::InsufficientBalance).with_required_cumulative(units(5));
    let action = decide(sent(5, 9), &refusal(problem));
    assert!(matches!(action, Action::Fail(ClientError::Protocol(_))));
}

#[test]
fn claims_are_bounded() {
    let mut flow = Flow::new();
    let claim = |n| {
        let problem = problem(ProblemKind::InsufficientBalance);
        refusal(problem.with_required_cumulative(units(n)))
    };
    for n in 0..u128::from(MAX_RAISES) {
        let action = flow.on_answer(sent(10 + n, 10 + n), &claim(11 + n));
        assert!(matches!(action, Action::Again(Raise::Claim(_))));
    }
    let action = flow.on_answer(sent(90, 90), &claim(91));
    assert!(matches!(
        action,
        Action::Fail(ClientError::Exhausted { .. })
    ));
}

#[test]
fn a_deposit_that_the_server_misses_is_looked_up_once() {
    let refusal = refusal(problem(ProblemKind::AmountExceedsDeposit));
    let mut flow = Flow::new();
    let first = flow.on_answer(sent(5, 5), &refusal);
    assert!(matches!(first, Action::Again(Raise::Refill)));
    let second = flow.on_answer(sent(5, 5), &refusal);
    assert!(matches!(second, Action::Fail(_)));
}

// PROTOCOL 1.3: 410 for a channel that is unknown or closed.
#[test]
fn a_channel_that_is_gone_is_replaced_once() {
    for (kind, expected) in [
        (ProblemKind::ChannelNotFound, StaleReason::NotFound),
        (ProblemKind::ChannelFinalized, StaleReason::Finalized),
    ] {
        let gone = refusal(problem(kind));
        let mut flow = Flow::new();
        let first = flow.on_answer(sent(1, 1), &gone);
        let Action::ReplaceChannel { offer, reason } = first else {
            panic!("not replaced");
        };
        assert!(offer.is_some());
        assert_eq!(reason, expected);
        let second = flow.on_answer(sent(1, 1), &gone);
        assert!(matches!(second, Action::Fail(_)));
    }
}

#[test]
fn refusals_of_the_payment_itself_are_final() {
    for kind in [
        ProblemKind::InvalidSignature,
        ProblemKind::SignerMismatch,
        ProblemKind::VerificationFailed,
        ProblemKind::InvalidPayload,
        ProblemKind::MalformedCredential,
        ProblemKind::PaymentInsufficient,
    ] {
        let action = decide(sent(1, 1), &refusal(problem(kind)));
        assert!(matches!(action, Action::Fail(ClientError::Problem(_))));
    }
}

// The refusals of a deployed server, from the recordings.
#[test]
fn recorded_refusals_are_understood() {
    let recorded = recorded("sponsored");
    for entry in recorded["problems"].as_array().unwrap() {
        let body = entry["body"].as_str().unwrap();
        let problem = Problem::from_json(body.as_bytes()).unwrap();
        let kind = problem.kind;
        let answer = Answer {
            status: u16::try_from(entry["status"].as_u64().unwrap()).unwrap(),
            challenges: vec![challenge(&request())],
            problem: Some(problem),
            ..Answer::default()
        };
        let action = decide(sent(6_000, 6_000), &answer);
        let understood = match kind {
            ProblemKind::ChannelFinalized => matches!(
                action,
                Action::ReplaceChannel {
                    reason: StaleReason::Finalized,
                    ..
                }
            ),
            ProblemKind::InsufficientBalance => matches!(action, Action::Again(Raise::Late)),
            ProblemKind::AmountExceedsDeposit => matches!(action, Action::Again(Raise::Refill)),
            ProblemKind::InvalidChallenge => matches!(action, Action::Renew(_)),
            ProblemKind::InvalidSignature
            | ProblemKind::VerificationFailed
            | ProblemKind::InvalidPayload => matches!(action, Action::Fail(_)),
            _ => false,
        };
        assert!(understood, "{kind:?}: {action:?}");
    }
}

mod management {
    use super::*;

    #[test]
    fn head_becomes_post_where_it_is_not_known() {
        for status in [404, 405, 501] {
            let mut management = Management::new();
            assert_eq!(management.probe(), Probe::Head);
            let action = management.on_answer(&answer(status));
            assert!(matches!(action, ManageAction::Send(Probe::Post, None)));
            assert_eq!(management.probe(), Probe::Post);
            let action = management.on_answer(&answer(status));
            assert!(matches!(action, ManageAction::Refused { .. }));
        }
    }

    #[test]
    fn a_fresh_challenge_is_tried_once_and_then_the_reason_is_asked() {
        let mut management = Management::new();
        let mut silent = refusal(problem(ProblemKind::PaymentRequired));
        silent.problem = None;
        let first = management.on_answer(&silent);
        assert!(matches!(first, ManageAction::Send(Probe::Head, Some(_))));
        let second = management.on_answer(&silent);
        assert!(matches!(second, ManageAction::Send(Probe::Post, Some(_))));
        let reason = refusal(problem(ProblemKind::InsufficientBalance));
        let third = management.on_answer(&reason);
        assert!(matches!(
            third,
            ManageAction::Refused {
                status: 402,
                problem: Some(_)
            }
        ));
    }

    #[test]
    fn a_confirmation_needs_a_receipt() {
        let mut confirmed = answer(204);
        let action = Management::new().on_answer(&confirmed);
        assert!(matches!(action, ManageAction::Fail(_)));
        let receipt = receipt(ChannelId::ZERO, 1, 1);
        confirmed.receipt = ReceiptField::Session(Box::new(receipt));
        let action = Management::new().on_answer(&confirmed);
        assert!(matches!(action, ManageAction::Done(_)));
    }

    #[test]
    fn refusals_end_it() {
        for kind in [
            ProblemKind::ChannelFinalized,
            ProblemKind::InvalidSignature,
            ProblemKind::DeltaTooSmall,
        ] {
            let action = Management::new().on_answer(&refusal(problem(kind)));
            assert!(matches!(action, ManageAction::Refused { .. }));
        }
        let action = Management::new().on_answer(&answer(302));
        assert!(matches!(action, ManageAction::Refused { status: 302, .. }));
    }
}

// PROTOCOL 5.6: the same request again, with the same voucher and key, a bounded number of times.
#[test]
fn a_lost_answer_is_asked_for_again_a_few_times() {
    let mut flow = Flow::new();
    let pauses: Vec<_> = std::iter::from_fn(|| flow.on_lost()).collect();
    assert_eq!(pauses.len(), 2);
    assert!(pauses.is_sorted() && pauses[0] > Duration::ZERO);
}

// Nothing more is signed before it is known what became of a lost request.
#[test]
fn a_refusal_after_a_loss_leaves_the_payment_in_doubt() {
    for kind in [
        ProblemKind::InsufficientBalance,
        ProblemKind::DeltaTooSmall,
        ProblemKind::PaymentExpired,
        ProblemKind::ChannelFinalized,
    ] {
        let mut flow = Flow::new();
        flow.on_lost().unwrap();
        let action = flow.on_answer(sent(1, 2), &refusal(problem(kind)));
        assert!(matches!(action, Action::FailInDoubt(_)), "{kind:?}");
    }
    let mut flow = Flow::new();
    flow.on_lost().unwrap();
    let action = flow.on_answer(sent(1, 1), &answer(404));
    assert!(matches!(action, Action::Deliver(Booking::Doubt)));
}

// A server that could not serve a sending may have charged it.
#[test]
fn a_refusal_after_an_outage_leaves_the_payment_in_doubt() {
    let mut outage = refusal(problem(ProblemKind::ServiceUnavailable));
    outage.status = 503;
    outage.retry_after = Some(Duration::from_secs(1));
    for kind in [
        ProblemKind::SignerMismatch,
        ProblemKind::InsufficientBalance,
        ProblemKind::ChannelFinalized,
    ] {
        let mut flow = Flow::new();
        let action = flow.on_answer(sent(1, 2), &outage);
        assert!(matches!(action, Action::Repeat(_)));
        let action = flow.on_answer(sent(1, 2), &refusal(problem(kind)));
        assert!(matches!(action, Action::FailInDoubt(_)), "{kind:?}");
        // Unless it says that it has not seen the request before.
        let mut flow = Flow::new();
        flow.on_answer(sent(1, 2), &outage);
        let known = Answer {
            repetition: Repetition::New,
            ..refusal(problem(kind))
        };
        let action = flow.on_answer(sent(1, 2), &known);
        assert!(!matches!(action, Action::FailInDoubt(_)), "{kind:?}");
    }
}

// One that pays nothing can be made again.
#[test]
fn a_refused_charge_after_an_outage_is_in_doubt() {
    let mut outage = refusal(problem(ProblemKind::ServiceUnavailable));
    outage.status = 503;
    outage.retry_after = Some(Duration::from_secs(1));
    for kind in [ProblemKind::VerificationFailed, ProblemKind::PaymentExpired] {
        for risk in [Risk::Money, Risk::Nothing] {
            let mut flow = Flow::new();
            let action = flow.on_answer(Sent::Once(risk), &outage);
            assert!(matches!(action, Action::Repeat(_)));
            let action = flow.on_answer(Sent::Once(risk), &refusal(problem(kind)));
            let is_in_doubt = matches!(action, Action::FailInDoubt(_));
            assert_eq!(is_in_doubt, risk == Risk::Money, "{kind:?}");
        }
    }
}

#[test]
fn a_server_that_knows_the_key_ends_the_doubt() {
    let mut flow = Flow::new();
    flow.on_lost().unwrap();
    let known = Answer {
        repetition: Repetition::New,
        ..refusal(problem(ProblemKind::DeltaTooSmall))
    };
    let action = flow.on_answer(sent(1, 2), &known);
    assert!(matches!(action, Action::Again(Raise::Best)));
}

fn replay() -> Answer {
    Answer {
        repetition: Repetition::Replayed,
        receipt: ReceiptField::Session(Box::new(receipt(ChannelId::ZERO, 1, 1))),
        ..answer(200)
    }
}

// A replay of a lost sending is its answer; any other is the answer of an earlier request.
#[test]
fn a_replay_is_booked_once() {
    let mut flow = Flow::new();
    flow.on_lost().unwrap();
    let action = flow.on_answer(sent(1, 1), &replay());
    assert!(matches!(action, Action::Deliver(Booking::Confirm(_))));
    let action = decide(sent(1, 1), &replay());
    assert!(matches!(action, Action::Deliver(Booking::Replayed(_))));
}

// The charge that a server could not confirm with its 503 may have been made.
#[test]
fn a_replay_after_an_outage_is_the_answer() {
    let mut flow = Flow::new();
    let mut outage = refusal(problem(ProblemKind::ServiceUnavailable));
    outage.status = 503;
    outage.retry_after = Some(Duration::from_secs(1));
    let action = flow.on_answer(sent(1, 1), &outage);
    assert!(matches!(action, Action::Repeat(_)));
    let action = flow.on_answer(sent(1, 1), &replay());
    assert!(matches!(action, Action::Deliver(Booking::Confirm(_))));
}

// Another request with the key was in progress: what it was charged is not this one's.
#[test]
fn a_replay_after_a_request_in_progress_is_the_answer_of_that_one() {
    let mut flow = Flow::new();
    let busy = refusal(problem(ProblemKind::RequestInProgress));
    let action = flow.on_answer(sent(1, 1), &busy);
    assert!(matches!(action, Action::Repeat(_)));
    let action = flow.on_answer(sent(1, 1), &replay());
    assert!(matches!(action, Action::Deliver(Booking::Replayed(_))));
}

// The caller has bought under this key before and asks again, and that sending is lost, too.
#[test]
fn a_replay_of_an_older_voucher_confirms_no_newer_one() {
    let mut flow = Flow::new();
    flow.on_lost().unwrap();
    let action = flow.on_answer(sent(2, 2), &replay());
    assert!(matches!(action, Action::Deliver(Booking::Replayed(_))));
}

// PROTOCOL 5.6: in flight -> 409; it is the server's own word, not the resource's.
#[test]
fn a_busy_server_is_asked_again_within_bounds() {
    let mut busy = refusal(problem(ProblemKind::RequestInProgress));
    busy.retry_after = Some(Duration::from_secs(60));
    let mut flow = Flow::new();
    let mut pauses = Vec::new();
    while let Action::Repeat(pause) = flow.on_answer(sent(1, 1), &busy) {
        pauses.push(pause);
    }
    assert_eq!(pauses.len(), 10);
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(2)));
    let mut unavailable = refusal(problem(ProblemKind::ServiceUnavailable));
    let action = decide(sent(1, 1), &unavailable);
    assert!(matches!(action, Action::Deliver(Booking::Doubt)));
    unavailable.retry_after = Some(Duration::from_secs(1));
    let action = decide(sent(1, 1), &unavailable);
    assert!(matches!(action, Action::Repeat(_)));
}

fn charge_receipt() -> Box<ChargeReceipt> {
    let at = mpp_core::Timestamp::from_secs(1);
    Box::new(ChargeReceipt::new(mpp_core::MethodName::tempo(), at, "0x1"))
}

// SECURITY-CASES A25: what was paid for is what a receipt confirms, and nothing else does.
#[test]
fn a_one_time_payment_is_booked_by_its_receipt() {
    let with = |receipt| Answer {
        status: 200,
        receipt,
        ..Answer::default()
    };
    for risk in [Risk::Money, Risk::Nothing] {
        let sent = Sent::Once(risk);
        let action = decide(sent, &with(ReceiptField::Charge(charge_receipt())));
        let booked = Booking::Once(charge_receipt());
        assert!(matches!(action, Action::Deliver(booking) if booking == booked));
        let action = decide(sent, &with(ReceiptField::Absent));
        assert!(matches!(action, Action::Deliver(Booking::Doubt)));
        let session = ReceiptField::Session(Box::new(receipt(ChannelId::ZERO, 1, 1)));
        for other in [session, ReceiptField::Unreadable] {
            let action = decide(sent, &with(other));
            assert!(matches!(action, Action::FailInDoubt(_)));
        }
    }
}

// There is never a second payment for one request.
#[test]
fn a_refused_charge_is_not_paid_again() {
    for kind in [
        ProblemKind::PaymentRequired,
        ProblemKind::PaymentExpired,
        ProblemKind::InvalidChallenge,
        ProblemKind::VerificationFailed,
        ProblemKind::PaymentInsufficient,
    ] {
        let action = decide(Sent::Once(Risk::Money), &refusal(problem(kind)));
        assert!(
            matches!(&action, Action::Fail(ClientError::Problem(told)) if told.kind == kind),
            "{action:?}"
        );
    }
    let action = decide(Sent::Once(Risk::Money), &answer(402));
    assert!(matches!(action, Action::Fail(ClientError::Status { .. })));
}

#[test]
fn a_proof_is_made_again_once_for_a_fresh_challenge() {
    let sent = Sent::Once(Risk::Nothing);
    let expired = refusal(problem(ProblemKind::PaymentExpired));
    let mut flow = Flow::new();
    assert!(matches!(flow.on_answer(sent, &expired), Action::Pay));
    assert!(matches!(flow.on_answer(sent, &expired), Action::Fail(_)));
    let wrong = refusal(problem(ProblemKind::VerificationFailed));
    assert!(matches!(decide(sent, &wrong), Action::Fail(_)));
}

#[test]
fn a_lost_charge_is_sent_again_and_its_refusal_proves_nothing() {
    let sent = Sent::Once(Risk::Money);
    let mut flow = Flow::new();
    assert!(flow.on_lost().is_some());
    let used = refusal(problem(ProblemKind::InvalidChallenge));
    assert!(matches!(
        flow.on_answer(sent, &used),
        Action::FailInDoubt(_)
    ));
    // The server is still busy with the first sending: the same request, a little later.
    for (status, kind, after) in [
        (409, ProblemKind::RequestInProgress, None),
        (503, ProblemKind::ServiceUnavailable, Some(Duration::ZERO)),
    ] {
        let mut busy = answer(status);
        busy.problem = Some(problem(kind));
        busy.retry_after = after;
        assert!(matches!(decide(sent, &busy), Action::Repeat(_)), "{status}");
    }
}

#[test]
fn a_charge_whose_resource_failed_stays_in_doubt() {
    for status in [400, 403, 404, 409, 410, 429, 500, 503] {
        let action = decide(Sent::Once(Risk::Money), &answer(status));
        assert!(
            matches!(action, Action::Deliver(Booking::Doubt)),
            "{status}"
        );
        let action = decide(Sent::Once(Risk::Nothing), &answer(status));
        assert!(matches!(action, Action::Deliver(Booking::Dismiss)));
    }
}
