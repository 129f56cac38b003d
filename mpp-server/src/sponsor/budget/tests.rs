#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows fails, as it should"
)]

use proptest::prelude::*;

use super::*;
use crate::{MemoryStore, store::codec::encode_document};

#[test]
fn addresses_of_one_network_share_a_budget() {
    let range_of = |text: &str| range(text.parse().unwrap());
    assert_eq!(range_of("192.0.2.1"), range_of("192.0.2.254"));
    assert_ne!(range_of("192.0.2.1"), range_of("192.0.3.1"));
    assert_eq!(range_of("2001:db8:1:2::1"), range_of("2001:db8:1:3::1"));
    assert_ne!(range_of("2001:db8:1::1"), range_of("2001:db8:2::1"));
    // An IPv4 address in the form of IPv6 is the same one.
    assert_eq!(range_of("::ffff:192.0.2.1"), range_of("192.0.2.9"));
}

#[test]
fn windows_follow_each_other() {
    let budget = SponsorBudget::default();
    let at = |secs| budget.window(Timestamp::from_secs(secs));
    assert_eq!(at(3_600), at(7_199));
    assert_eq!(at(7_200), at(7_199) + 1);
    assert_eq!((budget.end(0), budget.end(1)), (3_600, 7_200));
    let who = (Address::repeat_byte(1), None);
    let keys = |budget: &SponsorBudget, window| -> Vec<_> {
        let subjects = budget.subjects(who, window).into_iter();
        subjects.map(|(key, _)| key).collect()
    };
    assert_ne!(keys(&budget, 1), keys(&budget, 2));
    // Nor do servers share accounts that count in other windows.
    let longer = SponsorBudget {
        window: Duration::from_secs(7_200),
        ..budget
    };
    assert_ne!(keys(&budget, 1), keys(&longer, 1));
}

#[test]
fn payers_ranges_and_the_total_are_kept_apart() {
    let budget = SponsorBudget::default();
    let peer = Some(IpAddr::from([192, 0, 2, 1]));
    let payer = Address::repeat_byte(1);
    let subjects = budget.subjects((payer, peer), 0);
    let keys: std::collections::BTreeSet<_> = subjects.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys.len(), 3);
    assert_eq!(budget.subjects((payer, None), 0).len(), 2);
}

/// What may happen to one of a few transactions.
#[derive(Clone, Copy, Debug)]
enum Event {
    Reserved,
    /// As [`Reserved`](Self::Reserved), and then nobody signs.
    Refused,
    /// Mined, for this part of the most, in hundredths.
    Mined(u8),
    Dropped,
    /// The window ends.
    Later,
}

fn event() -> impl Strategy<Value = (u8, Event)> {
    let event = prop_oneof![
        4 => Just(Event::Reserved),
        1 => Just(Event::Refused),
        2 => (0..=110_u8).prop_map(Event::Mined),
        1 => Just(Event::Dropped),
        1 => Just(Event::Later),
    ];
    (0..9_u8, event)
}

const MOST: u64 = 100;

fn limits() -> SponsorBudget {
    SponsorBudget {
        window: Duration::from_secs(60),
        per_payer: U256::from(250),
        per_range: U256::from(380),
        total: U256::from(640),
    }
}

fn who(transaction: u8) -> (Address, Option<IpAddr>) {
    let peer = match transaction % 4 {
        0 => None,
        range => Some(IpAddr::from([192, 0, range, 1])),
    };
    (Address::repeat_byte(transaction % 3), peer)
}

/// A transaction that stays valid for ten seconds from the beginning.
fn transaction(number: u8) -> Sponsored {
    Sponsored {
        id: B256::repeat_byte(number),
        valid_before: 10,
    }
}

/// What a subject has had in the window of the account, by the store.
async fn stored(store: &MemoryStore, key: DocumentKey) -> U256 {
    let found = find::<Account>(store, key).await.unwrap();
    found.map_or(U256::ZERO, |found| found.value.fees)
}

/// What counts for a transaction in a window of the model: all that is set
/// aside, or what it has cost.
#[derive(Clone, Copy, Debug)]
struct Counted {
    window: u64,
    fee: u64,
    is_over: bool,
}

async fn play(events: Vec<(u8, Event)>) {
    let (store, limits) = (Arc::new(MemoryStore::new()), limits());
    let purse = Purse::new(Arc::clone(&store), limits);
    let mut model: std::collections::HashMap<u8, Counted> = std::collections::HashMap::new();
    let mut now = Timestamp::from_secs(0);
    for (number, event) in events {
        let id = B256::repeat_byte(number);
        let window = limits.window(now);
        let known = model.get(&number).copied();
        match event {
            Event::Reserved | Event::Refused => {
                let most = U256::from(MOST);
                let reserved = purse.reserve(transaction(number), who(number), most, now);
                let reserved = reserved.await;
                let stays = known.is_some_and(|known| known.is_over || known.window == window);
                if let Ok(reserved) = reserved {
                    if !stays {
                        let (fee, is_over) = (MOST, false);
                        model.insert(
                            number,
                            Counted {
                                window,
                                fee,
                                is_over,
                            },
                        );
                    }
                    if matches!(event, Event::Refused) {
                        purse.release(reserved).await.unwrap();
                        // What was signed before may still be mined.
                        if !stays {
                            model.remove(&number);
                        }
                    }
                } else {
                    assert!(!stays, "what is set aside needs no more room");
                }
            }
            Event::Mined(part) => {
                let cost = MOST * u64::from(part) / 100;
                let paid = Some(Fee::Of(U256::from(cost)));
                purse.settle(id, paid).await.unwrap();
                if let Some(known) = model.get_mut(&number).filter(|known| !known.is_over) {
                    (known.fee, known.is_over) = (cost.min(MOST), true);
                }
            }
            Event::Dropped => {
                purse.settle(id, None).await.unwrap();
                model.retain(|other, known| *other != number || known.is_over);
            }
            Event::Later => now = now.checked_add(limits.window).unwrap(),
        }
        let window = limits.window(now);
        let mut subjects = std::collections::BTreeMap::new();
        for number in 0..9 {
            for (key, cap) in limits.subjects(who(number), window) {
                let (counted, _) = subjects.entry(key).or_insert((0, cap));
                let known = model.get(&number).filter(|known| known.window == window);
                *counted += known.map_or(0, |known| known.fee);
            }
        }
        for (key, (counted, cap)) in subjects {
            let stored = stored(&store, key).await;
            assert_eq!(stored, U256::from(counted));
            assert!(stored <= cap, "{stored} of {cap}");
        }
    }
}

// Who took a transaction over may have had it signed, and it may be mined.
#[tokio::test]
async fn what_was_taken_over_is_not_given_back_by_who_had_it_before() {
    let (store, limits) = (Arc::new(MemoryStore::new()), limits());
    let purse = Purse::new(Arc::clone(&store), limits);
    let total = limits.subjects(who(1), 0)[0].0;
    let now = Timestamp::from_secs(0);
    let reserve = async || {
        let most = U256::from(MOST);
        let reserved = purse.reserve(transaction(1), who(1), most, now);
        reserved.await.unwrap()
    };
    let (first, second, third) = (reserve().await, reserve().await, reserve().await);
    assert!(first.follows(None) && !second.follows(None));
    assert!(second.follows(first.aside) && third.follows(second.aside));
    assert!(!third.follows(first.aside));
    for taken_over in [first, second] {
        let aside = taken_over.aside.unwrap();
        assert!(!purse.holds(aside).await.unwrap());
        purse.free(aside).await.unwrap();
        assert_eq!(stored(&store, total).await, U256::from(MOST));
    }
    let aside = third.aside.unwrap();
    assert!(purse.holds(aside).await.unwrap());
    purse.free(aside).await.unwrap();
    assert_eq!(stored(&store, total).await, U256::ZERO);
    assert!(!purse.holds(aside).await.unwrap());
    assert!(reserve().await.follows(None), "it was given back");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // Whatever is reserved, refused, mined for less, dropped or told twice: the accounts hold
    // what is set aside and what was paid, and never more than there is.
    #[test]
    fn accounts_hold_what_was_paid_and_never_more_than_the_budget(
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(events));
    }
}

#[tokio::test]
async fn many_at_once_get_no_more_than_there_is() {
    let (store, limits) = (Arc::new(MemoryStore::new()), limits());
    // As at two servers of one store.
    let purses = [
        Purse::new(Arc::clone(&store), limits),
        Purse::new(Arc::clone(&store), limits),
    ];
    let now = Timestamp::from_secs(0);
    let attempts = (0..60_u8).map(|number| {
        let purse = &purses[usize::from(number % 2)];
        let payer = Address::repeat_byte(number);
        async move {
            let (asked, most) = (transaction(number), U256::from(MOST));
            let reserved = purse.reserve(asked, (payer, None), most, now).await;
            reserved.is_ok()
        }
    });
    let granted = futures_util::future::join_all(attempts).await;
    assert_eq!(granted.into_iter().filter(|granted| *granted).count(), 6);
    // The same transaction again, at both: set aside once, and settled once.
    let id = B256::repeat_byte(0);
    for purse in &purses {
        let (who, most) = ((Address::repeat_byte(0), None), U256::from(MOST));
        let taken_over = purse.reserve(transaction(0), who, most, now);
        let _taken_over = taken_over.await.unwrap();
    }
    for purse in &purses {
        let paid = Some(Fee::Of(U256::from(1)));
        purse.settle(id, paid).await.unwrap();
    }
    let (total, _) = limits.subjects((Address::ZERO, None), 0)[0];
    assert_eq!(stored(&store, total).await, U256::from(5 * MOST + 1));
}

/// Everything that is kept, with whether it has ended before a moment.
async fn ended(store: &MemoryStore, secs: i64) -> (usize, usize) {
    let page = crate::store::DocumentPage {
        kind: DocumentKind::Budget,
        after: None,
        limit: 100,
    };
    let found = store.documents(page).await.unwrap();
    let moment = Timestamp::from_secs(secs);
    let ended = found
        .iter()
        .filter(|(_, document)| has_ended(&document.value, moment));
    (ended.count(), found.len())
}

// What still protects something does not end: the validity of a transaction, and the window
// in which its fee counts.
#[tokio::test]
async fn notes_and_accounts_end_when_they_protect_nothing_any_more() {
    let store = Arc::new(MemoryStore::new());
    let purse = Purse::new(Arc::clone(&store), limits());
    let (most, now) = (U256::from(MOST), Timestamp::from_secs(50));
    let long = Sponsored {
        id: B256::repeat_byte(1),
        valid_before: 75,
    };
    let short = Sponsored {
        id: B256::repeat_byte(2),
        valid_before: 55,
    };
    for asked in [long, short] {
        let who = (Address::repeat_byte(1), None);
        let _reserved = purse.reserve(asked, who, most, now).await.unwrap();
    }
    purse.settle(long.id, Some(Fee::Unknown)).await.unwrap();
    // Two notes, and the accounts of the payer and of all.
    assert_eq!(ended(&store, 59).await, (0, 4));
    assert_eq!(ended(&store, 60).await, (3, 4));
    purse.settle(short.id, None).await.unwrap();
    assert_eq!(ended(&store, 74).await, (3, 4));
    assert_eq!(ended(&store, 75).await, (4, 4));
}

// Other documents of the kind are their owners' business, and so are notes without an end.
#[test]
fn what_has_no_end_is_kept() {
    let encoded = |note: &Note| encode_document(DocumentKind::Budget, note).unwrap();
    let late = Timestamp::from_secs(4_000_000_000);
    assert!(has_ended(&encoded(&Note::Paid.until(Some(5))), late));
    assert!(!has_ended(&encoded(&Note::Paid), late));
    let booking = (20_000_i64, 1_000_000_u128);
    let booking = encode_document(DocumentKind::Budget, &booking).unwrap();
    assert!(!has_ended(&booking, late));
    assert!(!has_ended(b"damaged", late));
}
