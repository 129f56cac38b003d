//! Slots and tickets without vouchers: small enough for Miri, see the module's documentation.

use std::array;
use std::vec::Vec;

use k256::ProjectivePoint;
use k256::elliptic_curve::sec1::ToSec1Point;

use super::*;
use crate::voucher::engine::tests::room;

/// Threads and steps of the race: Miri takes a minute for one table.
const RACERS: usize = if cfg!(miri) { 2 } else { 4 };
const STEPS: usize = if cfg!(miri) { 2 } else { 200 };

/// The multiple k G.
fn key(k: u64) -> AffinePoint {
    let point = ProjectivePoint::mul_by_generator(&k256::Scalar::from(k));
    let bytes = point.to_affine().to_sec1_point(false);
    let (x, y) = bytes.as_bytes()[1..].split_at(32);
    AffinePoint::from_coordinates(x.try_into().unwrap(), y.try_into().unwrap()).unwrap()
}

/// Builds where another table must go first.
fn displace(arena: &Arena, ticket: &Ticket, key: &AffinePoint) -> bool {
    for _ in 0..MISSES_PER_EVICTION {
        arena.note_miss();
    }
    arena.build(ticket, key)
}

#[test]
fn a_ticket_reads_its_own_table_or_none() {
    let arena = Arena::new(room(1));
    let [first, second] = array::from_fn(|_| Ticket::default());
    assert!(arena.acquire(&first).is_none());
    assert_eq!((arena.touch(&first), arena.used()), (0, 0));

    assert!(arena.build(&first, &key(2)));
    assert_eq!(arena.acquire(&first).unwrap().key(), &key(2));
    assert!(arena.acquire(&second).is_none());
    assert!(!arena.build(&second, &key(3)), "no ration for an eviction");

    // The first look takes the mark of use away, the second one takes the slot.
    let pinned = arena.acquire(&first).unwrap();
    assert!(!displace(&arena, &second, &key(3)) && !displace(&arena, &second, &key(3)));
    assert_eq!(pinned.key(), &key(2));
    drop(pinned);
    assert!(displace(&arena, &second, &key(3)));
    assert!(arena.acquire(&first).is_none());
    assert_eq!(arena.acquire(&second).unwrap().key(), &key(3));

    // Giving up a stale ticket leaves the table of the slot's new owner alone.
    arena.abandon(&first);
    assert!(!arena.may_evict());
    arena.abandon(&second);
    assert!(arena.may_evict());
    assert_eq!(arena.used(), 1);
}

#[test]
fn memory_is_taken_for_as_many_slots_as_fit() {
    for (bytes, slots) in [(0, 0), (room(1) - 1, 0), (room(1), 1), (room(3) + 7, 3)] {
        assert_eq!(Arena::new(bytes).capacity, slots, "{bytes}");
    }
    assert_eq!(chunk::slots_in((2 << 20) + room(1)), CHUNK_SLOTS + 1);
    let arena = Arena::new(0);
    assert!(!displace(&arena, &Ticket::default(), &key(2)));
}

// Whatever readers and writers do at once, a ticket never shows the table of another key.
#[test]
fn racing_readers_and_writers_see_the_tables_of_their_keys() {
    let arena = Arena::new(room(RACERS - 1));
    let signers: Vec<_> = (0..RACERS)
        .map(|index| (Ticket::default(), key(2 + index as u64)))
        .collect();
    let built: usize = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS)
            .map(|racer| {
                let (arena, signers) = (&arena, &signers);
                scope.spawn(move || race(arena, signers, racer))
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).sum()
    });
    assert!(built > 0);
    let states = signers
        .iter()
        .filter_map(|(ticket, _)| ticket.read())
        .filter_map(|(index, _)| arena.slot(index))
        .map(|(_, slot)| slot.state.load(Ordering::Relaxed));
    // Everybody has left.
    assert!(
        states
            .map(|state| state & u64::from(u32::MAX))
            .all(|in_use| in_use == 0)
    );
}

/// Goes through the signers, two steps each, and returns how many tables it built.
fn race(arena: &Arena, signers: &[(Ticket, AffinePoint)], racer: usize) -> usize {
    let turns = signers.iter().flat_map(|signer| [signer; 2]).cycle();
    let builds = |(ticket, key): &(Ticket, AffinePoint)| match arena.acquire(ticket) {
        Some(table) => {
            assert_eq!(table.key(), key);
            false
        }
        None => displace(arena, ticket, key),
    };
    let turns = turns.skip(2_usize.saturating_mul(racer)).take(STEPS);
    turns.filter(|signer| builds(signer)).count()
}
