//! The rules that every channel book keeps, as a suite for its implementers.
//!
//! ```
//! use std::sync::Arc;
//! use mpp_client::session::book::{ChannelBook, MemoryBook, conformance};
//!
//! conformance::run(|| {
//!     let book = Arc::new(MemoryBook::default());
//!     // What makes further handles of the same book.
//!     move || Arc::clone(&book) as Arc<dyn ChannelBook>
//! });
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a suite fails by panicking, like any test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use alloy_primitives::{Address, B256, Bytes};
use futures_util::FutureExt as _;
use mpp_core::{
    Amount, Challenge, ChallengeId, EncodedJson, IntentName, MethodName, Realm, Timestamp,
};
use mpp_tempo::network::{CHANNEL_RESERVE, PATH_USD};
use mpp_tempo::{
    ChannelDescriptor, ChannelId, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher,
    Signer as _, Voucher,
};

use super::{
    Admission, BookError, ChannelBook, ChannelKey, ChannelRecord, OpenAttempt, PendingTopUp, Phase,
    StaleReason, update,
};
use crate::charge::{ChargeId, ChargeRecord, ChargeState};
use crate::origin::Origin;
use crate::session::ledger::{Ledger, Margin, Need, Plan, Totals};

/// Two handles of one book.
type Handles = [Arc<dyn ChannelBook>; 2];

/// Price of a unit in this suite, in base units.
const PRICE: Amount = Amount::new(1_000);

/// Runs the suite. `new_book` makes an empty book, and returns what opens a handle of it.
///
/// # Panics
/// When the book breaks a rule.
pub fn run<O>(new_book: impl Fn() -> O)
where
    O: Fn() -> Arc<dyn ChannelBook>,
{
    let rules: [fn(&Handles); 15] = [
        a_record_is_inserted_once,
        a_channel_is_added_only_when_it_is_admitted,
        channels_that_are_admitted_side_by_side_stay_within_the_limit,
        a_change_is_seen_through_every_handle,
        every_part_of_a_record_is_kept,
        a_replaced_channel_stays_in_the_book,
        an_older_channel_can_become_usable_again,
        a_channel_that_ended_is_not_usable,
        the_first_payees_of_an_origin_stay,
        a_gate_lets_one_in_at_a_time,
        a_channel_is_left_by_one_at_a_time_and_at_any_time,
        a_charge_is_added_once_and_only_when_it_is_admitted,
        every_part_of_a_charge_is_kept,
        what_is_admitted_side_by_side_stays_within_the_limit,
        no_change_is_lost_and_nothing_is_signed_in_excess,
    ];
    for rule in rules {
        let open = new_book();
        rule(&[open(), open()]);
    }
}

/// The record of a channel that is being opened; records of different numbers share a key.
///
/// # Panics
/// Never, unless this crate is broken.
#[must_use]
pub fn record(number: u8) -> ChannelRecord {
    let signer = LocalSigner::from_bytes(&[7; 32]).unwrap();
    let key = ChannelKey {
        origin: String::from("https://a.example:443"),
        chain_id: 42_431,
        protocol: SessionProtocol::V2,
        escrow: CHANNEL_RESERVE,
        payer: signer.address(),
        payee: Address::repeat_byte(0x77),
        operator: Address::ZERO,
        token: PATH_USD,
    };
    let terms = ChannelTerms {
        protocol: key.protocol,
        chain_id: key.chain_id,
        escrow: key.escrow,
        descriptor: ChannelDescriptor {
            payer: key.payer,
            payee: key.payee,
            operator: key.operator,
            token: key.token,
            salt: B256::repeat_byte(number),
            authorized_signer: key.payer,
            expiring_nonce_hash: B256::repeat_byte(number),
        },
    };
    let voucher = SignedVoucher {
        voucher: Voucher {
            channel_id: terms.id(),
            cumulative: PRICE,
        },
        signature: signer.sign_digest_sync(&B256::ZERO).into(),
    };
    ChannelRecord {
        id: terms.id(),
        key,
        terms,
        phase: Phase::Opening,
        ledger: Ledger::new(Amount::new(1_000_000), PRICE),
        open: Some(OpenAttempt {
            transaction: Bytes::from_static(&[0x76]),
            tx_hash: B256::repeat_byte(number),
            valid_before: 1_000,
            deposit: Amount::new(1_000_000),
            first_voucher: voucher.clone(),
            challenge: challenge(),
        }),
        best: voucher,
        top_up: None,
        grows_until: 1_800_000_025,
    }
}

fn challenge() -> Challenge {
    let request = BTreeMap::from([("amount", "1000")]);
    Challenge {
        id: ChallengeId::new("challenge-1").unwrap(),
        realm: Realm::new("api.example").unwrap(),
        method: MethodName::tempo(),
        intent: IntentName::session(),
        request: EncodedJson::from_value(&request).unwrap(),
        expires: Some(String::from("2099-01-01T00:00:00Z")),
        digest: None,
        description: Some(String::from("words \u{2028} of a poem")),
        opaque: None,
        header: None,
    }
}

fn a_record_is_inserted_once([book, other]: &Handles) {
    let record = record(1);
    assert!(matches!(book.read(&record.id), Err(BookError::Unknown)));
    let nothing = book.update(&record.id, &mut |_| ());
    assert!(matches!(nothing, Err(BookError::Unknown)));
    book.insert(record.clone()).unwrap();
    for handle in [book, other] {
        let again = handle.insert(record.clone());
        assert!(matches!(again, Err(BookError::Exists)), "{again:?}");
        assert_eq!(handle.read(&record.id).unwrap(), record);
        let records = handle.records().unwrap();
        assert_eq!(records, std::slice::from_ref(&record));
    }
}

fn a_channel_is_added_only_when_it_is_admitted([book, other]: &Handles) {
    let (first, second) = (record(1), record(2));
    let refused = book.add_channel(first.clone(), &mut |_| false).unwrap();
    assert_eq!(refused, Admission::Refused);
    assert!(matches!(other.read(&first.id), Err(BookError::Unknown)));
    assert_eq!(other.usable(&first.key).unwrap(), None);
    let added = book.add_channel(first.clone(), &mut |others| others.is_empty());
    assert_eq!(added.unwrap(), Admission::Added);
    let mut seen = Vec::new();
    let added = other.add_channel(second, &mut |others| {
        seen = others.to_vec();
        true
    });
    assert_eq!(added.unwrap(), Admission::Added);
    assert_eq!(seen, [first]);
}

// SECURITY-CASES A27: a cap per host holds for all handles together.
fn channels_that_are_admitted_side_by_side_stay_within_the_limit(handles: &Handles) {
    const LIMIT: usize = 5;
    thread::scope(|scope| {
        for (group, book) in (0_u8..).zip(handles) {
            scope.spawn(move || {
                for number in 0..10 {
                    let record = record(group * 100 + number);
                    book.add_channel(record, &mut |others| others.len() < LIMIT)
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(handles[0].records().unwrap().len(), LIMIT);
}

fn a_change_is_seen_through_every_handle([book, other]: &Handles) {
    let record = record(1);
    book.insert(record.clone()).unwrap();
    set_phase(other, &record.id, Phase::Open);
    assert_eq!(book.read(&record.id).unwrap().phase, Phase::Open);
    let phase = update(&**book, &record.id, |record| record.phase.clone()).unwrap();
    assert_eq!(phase, Phase::Open);
}

fn every_part_of_a_record_is_kept([book, other]: &Handles) {
    let mut expected = record(1);
    book.insert(expected.clone()).unwrap();
    let phases = [
        Phase::Open,
        Phase::Closing,
        Phase::CloseConfirmed {
            tx_hash: Some(B256::repeat_byte(4)),
        },
        Phase::CloseRequested { at: u64::MAX },
        Phase::Stale {
            reason: StaleReason::OpenRefused,
        },
        Phase::Closed {
            tx_hash: Some(B256::repeat_byte(3)),
        },
        Phase::Closed { tx_hash: None },
        Phase::NeverOpened,
    ];
    for (number, phase) in (2_u128..).zip(phases) {
        expected.phase = phase;
        expected.best.voucher.cumulative = Amount::new(number);
        expected.ledger.sign(Amount::new(2_000)).unwrap();
        expected.top_up = Some(PendingTopUp {
            transaction: Bytes::from(vec![0x76; 500]),
            tx_hash: B256::repeat_byte(5),
            valid_before: u64::MAX,
            additional: Amount::MAX,
            deposit_before: Amount::ZERO,
        });
        let changed = expected.clone();
        update(&**book, &expected.id, |record| *record = changed).unwrap();
        assert_eq!(other.read(&expected.id).unwrap(), expected);
    }
    update(&**other, &expected.id, |record| record.top_up = None).unwrap();
    assert_eq!(book.read(&expected.id).unwrap().top_up, None);
}

// SECURITY-CASES: the record of a channel that still holds money deleted.
fn a_replaced_channel_stays_in_the_book([book, other]: &Handles) {
    let (old, new) = (record(1), record(2));
    book.insert(old.clone()).unwrap();
    book.insert(new.clone()).unwrap();
    for handle in [book, other] {
        let usable = handle.usable(&new.key).unwrap();
        assert_eq!(usable, Some((new.id, Phase::Opening)));
        assert_eq!(handle.records().unwrap().len(), 2);
        assert!(handle.read(&old.id).unwrap().phase.may_hold_money());
    }
}

fn an_older_channel_can_become_usable_again([book, other]: &Handles) {
    let (old, new) = (record(1), record(2));
    for (record, phase) in [(&old, Phase::Open), (&new, Phase::NeverOpened)] {
        book.insert(record.clone()).unwrap();
        set_phase(book, &record.id, phase);
    }
    assert_eq!(other.usable(&old.key).unwrap(), Some((old.id, Phase::Open)));
}

fn a_channel_that_ended_is_not_usable([book, other]: &Handles) {
    let record = record(1);
    book.insert(record.clone()).unwrap();
    for phase in [
        Phase::Closing,
        Phase::CloseConfirmed { tx_hash: None },
        Phase::CloseRequested { at: 1 },
        Phase::Closed { tx_hash: None },
        Phase::NeverOpened,
    ] {
        set_phase(book, &record.id, phase);
        assert_eq!(other.usable(&record.key).unwrap(), None);
    }
    let mut elsewhere = record.key.clone();
    elsewhere.origin = String::from("https://b.example:443");
    set_phase(book, &record.id, Phase::Open);
    assert_eq!(other.usable(&elsewhere).unwrap(), None);
}

// SECURITY-CASES A27: the payee is pinned per origin.
fn the_first_payees_of_an_origin_stay([book, other]: &Handles) {
    let (first, second) = (Address::repeat_byte(1), Address::repeat_byte(2));
    let pin = |book: &Arc<dyn ChannelBook>, origin, payees: &[Address]| {
        book.pin_payees(origin, payees).unwrap()
    };
    assert!(book.payees_of("https://a:443").unwrap().is_empty());
    assert_eq!(pin(book, "https://a:443", &[first]), [first]);
    assert_eq!(pin(other, "https://a:443", &[second]), [first]);
    // Nobody is added later.
    assert_eq!(pin(book, "https://a:443", &[first, second]), [first]);
    // Who gets splits is kept in order, after the payee.
    assert_eq!(
        pin(other, "https://c:443", &[second, first]),
        [second, first]
    );
    assert_eq!(book.payees_of("https://c:443").unwrap(), [second, first]);
    assert!(book.payees_of("https://b:443").unwrap().is_empty());
}

/// The record of a charge of a tenth of a cent at the Unix second `at`.
fn charge(number: u32, at: i64) -> ChargeRecord {
    let mut challenge = challenge();
    challenge.intent = IntentName::charge();
    challenge.id = ChallengeId::new(format!("charge-{number}")).unwrap();
    let origin = Origin::of(&url::Url::parse("https://a.example").unwrap()).unwrap();
    ChargeRecord {
        id: ChargeId::of(&origin, &challenge),
        origin: origin.to_string(),
        purchase: None,
        challenge,
        payer: Address::repeat_byte(1),
        payload: serde_json::Value::Null,
        amount: PRICE,
        at: Timestamp::from_secs(at),
        from_block: 7,
        tx_hash: None,
        valid_before: None,
        state: ChargeState::Open,
        is_shared: false,
    }
}

fn a_charge_is_added_once_and_only_when_it_is_admitted([book, other]: &Handles) {
    let (first, second) = (charge(1, 1_000), charge(2, 1_001));
    let nothing = book.update_charge(&first.id, &mut |_| ());
    assert!(matches!(nothing, Err(BookError::Unknown)));
    let refused = book.add_charge(first.clone(), &mut |_| false).unwrap();
    assert_eq!(refused, Admission::Refused);
    assert_eq!(other.charge(&first.id).unwrap(), None);
    let added = book.add_charge(first.clone(), &mut |others| others.is_empty());
    assert_eq!(added.unwrap(), Admission::Added);
    for handle in [book, other] {
        let again = handle.add_charge(first.clone(), &mut |_| true);
        assert!(matches!(again, Err(BookError::Exists)), "{again:?}");
    }
    let mut seen = Vec::new();
    other
        .add_charge(second, &mut |others| {
            seen = others.to_vec();
            true
        })
        .unwrap();
    assert_eq!(seen, [first]);
    assert_eq!(book.charges().unwrap().len(), 2);
}

fn every_part_of_a_charge_is_kept([book, other]: &Handles) {
    let mut expected = charge(1, 1_000);
    book.add_charge(expected.clone(), &mut |_| true).unwrap();
    let tx_hash = B256::repeat_byte(9);
    expected.payload = serde_json::json!({ "type": "hash", "hash": tx_hash });
    expected.purchase = Some(B256::repeat_byte(8));
    expected.tx_hash = Some(tx_hash);
    expected.valid_before = Some(u64::MAX);
    expected.is_shared = true;
    for state in [
        ChargeState::Paid { tx_hash },
        ChargeState::Served { tx_hash },
        ChargeState::Void,
        ChargeState::Open,
    ] {
        expected.state = state;
        let changed = expected.clone();
        book.update_charge(&expected.id, &mut |record| *record = changed.clone())
            .unwrap();
        assert_eq!(other.charge(&expected.id).unwrap(), Some(expected.clone()));
    }
    // What is open is never forgotten, whatever comes later.
    for number in 2..30 {
        let mut later = charge(number, 10_000_000 + i64::from(number));
        later.payload = serde_json::json!("x".repeat(50_000));
        other.add_charge(later.clone(), &mut |_| true).unwrap();
        other
            .update_charge(&later.id, &mut |record| record.state = ChargeState::Void)
            .unwrap();
    }
    assert_eq!(book.charge(&expected.id).unwrap(), Some(expected));
}

// A budget holds for all handles together.
fn what_is_admitted_side_by_side_stays_within_the_limit(handles: &Handles) {
    const LIMIT: usize = 10;
    thread::scope(|scope| {
        for (group, book) in (0_u32..).zip(handles) {
            scope.spawn(move || {
                for number in 0..20 {
                    let record = charge(group * 100 + number, 1_000);
                    book.add_charge(record, &mut |others| others.len() < LIMIT)
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(handles[0].charges().unwrap().len(), LIMIT);
}

fn a_gate_lets_one_in_at_a_time([book, other]: &Handles) {
    let key = record(1).key;
    let held = book.gate(&key).enter().now_or_never().unwrap().unwrap();
    assert!(book.gate(&key).enter().now_or_never().is_none());
    assert!(other.gate(&key).enter().now_or_never().is_none());
    let mut elsewhere = key.clone();
    elsewhere.chain_id = 1;
    assert!(other.gate(&elsewhere).enter().now_or_never().is_some());
    let gate = other.gate(&key);
    let waiting = thread::spawn(move || wait(gate.enter()).is_ok());
    drop(held);
    let entered = waiting.join();
    assert!(entered.unwrap_or_else(|_| panic!("the waiting thread failed")));
}

fn a_channel_is_left_by_one_at_a_time_and_at_any_time([book, other]: &Handles) {
    let (record, next) = (record(1), record(2));
    // Somebody opens or refills, and its server does not answer.
    let _busy = book.gate(&record.key).enter().now_or_never().unwrap();
    let held = book.exit_gate(&record.id).enter().now_or_never().unwrap();
    assert!(held.is_ok());
    assert!(book.exit_gate(&record.id).enter().now_or_never().is_none());
    assert!(other.exit_gate(&record.id).enter().now_or_never().is_none());
    assert!(other.exit_gate(&next.id).enter().now_or_never().is_some());
    let gate = other.exit_gate(&record.id);
    let waiting = thread::spawn(move || wait(gate.enter()).is_ok());
    drop(held);
    let entered = waiting.join();
    assert!(entered.unwrap_or_else(|_| panic!("the waiting thread failed")));
}

fn no_change_is_lost_and_nothing_is_signed_in_excess([book, other]: &Handles) {
    const EACH: u32 = 25;
    let record = record(1);
    book.insert(record.clone()).unwrap();
    let payers = [book, other, book, other].map(|book| {
        let (book, id) = (Arc::clone(book), record.id);
        thread::spawn(move || {
            for _ in 0..EACH {
                pay(&*book, &id);
            }
        })
    });
    for payer in payers {
        payer.join().unwrap_or_else(|_| panic!("a payer failed"));
    }
    let ledger = other.read(&record.id).unwrap().ledger;
    assert_eq!(ledger.signed(), Amount::new(100_000));
    assert_eq!(ledger.spent(), ledger.signed());
    assert!(!ledger.is_busy());
}

/// Pays for one unit as a client does, at a server that charges it, and returns what was signed.
///
/// # Panics
/// When the book fails, or the channel holds too little.
pub fn pay(book: &dyn ChannelBook, id: &ChannelId) -> Amount {
    let reservation = update(book, id, |record| record.ledger.reserve(PRICE));
    let reservation = reservation.unwrap().unwrap();
    let plan = update(book, id, |record| {
        let plan = record.ledger.plan(Need::Ordered, Margin::default());
        if let Plan::Voucher(cumulative) = plan {
            record.ledger.sign(cumulative).unwrap();
        }
        plan
    });
    let Plan::Voucher(cumulative) = plan.unwrap() else {
        panic!("the channel holds too little");
    };
    let charged = update(book, id, |record| {
        let ledger = &mut record.ledger;
        let spent = ledger.spent().checked_add(PRICE).unwrap();
        let totals = Totals {
            accepted: ledger.signed(),
            spent,
        };
        ledger.confirm(&reservation, totals, Amount::ZERO)
    });
    assert_eq!(charged.unwrap(), Ok(PRICE));
    cumulative
}

fn set_phase(book: &Arc<dyn ChannelBook>, id: &ChannelId, phase: Phase) {
    update(&**book, id, |record| record.phase = phase).unwrap();
}

/// Waits for a future without a runtime.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let waker = std::task::Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        thread::park();
    }
}

struct Unpark(thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
