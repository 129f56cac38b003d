//! Random lives of a channel: whatever comes in whatever order, the money adds up.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use alloy_primitives::B256;
use mpp_core::{Amount, Timestamp};
use mpp_tempo::{ChannelView, Existence, SessionProtocol, VerifiedVoucher};
use proptest::prelude::*;

use self::{chain::*, checks::*};
use super::*;
use crate::{
    session::{
        command::{Capture, CloseNews, Facts},
        record::{HoldId, Idempotency, PendingTx, Quarantine, Unsettled},
        restart::after_restart,
    },
    testing::{BOTH, NOW_SECS, amount, challenge_id, now, open_tx, opening, terms, verified},
};

mod chain;
mod checks;

/// Amounts are 0 to this; small, so that limits are met often.
const TOP: u128 = 24;

const CASES: u32 = 10_000;

/// Every voucher of the model, verified once.
static VOUCHERS: LazyLock<HashMap<(SessionProtocol, u128), VerifiedVoucher>> =
    LazyLock::new(|| {
        let amounts = BOTH
            .into_iter()
            .flat_map(|protocol| (0..=TOP).map(move |units| (protocol, units)));
        amounts
            .map(|(protocol, units)| ((protocol, units), verified(&terms(protocol), units)))
            .collect()
    });

/// One thing that happens, on the chain or at the server.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The chain moves on; the server has not seen it.
    ChainTopUp(u128),
    ChainCloseRequest,
    ChainSettle,
    ChainClose,
    /// The server is shown a state of the chain: this many states ago.
    Show(usize),
    /// The server is shown an empty slot, as a lagging node does.
    ShowNothing,
    /// The server reads the events of one of the newest steps of the chain.
    Follow(usize),
    /// The chain takes back its newest steps; the server has not noticed.
    ChainReorg(usize),
    /// The server looks again at what a reorganization may have changed.
    LookAgain,
    OpenFailed,
    Accept {
        units: u128,
        min_delta: u128,
        hold: Option<Ask>,
    },
    Hold(Ask),
    /// These name one of the newest holds, whatever has become of it.
    Raise {
        newest: u64,
        units: u128,
    },
    Extend(u64),
    Capture {
        newest: u64,
        cost: u128,
    },
    Release(u64),
    /// The server's clock goes on.
    Wait(i64),
    /// The server dies; its store is its own.
    Crash,
    Reinstate,
    Charge {
        cost: u128,
        stream: Option<u64>,
    },
    Credit(u128),
    Keep,
    BeginStream,
    BeginClose(u128),
    CloseWithHeld,
    Dispute,
    Settled,
    CloseSent {
        byte: u8,
        instead_of: Option<u8>,
    },
    CloseFailed(u8),
    /// The close transaction is mined; the server has its receipt.
    CloseMined(u8),
}

/// A request: what it may cost, under which key, and what it asks for.
#[derive(Clone, Copy, Debug)]
struct Ask {
    units: u128,
    key: Option<u8>,
    request: u8,
}

fn ask() -> impl Strategy<Value = Ask> {
    (1..6_u128, prop::option::of(0..2_u8), 0..2_u8).prop_map(|(units, key, request)| Ask {
        units,
        key,
        request,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let units = 0..=TOP;
    prop_oneof![
        2 => (1..8_u128).prop_map(Event::ChainTopUp),
        1 => Just(Event::ChainCloseRequest),
        1 => Just(Event::ChainSettle),
        1 => Just(Event::ChainClose),
        8 => (0..4_usize).prop_map(Event::Show),
        1 => Just(Event::ShowNothing),
        6 => (0..4_usize).prop_map(Event::Follow),
        1 => (1..4_usize).prop_map(Event::ChainReorg),
        3 => Just(Event::LookAgain),
        1 => Just(Event::OpenFailed),
        8 => (units.clone(), 0..3_u128, prop::option::of(ask()))
            .prop_map(|(units, min_delta, hold)| Event::Accept { units, min_delta, hold }),
        6 => ask().prop_map(Event::Hold),
        2 => (0..3_u64, units.clone()).prop_map(|(newest, units)| Event::Raise { newest, units }),
        1 => (0..3_u64).prop_map(Event::Extend),
        6 => (0..3_u64, 0..7_u128).prop_map(|(newest, cost)| Event::Capture { newest, cost }),
        2 => (0..3_u64).prop_map(Event::Release),
        2 => (1..40_i64).prop_map(Event::Wait),
        1 => Just(Event::Crash),
        1 => Just(Event::Reinstate),
        6 => (1..6_u128, prop::option::of(0..4_u64))
            .prop_map(|(cost, stream)| Event::Charge { cost, stream }),
        2 => (0..8_u128).prop_map(Event::Credit),
        1 => Just(Event::Keep),
        2 => Just(Event::BeginStream),
        2 => units.prop_map(Event::BeginClose),
        1 => Just(Event::CloseWithHeld),
        1 => Just(Event::Settled),
        1 => prop::bool::weighted(0.2).prop_map(|is| if is { Event::Dispute } else { Event::Keep }),
        2 => (0..3_u8, prop::option::of(0..3_u8))
            .prop_map(|(byte, instead_of)| Event::CloseSent { byte, instead_of }),
        2 => (0..3_u8).prop_map(Event::CloseFailed),
        1 => (0..3_u8).prop_map(Event::CloseMined),
    ]
}

/// The chain, the server's record, and what was promised so far.
struct World {
    protocol: SessionProtocol,
    /// Every state the chain was in; the last is the present.
    chain: Vec<ChannelView>,
    record: ChannelRecord,
    /// Seconds since the start.
    elapsed: i64,
    ledger_cost: Amount,
    ledger_units: u64,
}

impl World {
    fn new(protocol: SessionProtocol, first: u128, deposit: u128) -> Self {
        let view = ChannelView {
            deposit: amount(deposit),
            ..ChannelView::unknown()
        };
        Self {
            protocol,
            chain: vec![ChannelView {
                existence: Existence::Open,
                ..view
            }],
            record: opening(protocol, first),
            elapsed: 0,
            ledger_cost: Amount::ZERO,
            ledger_units: 0,
        }
    }

    fn truth(&self) -> ChannelView {
        *self.chain.last().unwrap()
    }

    fn change_chain(&mut self, change: impl FnOnce(&mut ChannelView)) {
        let mut next = self.truth();
        if next.existence == Existence::Open {
            change(&mut next);
            self.chain.push(next);
        }
    }

    fn voucher(&self, units: u128) -> VerifiedVoucher {
        VOUCHERS[&(self.protocol, units)].clone()
    }

    fn now(&self) -> Timestamp {
        in_secs(self.elapsed)
    }

    fn ask(&self, ask: Ask) -> NewHold {
        NewHold {
            amount: amount(ask.units),
            challenge_id: challenge_id(),
            idempotency: ask.key.map(|key| Idempotency {
                key: OutcomeKey(B256::repeat_byte(key)),
                request: B256::repeat_byte(ask.request),
            }),
            until: in_secs(self.elapsed.saturating_add(LEASE)),
        }
    }

    /// One of the newest holds.
    fn hold(&self, newest: u64) -> HoldId {
        HoldId(self.record.newest_hold.0.saturating_sub(newest))
    }

    /// What happens around the server.
    fn pass(&mut self, event: Event) {
        match event {
            Event::ChainTopUp(units) => {
                self.change_chain(|view| {
                    let deposit = view.deposit.base_units().saturating_add(units);
                    view.deposit = amount(deposit.min(TOP));
                    view.close_requested_at = None;
                });
            }
            Event::ChainCloseRequest => {
                self.change_chain(|view| view.close_requested_at = Some(7));
            }
            Event::ChainSettle => {
                let best = self.record.accepted();
                self.change_chain(|view| {
                    if best <= view.deposit {
                        view.settled = view.settled.max(best);
                    }
                });
            }
            Event::ChainClose => {
                self.change_chain(finalize);
            }
            Event::ChainReorg(depth) => {
                let left = self.chain.len().saturating_sub(depth);
                self.chain.truncate(left);
                if self.chain.is_empty() {
                    self.chain.push(ChannelView::unknown());
                }
            }
            Event::Wait(seconds) => {
                self.elapsed = self.elapsed.saturating_add(seconds);
            }
            Event::Crash => {
                if let Some(restarted) = after_restart(&self.record, self.now()) {
                    assert_eq!(restarted.spent, self.record.spent);
                    self.record = restarted;
                }
            }
            _ => {}
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each event")]
    fn happen(&mut self, event: Event) {
        let hash = |byte: u8| B256::repeat_byte(byte);
        let command = match event {
            Event::ChainTopUp(_)
            | Event::ChainCloseRequest
            | Event::ChainSettle
            | Event::ChainClose
            | Event::ChainReorg(_)
            | Event::Wait(_)
            | Event::Crash => return self.pass(event),
            Event::Show(ago) => {
                let index = self.chain.len().saturating_sub(ago).saturating_sub(1);
                Command::Observe(self.chain[index])
            }
            Event::ShowNothing => Command::Observe(ChannelView::unknown()),
            Event::Follow(ago) => return self.follow(ago),
            Event::LookAgain => Command::Reorged(self.truth()),
            Event::OpenFailed => Command::OpenFailed {
                transaction: open_tx().hash,
            },
            Event::Accept {
                units,
                min_delta,
                hold,
            } => Command::Accept {
                voucher: self.voucher(units),
                min_delta: amount(min_delta),
                hold: hold.map(|ask| self.ask(ask)),
            },
            Event::Hold(ask) => Command::Hold(self.ask(ask)),
            Event::Raise { newest, units } => Command::Raise {
                hold: self.hold(newest),
                amount: amount(units),
            },
            Event::Extend(newest) => Command::Extend {
                holds: vec![self.hold(newest)],
                until: in_secs(self.elapsed.saturating_add(LEASE)),
            },
            Event::Capture { newest, cost } => Command::Capture(Capture {
                hold: self.hold(newest),
                cost: amount(cost),
                units: 1,
                response: None,
                keep_until: in_secs(1_000),
            }),
            Event::Release(newest) => Command::Release(self.hold(newest)),
            Event::Reinstate => Command::Reinstate,
            Event::Charge { cost, stream } => Command::Charge(charge(cost, stream)),
            Event::Credit(units) => Command::Credit {
                amount: amount(units),
            },
            Event::Keep => Command::Keep,
            Event::BeginStream => Command::BeginStream,
            Event::BeginClose(units) => Command::BeginClose(self.voucher(units)),
            Event::CloseWithHeld => Command::CloseWithHeld,
            Event::Dispute => match self.record.best.clone() {
                Some(best) => Command::Dispute(best),
                None => return,
            },
            // Only what was spent is ever settled.
            Event::Settled => Command::Settled(self.truth().settled.min(self.record.spent)),
            Event::CloseSent { byte, instead_of } => Command::CloseSent {
                sent: PendingTx {
                    hash: hash(byte),
                    valid_before: 9,
                },
                instead_of: instead_of.map(hash),
            },
            Event::CloseFailed(byte) => Command::CloseFailed {
                transaction: hash(byte),
            },
            Event::CloseMined(byte) => {
                // A receipt exists only for a transaction that was sent.
                let Phase::Closing {
                    sent: Some(sent),
                    capture,
                    ..
                } = self.record.phase
                else {
                    return;
                };
                // The escrow refuses a capture below what it has paid out.
                let truth = self.truth();
                let refused = truth.existence != Existence::Open
                    || capture < truth.settled
                    || capture > truth.deposit;
                if sent.hash != hash(byte) || refused {
                    return;
                }
                self.change_chain(finalize);
                Command::Closed {
                    transaction: sent.hash,
                    settled: capture,
                }
            }
        };
        self.run(command);
    }

    /// The events of a step of the chain, as facts.
    fn follow(&mut self, ago: usize) {
        let Some(index) = self.chain.len().checked_sub(ago.saturating_add(1)) else {
            return;
        };
        let after = self.chain[index];
        let before = match index.checked_sub(1) {
            Some(before) => self.chain[before],
            None => ChannelView::unknown(),
        };
        match after.existence {
            Existence::Open => self.run(Command::Follow(facts_between(&before, &after))),
            Existence::Finalized => self.run(Command::Closed {
                transaction: B256::repeat_byte(0xcc),
                settled: before.settled,
            }),
            Existence::Unknown => {}
        }
    }

    fn run(&mut self, command: Command) {
        let old = self.record.clone();
        match apply(&old, command.clone(), self.now()) {
            Ok(step) => self.check_step(&old, &command, step),
            Err(rejection) => check_rejection(&old, &command, &rejection),
        }
    }

    fn check_step(&mut self, old: &ChannelRecord, command: &Command, step: Step) {
        let next = &step.next;
        assert_eq!(step.outcome.changed, **next != *old);
        assert!(step.outcome.changed || step.entry.is_none());
        let credited = check_credit(old, command, &step);
        if !matches!(command, Command::Reorged(_)) {
            check_monotone(old, next);
        }
        check_bounds(next, self.now());
        check_collectable(old, next, command);
        // Nothing is sold but in service.
        let kept = old.spent.checked_sub(credited).unwrap();
        let sold = next.spent.checked_sub(kept).unwrap();
        assert_eq!(sold, step.outcome.charged);
        self.check_sale(old, command, &step);
        assert_eq!(next.units.checked_sub(old.units), Some(step.outcome.units));
        match command {
            // An accepted voucher is never lost, whatever becomes of the charge.
            Command::Accept { voucher, hold, .. } => {
                let reviewed = matches!(old.phase, Phase::Quarantined { .. }) && hold.is_none();
                assert!(old.phase == Phase::Open || reviewed);
                assert_eq!(next.accepted(), voucher.cumulative().max(old.accepted()));
                assert!(voucher.cumulative() >= old.accepted());
                assert!(step.outcome.shortage.is_none() || sold.is_zero());
            }
            Command::Observe(_) | Command::Follow(_) | Command::Reorged(_) => {}
            _ => assert_eq!(next.best, old.best),
        }
        if let Some(entry) = step.entry {
            let sum = match entry.kind {
                LedgerKind::Credited => self.ledger_cost.checked_sub(entry.cost),
                _ => self.ledger_cost.checked_add(entry.cost),
            };
            self.ledger_cost = sum.unwrap();
            self.ledger_units = self.ledger_units.saturating_add(entry.units);
            assert_eq!((entry.spent, entry.accepted), (next.spent, next.accepted()));
        }
        assert_eq!(self.ledger_cost, next.spent);
        assert_eq!(self.ledger_units, next.units);
        self.record = *step.next;
    }

    /// Nothing is charged but a unit of a stream in service, or a live hold
    /// up to its amount; and an outcome is kept with the charge, or not at all.
    fn check_sale(&self, old: &ChannelRecord, command: &Command, step: &Step) {
        let sold = step.outcome.charged;
        match command {
            Command::Capture(capture) => {
                let mut held = old.holds.iter();
                let hold = held.find(|hold| hold.id == capture.hold).unwrap();
                assert!(hold.is_live(self.now()));
                assert!(sold == capture.cost && sold <= hold.amount);
                assert!(step.next.holds.iter().all(|other| other.id != hold.id));
                assert_eq!(step.kept.is_some(), hold.idempotency.is_some());
                return;
            }
            Command::Charge(charge) => {
                assert_eq!((&old.phase, sold), (&Phase::Open, charge.cost));
            }
            Command::Reinstate => assert!(sold <= old.settled),
            _ => assert!(sold.is_zero()),
        }
        assert_eq!(step.kept, None);
    }
}

/// How long a hold of the model lives.
const LEASE: i64 = 30;

fn in_secs(seconds: i64) -> Timestamp {
    Timestamp::from_secs(NOW_SECS.saturating_add(seconds))
}

fn charge(cost: u128, stream: Option<u64>) -> Charge {
    Charge {
        cost: amount(cost),
        units: 1,
        challenge_id: challenge_id(),
        stream: stream.map(StreamEpoch),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // PROTOCOL 5.6: spent <= accepted <= deposit; all monotone; sums of the ledger are the record.
    #[test]
    fn the_money_adds_up_in_every_life(
        v2 in any::<bool>(),
        first in 0..=TOP,
        deposit in 1..=TOP,
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut world = World::new(BOTH[usize::from(v2)], first, deposit);
        for event in events {
            world.happen(event);
        }
    }
}

/// After a reorganization the record is what the chain shows again.
#[test]
fn a_reorganization_passes_the_model() {
    let mut world = World::new(SessionProtocol::V2, 2, 10);
    let charge = |cost| Event::Charge { cost, stream: None };
    let accept = |units| Event::Accept {
        units,
        min_delta: 0,
        hold: None,
    };
    for event in [Event::Follow(0), Event::ChainTopUp(5), Event::Follow(0)] {
        world.happen(event);
    }
    for event in [
        accept(14),
        charge(3),
        Event::ChainReorg(1),
        Event::LookAgain,
    ] {
        world.happen(event);
    }
    let frozen = matches!(
        world.record.phase,
        Phase::Quarantined {
            reason: Quarantine::DepositReverted,
            ..
        }
    );
    assert!(frozen);
    assert_eq!(world.record.deposit, amount(10));
    for event in [charge(1), Event::ChainTopUp(5), Event::Follow(0), charge(1)] {
        world.happen(event);
    }
    assert_eq!(
        (world.record.spent, &world.record.phase),
        (amount(4), &Phase::Open)
    );
    for event in [Event::ChainReorg(9), Event::LookAgain, charge(1)] {
        world.happen(event);
    }
    assert_eq!(world.record.deposit, Amount::ZERO);
    assert_eq!(
        (world.record.spent, world.record.accepted()),
        (amount(4), amount(14))
    );
}

/// The model reaches what it is meant to reach.
#[test]
fn a_whole_life_passes_the_model() {
    let mut world = World::new(SessionProtocol::V2, 2, 10);
    for event in [
        Event::Show(0),
        Event::Charge {
            cost: 2,
            stream: None,
        },
        Event::Accept {
            units: 8,
            min_delta: 1,
            hold: Some(Ask {
                units: 4,
                key: Some(1),
                request: 1,
            }),
        },
        Event::Capture { newest: 0, cost: 4 },
        Event::Credit(1),
        Event::ChainTopUp(5),
        Event::Show(0),
        Event::BeginClose(12),
        Event::CloseSent {
            byte: 1,
            instead_of: None,
        },
        Event::CloseMined(1),
    ] {
        world.happen(event);
    }
    assert_eq!(world.record.spent, amount(5));
    assert_eq!(world.record.settled, amount(5));
    let transaction = Some(B256::repeat_byte(1));
    assert_eq!(world.record.phase, Phase::Closed { transaction });
    assert_eq!(
        world.record.changed_at,
        Timestamp::from_secs(now().as_secs())
    );
}
