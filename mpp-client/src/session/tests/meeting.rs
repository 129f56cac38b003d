//! Books on disk, in which a channel grows while another one is being added.

use alloy_primitives::Address;

use super::*;
use crate::charge::{ChargeId, ChargeRecord};
use crate::error::ClientError;
use crate::policy::PolicyViolation;
use crate::session::book::{Admission, BookError, ChannelKey, DurableBook, Gate, Phase};
use crate::sync::lock;
use crate::testing::offer;

type During = Box<dyn FnOnce() + Send>;

/// A book in which something happens between the look at all channels and the writing of a new one.
struct Slow {
    book: DurableBook,
    during: std::sync::Mutex<Option<During>>,
}

impl ChannelBook for Slow {
    fn add_channel(
        &self,
        record: ChannelRecord,
        admit: &mut dyn FnMut(&[ChannelRecord]) -> bool,
    ) -> Result<Admission, BookError> {
        let mut during = lock(&self.during).take();
        self.book.add_channel(record, &mut |others| {
            let admitted = admit(others);
            if let Some(during) = during.take() {
                during();
            }
            admitted
        })
    }

    fn read(&self, id: &ChannelId) -> Result<ChannelRecord, BookError> {
        self.book.read(id)
    }

    fn usable(&self, key: &ChannelKey) -> Result<Option<(ChannelId, Phase)>, BookError> {
        self.book.usable(key)
    }

    fn update(
        &self,
        id: &ChannelId,
        change: &mut dyn FnMut(&mut ChannelRecord),
    ) -> Result<(), BookError> {
        self.book.update(id, change)
    }

    fn records(&self) -> Result<Vec<ChannelRecord>, BookError> {
        self.book.records()
    }

    fn payees_of(&self, origin: &str) -> Result<Vec<Address>, BookError> {
        self.book.payees_of(origin)
    }

    fn pin_payees(&self, origin: &str, payees: &[Address]) -> Result<Vec<Address>, BookError> {
        self.book.pin_payees(origin, payees)
    }

    fn add_charge(
        &self,
        record: ChargeRecord,
        admit: &mut dyn FnMut(&[ChargeRecord]) -> bool,
    ) -> Result<Admission, BookError> {
        self.book.add_charge(record, admit)
    }

    fn update_charge(
        &self,
        id: &ChargeId,
        change: &mut dyn FnMut(&mut ChargeRecord),
    ) -> Result<(), BookError> {
        self.book.update_charge(id, change)
    }

    fn charges(&self) -> Result<Vec<ChargeRecord>, BookError> {
        self.book.charges()
    }

    fn gate(&self, key: &ChannelKey) -> Gate {
        self.book.gate(key)
    }

    fn exit_gate(&self, id: &ChannelId) -> Gate {
        self.book.exit_gate(id)
    }
}

// SECURITY-CASES A27: each of the two is allowed alone, and neither has seen the other.
#[tokio::test]
async fn a_channel_that_grows_while_another_one_is_opened_keeps_the_limit() {
    let name = format!("mpp-client-meeting-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let book = Arc::new(Slow {
        book: DurableBook::open(&folder).unwrap(),
        during: std::sync::Mutex::default(),
    });
    let mut bench = Bench::new();
    let limit = units(25_000);
    bench.payer = Payer::builder()
        .signer(LocalSigner::from_hex(&bench.chain.accounts()[2].private_key).unwrap())
        .chain(bench.chain.clone())
        .policy(Policy::new(units(100_000)).max_locked_per_origin(limit))
        .book(book.clone())
        .clock(bench.clock.clone())
        .build()
        .unwrap();
    let grows = bench.open(&offer()).await;
    let payer = bench.payer.clone();
    let top_up: During = Box::new(move || {
        let offer = offer();
        let top_up = payer.top_up(grows, &offer, units(10_000));
        let top_up = futures_util::FutureExt::now_or_never(top_up);
        top_up.expect("it waits").unwrap();
    });
    *lock(&book.during) = Some(top_up);
    let other = offer_with(|request| {
        request["methodDetails"]["operator"] = json!(Address::repeat_byte(0x55));
    });
    let refused = bench.payer.begin(&bench.site, other.clone()).await;
    assert!(
        matches!(
            refused,
            Err(ClientError::Policy(PolicyViolation::TooMuchLocked { .. }))
        ),
        "{refused:?}"
    );
    // Its transaction has not left, and never will.
    let records = book.records().unwrap();
    let phase = |record: &&ChannelRecord| record.id != grows;
    let [opened] = records.iter().filter(phase).collect::<Vec<_>>()[..] else {
        panic!("{records:?}");
    };
    assert_eq!(opened.phase, Phase::NeverOpened);
    assert!(book.read(&grows).unwrap().top_up.is_some());
    drop(std::fs::remove_dir_all(folder));
}
