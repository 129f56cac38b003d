//! Every limit alone, and what comes first.

use mpp_tempo::network::CLOSE_GRACE_SECS;

use super::*;
use crate::testing::{NOW_SECS, amount, at, now};

fn standing(number: u8, unsettled: u128) -> Standing {
    Standing {
        id: ChannelId::repeat_byte(number),
        payer: Address::repeat_byte(number),
        token: Address::repeat_byte(0x20),
        unsettled: amount(unsettled),
        collectable: amount(unsettled),
        closable: true,
        since: Some(now()),
        units: 1,
        changed_at: now(),
        serving: false,
        blocked: false,
        stage: Stage::Open,
    }
}

fn requested(number: u8, unsettled: u128, seconds_ago: i64) -> Standing {
    let request = u64::try_from(NOW_SECS.saturating_sub(seconds_ago)).unwrap();
    Standing {
        stage: Stage::Requested(Deadline::of_request(request)),
        ..standing(number, unsettled)
    }
}

/// Nothing is due.
fn off() -> SettlePolicy {
    SettlePolicy::on_demand()
}

fn moment(now: Timestamp) -> Moment {
    Moment {
        now,
        occasion: Occasion::Routine,
        fees: Fees {
            settle: amount(10),
            close: amount(20),
            settle_most: amount(10),
            close_most: amount(20),
        },
        budget: None,
    }
}

/// What is planned a minute from now.
fn planned(standings: &[Standing], policy: &SettlePolicy) -> Vec<(u8, Collect, Reason)> {
    planned_at(standings, policy, &moment(at(60)))
}

fn planned_at(
    standings: &[Standing],
    policy: &SettlePolicy,
    moment: &Moment,
) -> Vec<(u8, Collect, Reason)> {
    let planned = plan(standings, policy, moment).into_iter();
    planned
        .map(|planned| (planned.channel.0[0], planned.collect, planned.reason))
        .collect()
}

#[test]
fn each_limit_settles_what_has_reached_it() {
    let check = |policy: SettlePolicy, reason: Reason| {
        let all = [standing(1, 1_000), standing(2, 500)];
        let settled = planned(&all, &policy);
        assert_eq!(settled.first(), Some(&(1, Collect::Settle, reason)));
    };
    let limit = |units| Some(amount(units));
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    check(
        SettlePolicy {
            channel_amount: limit(1_000),
            ..off()
        },
        Reason::ChannelAmount,
    );
    check(
        SettlePolicy {
            payer_amount: limit(1_000),
            ..off()
        },
        Reason::PayerAmount,
    );
    check(
        SettlePolicy {
            token_amount: limit(1_500),
            ..off()
        },
        Reason::TokenAmount,
    );
    check(
        SettlePolicy {
            total_amount: limit(1_500),
            ..off()
        },
        Reason::TotalAmount,
    );
    check(
        SettlePolicy {
            units: Some(1),
            ..off()
        },
        Reason::Units,
    );
    check(
        SettlePolicy {
            age: seconds(60),
            ..off()
        },
        Reason::Age,
    );
}

#[test]
fn below_every_limit_nothing_is_settled() {
    let policy = SettlePolicy {
        channel_amount: Some(amount(1_001)),
        payer_amount: Some(amount(1_001)),
        token_amount: Some(amount(1_501)),
        total_amount: Some(amount(1_501)),
        units: Some(2),
        age: Some(Duration::from_secs(61)),
        idle_close: Some(Duration::from_secs(61)),
        ..off()
    };
    let all = [standing(1, 1_000), standing(2, 500)];
    assert_eq!(planned(&all, &policy), []);
    assert_eq!(planned(&all, &off()), []);
}

// Two channels of one payer count together; those of others do not.
#[test]
fn the_channels_of_a_payer_count_together() {
    let policy = SettlePolicy {
        payer_amount: Some(amount(1_000)),
        ..off()
    };
    let mut second = standing(2, 600);
    second.payer = Address::repeat_byte(1);
    let all = [standing(1, 500), second.clone(), standing(3, 999)];
    let channels: Vec<_> = planned(&all, &policy).iter().map(|one| one.0).collect();
    assert_eq!(channels, [2, 1]);
    second.token = Address::repeat_byte(0x21);
    assert_eq!(planned(&[standing(1, 500), second], &policy), []);
}

#[test]
fn an_idle_channel_is_closed_when_it_has_earned_something() {
    let policy = SettlePolicy {
        idle_close: Some(Duration::from_secs(60)),
        ..off()
    };
    let close = |standing: Standing| planned(&[standing], &policy);
    let idle = (1, Collect::Close, Reason::Idle);
    assert_eq!(close(standing(1, 1_000)), [idle]);
    assert_eq!(close(standing(1, 0)), []);
    let mut busy = standing(1, 1_000);
    busy.serving = true;
    assert_eq!(close(busy), []);
    let mut without_voucher = standing(1, 1_000);
    without_voucher.closable = false;
    assert_eq!(close(without_voucher), []);
}

// A close costs more than a settlement, and only it may be too dear.
#[test]
fn an_idle_channel_that_does_not_pay_for_its_close_is_settled_all_the_same() {
    let policy = SettlePolicy {
        idle_close: Some(Duration::from_secs(60)),
        age: Some(Duration::from_secs(60)),
        ..off()
    };
    let idle = [standing(1, 150)];
    assert_eq!(planned(&idle, &policy), [(1, Collect::Settle, Reason::Age)]);
    for reason in [Reason::Demand, Reason::Shutdown] {
        let everything = Moment {
            occasion: Occasion::Everything(reason),
            ..moment(at(60))
        };
        let settled = planned_at(&idle, &policy, &everything);
        assert_eq!(settled, [(1, Collect::Settle, reason)]);
    }
}

// SECURITY-CASES A12: whatever the limits say.
#[test]
fn a_close_request_is_answered_first_and_by_the_nearest_deadline() {
    let policy = SettlePolicy {
        units: Some(1),
        ..off()
    };
    let all = [
        standing(1, 50_000),
        requested(2, 1_000, 10),
        requested(3, 100, 500),
    ];
    let close = |number| (number, Collect::Close, Reason::CloseRequest);
    let expected = [close(3), close(2), (1, Collect::Settle, Reason::Units)];
    assert_eq!(planned(&all, &policy), expected);
    assert_eq!(planned(&all, &off()), expected[..2]);
}

#[test]
fn without_a_fitting_voucher_or_when_a_close_fails_the_answer_is_a_settlement() {
    let mut inexact = requested(1, 1_000, 10);
    inexact.closable = false;
    inexact.collectable = amount(900);
    let settle = (1, Collect::Settle, Reason::CloseRequest);
    assert_eq!(planned(&[inexact.clone()], &off()), [settle]);
    inexact.collectable = amount(0);
    assert_eq!(planned(&[inexact], &off()), []);
    let mut blocked = requested(1, 1_000, 10);
    blocked.blocked = true;
    assert_eq!(planned(&[blocked], &off()), [settle]);
}

#[test]
fn a_request_that_is_being_served_delays_the_answer_a_minute_at_most() {
    let mut serving = requested(1, 1_000, 0);
    serving.serving = true;
    let answer = |seconds: i64| planned_at(&[serving.clone()], &off(), &moment(at(seconds)));
    assert_eq!(answer(59), []);
    assert_eq!(answer(60), [(1, Collect::Close, Reason::CloseRequest)]);
}

// Fees: no collection costs more than it brings, and a routine one only its share.
#[test]
fn nothing_is_collected_at_a_loss() {
    let policy = SettlePolicy {
        units: Some(1),
        ..off()
    };
    // A settlement costs 10, and a tenth of what it brings is allowed.
    assert_eq!(planned(&[standing(1, 99)], &policy), []);
    assert_eq!(planned(&[standing(1, 100)], &policy).len(), 1);
    // A close costs 20; whoever asks the chain is answered as soon as that pays.
    assert_eq!(planned(&[requested(1, 20, 10)], &off()), []);
    assert_eq!(planned(&[requested(1, 21, 10)], &off()).len(), 1);
    let demand = Moment {
        occasion: Occasion::Everything(Reason::Demand),
        ..moment(at(60))
    };
    let worth = |units| planned_at(&[standing(1, units)], &off(), &demand);
    assert_eq!(worth(10), []);
    assert_eq!(worth(11), [(1, Collect::Settle, Reason::Demand)]);
}

#[test]
fn the_budget_bounds_routine_settlements_and_never_an_answer() {
    let policy = SettlePolicy {
        units: Some(1),
        ..off()
    };
    let all = [
        standing(1, 1_000),
        standing(2, 3_000),
        standing(3, 2_000),
        requested(4, 100, 1),
    ];
    let poor = Moment {
        budget: Some(amount(25)),
        ..moment(at(60))
    };
    let channels: Vec<_> = planned_at(&all, &policy, &poor)
        .into_iter()
        .map(|one| one.0)
        .collect();
    assert_eq!(channels, [4, 2, 3]);
}

// A close that was recorded and is carried out by nobody is taken on.
#[test]
fn a_close_that_nobody_carries_out_is_taken_on_after_a_while() {
    let close = |deadline, seconds: i64| {
        let closing = Standing {
            stage: Stage::Closing { deadline },
            ..standing(1, 5)
        };
        planned_at(&[closing], &off(), &moment(at(seconds)))
    };
    assert_eq!(close(None, 9), []);
    assert_eq!(close(None, 10), [(1, Collect::Close, Reason::Payer)]);
    let deadline = Deadline::of_request(u64::try_from(NOW_SECS).unwrap());
    let urgent = [(1, Collect::Close, Reason::CloseRequest)];
    assert_eq!(close(Some(deadline), 10), urgent);
}

#[test]
fn a_deadline_is_the_end_of_the_grace_period() {
    let request = u64::try_from(NOW_SECS).unwrap();
    let deadline = Deadline::of_request(request);
    let left = |seconds| deadline.left(at(seconds)).as_secs();
    assert_eq!(left(0), CLOSE_GRACE_SECS);
    assert_eq!(left(899), 1);
    assert_eq!(left(900), 0);
    assert_eq!(left(5_000), 0);
}

// What is planned comes from what is there, once for each channel, and never more than is owed.
mod random {
    use proptest::prelude::*;

    use super::*;

    fn any_standing() -> impl Strategy<Value = Standing> {
        let stage = prop_oneof![
            3 => Just(None),
            1 => (0_i64..2_000).prop_map(Some),
        ];
        (
            any::<u8>(),
            0_u128..5_000,
            0_u128..5_000,
            any::<[bool; 3]>(),
            stage,
        )
            .prop_map(
                |(number, unsettled, collectable, [closable, serving, blocked], stage)| {
                    let mut standing = match stage {
                        None => standing(number, unsettled),
                        Some(ago) => requested(number, unsettled, ago),
                    };
                    standing.collectable = amount(collectable.min(unsettled));
                    standing.closable = closable;
                    standing.serving = serving;
                    standing.blocked = blocked;
                    standing
                },
            )
    }

    proptest! {
        #[test]
        fn a_plan_is_within_its_means(
            mut standings in prop::collection::vec(any_standing(), 0..30),
            limits in prop::collection::vec(prop::option::of(0_u128..10_000), 4),
            budget in prop::option::of(0_u128..200),
        ) {
            standings.sort_by_key(|standing| standing.id);
            standings.dedup_by_key(|standing| standing.id);
            let limit = |at: usize| limits[at].map(amount);
            let policy = SettlePolicy {
                channel_amount: limit(0),
                payer_amount: limit(1),
                token_amount: limit(2),
                total_amount: limit(3),
                ..off()
            };
            let moment = Moment { budget: budget.map(amount), ..moment(at(60)) };
            let planned = plan(&standings, &policy, &moment);
            let mut routine = 0;
            for one in &planned {
                let of = |standing: &&Standing| standing.id == one.channel;
                prop_assert_eq!(planned.iter().filter(|other| other.channel == one.channel).count(), 1);
                let standing = standings.iter().find(of).unwrap();
                let most = match one.collect {
                    Collect::Settle => standing.collectable,
                    Collect::Close => standing.unsettled,
                };
                prop_assert!(one.brings == most && !most.is_zero());
                prop_assert!(one.collect == Collect::Settle || standing.closable);
                if !one.reason.is_urgent() {
                    let fee = moment.fees.most(one.collect).base_units();
                    routine = fee.saturating_add(routine);
                }
            }
            prop_assert!(budget.is_none_or(|budget| routine <= budget));
            // Every request with something worth collecting is answered.
            for standing in &standings {
                let due = matches!(standing.stage, Stage::Requested(_)) && !standing.serving;
                let worth = standing.collectable.base_units() > 20;
                if due && worth {
                    prop_assert!(planned.iter().any(|one| one.channel == standing.id));
                }
            }
        }
    }
}
