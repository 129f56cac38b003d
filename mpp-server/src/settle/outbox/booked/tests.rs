//! The day's sum is what is set aside and what was paid, and within the limit.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows fails, as it should"
)]

use std::collections::BTreeMap;

use mpp_core::Timestamp;
use proptest::prelude::*;

use super::*;

const LIMIT: u128 = 1_000;
const DAY_SECS: i64 = 24 * 60 * 60;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// Begins, or goes on with another transaction, for at most so much.
    Begun(u8, u128),
    /// Ends, at this part of the most, in hundredths.
    Ended(u8, u128),
    Midnight,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..12_u8, 1..400_u128).prop_map(|(effect, most)| Event::Begun(effect, most)),
        3 => (0..12_u8, 0..=100_u128).prop_map(|(effect, part)| Event::Ended(effect, part)),
        1 => Just(Event::Midnight),
    ]
}

fn ended(effect: u8, booking: Booking, cost: u128) -> Ended {
    Ended {
        effect: B256::repeat_byte(effect),
        version: Version(1),
        booking,
        cost: Amount::new(cost),
    }
}

proptest! {
    #[test]
    fn a_day_costs_no_more_than_its_limit(events in prop::collection::vec(event(), 1..200)) {
        let mut budget = DayBudget::default();
        let (mut now, limit) = (Timestamp::from_secs(0), Amount::new(LIMIT));
        let mut open: BTreeMap<u8, Booking> = BTreeMap::new();
        let mut paid: BTreeMap<i64, u128> = BTreeMap::new();
        for event in events {
            let mut change = Rebooking::default();
            let mut cost = 0;
            match event {
                Event::Midnight => {
                    now = Timestamp::from_secs(now.as_secs() + DAY_SECS);
                    continue;
                }
                Event::Begun(effect, most) => {
                    let before = open.get(&effect);
                    change.ended = before.map(|before| ended(effect, *before, 0));
                    change.begun.push((B256::repeat_byte(effect), Amount::new(most)));
                }
                Event::Ended(effect, part) => {
                    let Some(booking) = open.get(&effect) else { continue };
                    cost = booking.most * part / 100;
                    change.ended = Some(ended(effect, *booking, cost));
                }
            }
            let today = now.as_secs() / DAY_SECS;
            let mut next = budget;
            let applied = change.apply(&mut next, Some(limit), now);
            if let Ok(written) = applied {
                written.unwrap();
                budget = next;
                match event {
                    Event::Begun(effect, most) => {
                        open.insert(effect, Booking { day: today, most });
                    }
                    Event::Ended(effect, _) => {
                        // It counts for the day that it was set aside for.
                        let booking = open.remove(&effect).unwrap();
                        *paid.entry(booking.day).or_default() += cost;
                    }
                    Event::Midnight => {}
                }
            }
            let of_today = open.values().filter(|booking| booking.day == today);
            let aside: u128 = of_today.map(|booking| booking.most).sum();
            let spent = aside + paid.get(&today).copied().unwrap_or_default();
            prop_assert!(spent <= LIMIT);
            prop_assert_eq!(budget.left(limit, now), Amount::new(LIMIT - spent));
        }
    }
}
