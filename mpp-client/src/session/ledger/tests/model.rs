//! The ledger against a model of the server and the network.

use proptest::prelude::*;

use super::*;

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
