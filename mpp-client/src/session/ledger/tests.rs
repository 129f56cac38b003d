use proptest::prelude::*;

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

// Brief of the client: after a terminal 4xx the reservation is released.
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

// Brief of the client: a terminal 4xx releases, and a server that charged it is not stuck with us.
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

/// An honest server and the network between: requests wait, arrive in any order, are answered in
/// any order, or are lost on either way. One of them may be a stream.
#[derive(Debug)]
struct World {
    ledger: Ledger,
    accepted: Amount,
    spent: Amount,
    waiting: Vec<Reservation>,
    answered: Vec<(Reservation, Totals)>,
    /// Lost for the client, but they may still arrive: cost and voucher.
    stray: Vec<(Amount, Amount)>,
    stream: Option<Running>,
    ordered: Amount,
    peak: Amount,
}

/// A stream that asks once per shortage, whatever happens to its credit in between.
#[derive(Debug)]
struct Running {
    reservation: Reservation,
    /// Announced and not answered by the client yet: required and accepted.
    announced: Option<(Amount, Amount)>,
    /// The client's voucher on its way.
    voucher: Option<Amount>,
    is_paused: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Order(u8),
    Arrive(usize),
    Answer(usize),
    LoseWaiting(usize),
    LoseAnswer(usize),
    StrayArrives(usize),
    Refuse(usize),
    /// Charged, then the resource turns out to be missing.
    FailCharged(usize),
    BeginStream,
    /// The stream charges a unit, or asks for a voucher.
    Tick,
    /// The client answers the announcement.
    Feed,
    /// The stream's voucher arrives.
    VoucherArrives,
    EndStream,
    DropStream,
}

fn step(with_trouble: bool, with_stream: bool) -> impl Strategy<Value = Step> {
    let index = any::<usize>;
    let smooth = prop_oneof![
        (1_u8..=3).prop_map(Step::Order),
        index().prop_map(Step::Arrive),
        index().prop_map(Step::Answer),
    ];
    let trouble = prop_oneof![
        index().prop_map(Step::LoseWaiting),
        index().prop_map(Step::LoseAnswer),
        index().prop_map(Step::StrayArrives),
        index().prop_map(Step::Refuse),
        index().prop_map(Step::FailCharged),
    ];
    let stream = prop_oneof![
        2 => Just(Step::BeginStream),
        6 => Just(Step::Tick),
        3 => Just(Step::Feed),
        3 => Just(Step::VoucherArrives),
        1 => Just(Step::EndStream),
        1 => Just(Step::DropStream),
    ];
    let trouble_weight = u32::from(with_trouble);
    let stream_weight = if with_stream { 4 } else { 0 };
    prop_oneof![4 => smooth, trouble_weight => trouble, stream_weight => stream]
}

fn take<T>(from: &mut Vec<T>, index: usize) -> Option<T> {
    let index = index.checked_rem(from.len())?;
    Some(from.swap_remove(index))
}

impl World {
    fn new() -> Self {
        Self {
            ledger: Ledger::new(Amount::MAX, Amount::ZERO),
            accepted: Amount::ZERO,
            spent: Amount::ZERO,
            waiting: Vec::new(),
            answered: Vec::new(),
            stray: Vec::new(),
            stream: None,
            ordered: Amount::ZERO,
            peak: Amount::ZERO,
        }
    }

    fn order(&mut self, cost: u8) {
        self.ordered = sum([self.ordered, units(cost.into())]);
        let request = order(&mut self.ledger, cost.into());
        self.waiting.push(request);
    }

    const fn totals(&self) -> Totals {
        Totals {
            accepted: self.accepted,
            spent: self.spent,
        }
    }

    /// The server's rules: refuse a lower voucher, take a higher one, charge if covered.
    fn serve(&mut self, cost: Amount, voucher: Amount) -> Result<Totals, Refusal> {
        if voucher < self.accepted {
            return Err(Refusal::Late);
        }
        let spent = sum([self.spent, cost]);
        if spent > voucher {
            return Err(Refusal::Insufficient(spent));
        }
        self.accepted = voucher;
        self.spent = spent;
        Ok(self.totals())
    }

    fn arrive(&mut self, mut request: Reservation) {
        match self.serve(request.cost(), request.presented()) {
            Ok(totals) => self.answered.push((request, totals)),
            Err(refusal) => {
                if let Refusal::Insufficient(required) = refusal {
                    // Sometimes a better voucher is there already.
                    if required > self.ledger.signed() {
                        self.ledger.claim(required, Amount::ZERO).unwrap();
                        let need = Need::AtLeast(required);
                        let Plan::Voucher(cumulative) = self.ledger.plan(need, Margin::default())
                        else {
                            panic!("no deposit is that small");
                        };
                        self.ledger.sign(cumulative).unwrap();
                    }
                }
                // Sent again with the best voucher there is.
                request.present(self.ledger.signed());
                self.waiting.push(request);
            }
        }
    }

    fn begin_stream(&mut self) {
        if self.stream.is_some() {
            return;
        }
        let mut reservation = order(&mut self.ledger, 1);
        self.ordered = sum([self.ordered, units(1)]);
        // Its beginning is a request like others; here it is served at once, or not at all.
        if self.serve(units(1), reservation.presented()).is_err() {
            self.ledger.release(&reservation);
            return;
        }
        self.ledger.begin_stream(&mut reservation, units(1_000));
        self.stream = Some(Running {
            reservation,
            announced: None,
            voucher: None,
            is_paused: false,
        });
    }

    fn tick(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let required = sum([self.spent, units(1)]);
        if required <= self.accepted {
            self.spent = required;
            stream.is_paused = false;
            self.ordered = sum([self.ordered, units(1)]);
        } else if !stream.is_paused {
            stream.is_paused = true;
            stream.announced = Some((required, self.accepted));
        }
    }

    fn feed(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let Some((required, accepted)) = stream.announced.take() else {
            return;
        };
        let (required, accepted) = (required.base_units(), accepted.base_units());
        stream.voucher = Some(feed(&mut self.ledger, required, accepted));
    }

    fn voucher_arrives(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let Some(mut voucher) = stream.voucher.take() else {
            return;
        };
        if voucher < self.accepted {
            // Too late: the best one is sent instead.
            voucher = self.ledger.signed();
        }
        self.accepted = self.accepted.max(voucher);
        let totals = self.totals();
        let stream = self.stream.as_ref().map(|stream| &stream.reservation);
        self.ledger.observe(stream, totals, Amount::ZERO).unwrap();
    }

    fn end_stream(&mut self, is_dropped: bool) {
        let totals = self.totals();
        let Some(stream) = self.stream.take() else {
            return;
        };
        if is_dropped {
            self.ledger.lose(&stream.reservation);
        } else {
            self.ledger
                .confirm(&stream.reservation, totals, Amount::ZERO)
                .unwrap();
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Order(cost) => self.order(cost),
            Step::Arrive(index) => {
                if let Some(request) = take(&mut self.waiting, index) {
                    self.arrive(request);
                }
            }
            Step::Answer(index) => {
                if let Some((request, totals)) = take(&mut self.answered, index) {
                    self.ledger.confirm(&request, totals, Amount::ZERO).unwrap();
                }
            }
            Step::LoseWaiting(index) => {
                if let Some(request) = take(&mut self.waiting, index) {
                    self.stray.push((request.cost(), request.presented()));
                    self.ledger.lose(&request);
                }
            }
            Step::LoseAnswer(index) => {
                if let Some((request, _)) = take(&mut self.answered, index) {
                    self.ledger.lose(&request);
                }
            }
            Step::StrayArrives(index) => {
                if let Some((cost, voucher)) = take(&mut self.stray, index) {
                    let _ = self.serve(cost, voucher);
                }
            }
            Step::FailCharged(index) => {
                if let Some((request, _)) = take(&mut self.answered, index) {
                    self.ledger.dismiss(&request);
                }
            }
            Step::Refuse(index) => {
                if let Some(request) = take(&mut self.waiting, index) {
                    self.ledger.release(&request);
                }
            }
            Step::BeginStream => self.begin_stream(),
            Step::Tick => self.tick(),
            Step::Feed => self.feed(),
            Step::VoucherArrives => self.voucher_arrives(),
            Step::EndStream => self.end_stream(false),
            Step::DropStream => self.end_stream(true),
        }
        self.peak = self.peak.max(self.ledger.expected());
    }

    /// Everything that still waits arrives and is answered.
    fn settle(&mut self) {
        while !self.waiting.is_empty() || !self.answered.is_empty() {
            self.apply(Step::Arrive(0));
            self.apply(Step::Answer(0));
        }
    }

    /// Whether the stream goes on once everything has arrived.
    fn stream_goes_on(&mut self) -> bool {
        self.stray.clear();
        self.feed();
        self.voucher_arrives();
        self.settle();
        let before = self.spent;
        self.tick();
        self.stream.as_ref().is_none_or(|stream| {
            self.spent > before || stream.announced.is_some() || !stream.is_paused
        })
    }

    /// Everything ends, then two more requests.
    fn drain(&mut self) {
        self.stray.clear();
        self.end_stream(false);
        for _ in 0..2 {
            self.order(1);
            self.settle();
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let ledger = &self.ledger;
        // What the server charged is covered by what we ordered.
        prop_assert!(self.spent <= sum([ledger.expected(), ledger.room, ledger.late]));
        prop_assert!(ledger.charged <= ledger.spent);
        prop_assert!(ledger.spent <= self.spent && self.spent <= self.accepted);
        prop_assert!(self.accepted <= ledger.signed());
        Ok(())
    }
}

enum Refusal {
    Late,
    Insufficient(Amount),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    // PROTOCOL 5.6 seen from the client: spent <= accepted <= signed, through reordering and loss.
    #[test]
    fn honest_charges_are_always_covered_and_doubts_end(
        steps in prop::collection::vec(step(true, false), 0..80),
    ) {
        let mut world = World::new();
        for step in steps {
            world.apply(step);
            world.check()?;
            prop_assert!(world.ledger.expected() <= world.ordered);
            // Nothing is ever signed beyond what was ordered at some moment.
            prop_assert!(world.ledger.signed() <= world.peak);
        }
        world.drain();
        world.check()?;
        prop_assert_eq!(world.ledger.expected(), world.spent);
        prop_assert_eq!(world.ledger.in_doubt(), Amount::ZERO);
        prop_assert_eq!(world.ledger.in_flight, Amount::ZERO);
    }

    // A server asks once per shortage. A request that takes the stream's credit before the answer
    // arrives must not leave it waiting for a voucher that nobody sends.
    #[test]
    fn a_stream_beside_requests_never_starves(
        steps in prop::collection::vec(step(false, true), 0..80),
    ) {
        let mut world = World::new();
        for step in steps {
            world.apply(step);
            world.check()?;
        }
        prop_assert!(world.stream_goes_on());
    }

    // The rules above, beside a stream that takes whatever credit there is.
    #[test]
    fn charges_beside_a_stream_are_always_covered_and_doubts_end(
        steps in prop::collection::vec(step(true, true), 0..80),
    ) {
        let mut world = World::new();
        for step in steps {
            world.apply(step);
            world.check()?;
        }
        world.drain();
        world.check()?;
        prop_assert_eq!(world.ledger.expected(), world.spent);
        prop_assert_eq!(world.ledger.in_doubt(), Amount::ZERO);
        prop_assert_eq!(world.ledger.in_flight, Amount::ZERO);
        prop_assert_eq!(world.ledger.streaming, Amount::ZERO);
    }

    #[test]
    fn without_trouble_the_signed_total_is_exact(
        steps in prop::collection::vec(step(false, false), 0..80),
    ) {
        let mut world = World::new();
        for step in steps {
            world.apply(step);
            prop_assert_eq!(world.ledger.signed(), world.ordered);
        }
    }

    // SECURITY-CASES A27: whatever the server states, it raises neither what is signed nor, beyond
    // the allowance, what would be signed next.
    #[test]
    fn hostile_statements_never_raise_what_is_signed(
        statements in prop::collection::vec((any::<bool>(), 0_u128..60, 0_u128..60), 1..40),
        allowance in 0_u128..5,
    ) {
        let mut ledger = Ledger::new(Amount::MAX, Amount::ZERO);
        let mut ordered = allowance;
        for (is_claim, first, second) in statements {
            let request = order(&mut ledger, 1);
            ordered = ordered.checked_add(1).unwrap();
            let signed = ledger.signed();
            if is_claim {
                let _ = ledger.claim(units(first), units(allowance));
                ledger.release(&request);
            } else if ledger.confirm(&request, totals(first, second), units(allowance)).is_err() {
                ledger.lose(&request);
            }
            prop_assert_eq!(ledger.signed(), signed);
            prop_assert!(ledger.expected() <= units(ordered));
        }
    }
}
