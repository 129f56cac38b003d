//! One leads; whoever slept through its lease can write nothing.

use mpp_core::Amount;

use super::*;
use crate::{
    MemoryStore,
    testing::{at, now},
};

const LASTS: Duration = Duration::from_secs(10);

fn seat(byte: u8) -> Seat {
    Seat::new(B256::repeat_byte(byte))
}

async fn renew(seat: &mut Seat, store: &MemoryStore, seconds: i64) -> Standby {
    seat.renew(store, at(seconds), LASTS).await.unwrap().0
}

async fn write(seat: &mut Seat, store: &MemoryStore, seconds: i64) -> Result<Written, Fault> {
    seat.write(store, at(seconds), |_| {}, Vec::new()).await
}

#[tokio::test]
async fn one_of_two_leads_until_it_is_silent() {
    let store = MemoryStore::new();
    let (mut first, mut second) = (seat(1), seat(2));
    assert_eq!(renew(&mut first, &store, 0).await, Standby::TookOver);
    assert_eq!(renew(&mut second, &store, 1).await, Standby::Waiting);
    assert_eq!(renew(&mut first, &store, 8).await, Standby::Leading);
    assert_eq!(renew(&mut second, &store, 17).await, Standby::Waiting);
    // Takeover within seconds.
    assert_eq!(renew(&mut second, &store, 18).await, Standby::TookOver);
    assert_eq!(renew(&mut first, &store, 19).await, Standby::Waiting);
}

// Its clock was ahead when it died, or all clocks have been set back since.
#[tokio::test]
async fn a_lease_that_nobody_extends_is_not_waited_for() {
    let store = MemoryStore::new();
    let (mut ahead, mut next) = (seat(1), seat(2));
    assert_eq!(renew(&mut ahead, &store, 3_600).await, Standby::TookOver);
    assert_eq!(renew(&mut next, &store, 0).await, Standby::Waiting);
    // While it lives it leads.
    assert_eq!(renew(&mut ahead, &store, 3_608).await, Standby::Leading);
    for seconds in [8, 20, 28] {
        assert_eq!(renew(&mut next, &store, seconds).await, Standby::Waiting);
    }
    // One's own clock may be set, too: what it showed before is no measure.
    assert_eq!(renew(&mut next, &store, 5).await, Standby::Waiting);
    assert_eq!(renew(&mut next, &store, 25).await, Standby::Waiting);
    assert_eq!(renew(&mut next, &store, 26).await, Standby::TookOver);
    // Should it live after all, it writes nothing.
    let late = write(&mut ahead, &store, 3_609).await;
    assert_eq!(late.unwrap(), Written::Conflict);
}

// A paused ex-leader can not write, even if its own clock stood still.
#[tokio::test]
async fn whoever_slept_through_a_takeover_writes_nothing() {
    let store = MemoryStore::new();
    let (mut first, mut second) = (seat(1), seat(2));
    renew(&mut first, &store, 0).await;
    renew(&mut second, &store, 30).await;
    let document = DocumentWrite {
        key: DocumentKey {
            kind: DocumentKind::Effect,
            id: B256::repeat_byte(1),
        },
        expected: None,
        value: Some(Bytes::from_static(b"effect")),
    };
    let late = first
        .write(&store, at(1), |_| {}, vec![document.clone()])
        .await;
    assert_eq!(late.unwrap(), Written::Conflict);
    assert_eq!(store.document(document.key).await.unwrap(), None);
    assert!(matches!(
        write(&mut first, &store, 2).await,
        Err(Fault::NotLeading)
    ));
    let current = second
        .write(&store, at(31), |_| {}, vec![document.clone()])
        .await;
    assert_eq!(current.unwrap(), Written::Done);
    assert!(store.document(document.key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_leader_stops_before_its_lease_ends() {
    let store = MemoryStore::new();
    let mut leader = seat(1);
    renew(&mut leader, &store, 0).await;
    assert_eq!(write(&mut leader, &store, 8).await.unwrap(), Written::Done);
    assert!(matches!(
        write(&mut leader, &store, 9).await,
        Err(Fault::NotLeading)
    ));
}

#[tokio::test]
async fn a_conflict_about_a_document_leaves_the_leader_leading() {
    let store = MemoryStore::new();
    let mut leader = seat(1);
    renew(&mut leader, &store, 0).await;
    let missing = DocumentWrite {
        key: DocumentKey {
            kind: DocumentKind::Effect,
            id: B256::ZERO,
        },
        expected: Some(Version(3)),
        value: None,
    };
    let written = leader.write(&store, at(1), |_| {}, vec![missing]).await;
    assert_eq!(written.unwrap(), Written::Conflict);
    assert_eq!(write(&mut leader, &store, 2).await.unwrap(), Written::Done);
}

#[tokio::test]
async fn whoever_leaves_lets_others_lead_at_once() {
    let store = MemoryStore::new();
    let (mut first, mut second) = (seat(1), seat(2));
    renew(&mut first, &store, 0).await;
    first.leave(&store, at(1)).await.unwrap();
    assert_eq!(renew(&mut second, &store, 1).await, Standby::TookOver);
}

// What the leader has learned is not lost with it.
#[tokio::test]
async fn budget_and_blocked_payers_outlive_the_leader() {
    let store = MemoryStore::new();
    let (mut first, mut second) = (seat(1), seat(2));
    renew(&mut first, &store, 0).await;
    let blocked = Blocked {
        payer: Address::repeat_byte(1),
        token: Address::repeat_byte(2),
        failures: 3,
        retry_at: at(60),
    };
    let change = |lease: &mut Lease| {
        let limit = Amount::new(100);
        lease.budget.book(Amount::new(40), limit, now()).unwrap();
        lease.blocked.push(blocked);
    };
    first
        .write(&store, at(1), change, Vec::new())
        .await
        .unwrap();
    let (standby, lease) = second.renew(&store, at(40), LASTS).await.unwrap();
    assert_eq!(standby, Standby::TookOver);
    let lease = lease.unwrap();
    assert_eq!(lease.blocked, [blocked]);
    let limit = Amount::new(100);
    assert_eq!(lease.budget.left(limit, now()), Amount::new(60));
    let tomorrow = at(24 * 60 * 60);
    assert_eq!(lease.budget.left(limit, tomorrow), limit);
}

// A deadline may run by now, whatever a clock that was ahead has written.
#[test]
fn a_pause_is_never_longer_than_it_was_meant_to_be() {
    let blocked = Blocked {
        payer: Address::ZERO,
        token: Address::ZERO,
        failures: 1,
        retry_at: at(100),
    };
    assert!(!blocked.waits(false, at(100)));
    assert!(blocked.waits(false, at(99)));
    assert!(blocked.waits(true, at(70)));
    for has_deadline in [false, true] {
        assert!(!blocked.waits(has_deadline, at(69)));
    }
}
