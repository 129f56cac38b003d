//! Files: locks, restarts, foreign content, damage.

use mpp_tempo::{SignedVoucher, VoucherSignature};

use super::*;
use crate::{
    session::record::{ChannelRecord, Hold, HoldId, Phase},
    settle::outbox::stored_settlement,
    store::{DocumentKind, export::Format},
};

pub(super) async fn filled(path: &Path) -> EmbeddedStore {
    let store = options(SyncMode::Group).open(path).unwrap();
    for salt in 1..=3 {
        let mut record = sample::record(salt);
        conformance::done(&store, sample::first(record.clone())).await;
        for version in 1..=4 {
            let mut charge = sample::charge(Version(version), &record);
            Arc::make_mut(&mut charge.next).newest_outcome = version;
            charge.outcome = Some(sample::outcome(&charge.next, version, sample::at(60)));
            record = charge.next.clone();
            conformance::done(&store, charge).await;
        }
    }
    store
}

#[tokio::test]
async fn a_second_opener_is_told_why() {
    let folder = Folder::new();
    let path = folder.file("a.store");
    let store = filled(&path).await;
    let refused = options(SyncMode::Group).open(&path).unwrap_err();
    assert!(
        refused.to_string().ends_with("is open in another process"),
        "{refused}"
    );
    let refused = StoreReader::open(&path).unwrap_err();
    assert!(
        refused.to_string().ends_with("is open in another process"),
        "{refused}"
    );
    drop(store);
    drop(options(SyncMode::Group).open(&path).unwrap());
}

#[tokio::test]
async fn what_is_no_store_is_refused_and_left_alone() {
    let folder = Folder::new();
    let text = folder.file("notes.txt");
    std::fs::write(&text, "not a store, but somebody's notes").unwrap();
    options(SyncMode::Group).open(&text).unwrap_err();
    let content = std::fs::read_to_string(&text).unwrap();
    assert_eq!(content, "not a store, but somebody's notes");
    let foreign = folder.file("foreign.redb");
    let table = redb::TableDefinition::<u64, u64>::new("theirs");
    let database = redb::Database::create(&foreign).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let refused = options(SyncMode::Group).open(&foreign).unwrap_err();
    assert_eq!(refused.to_string(), "the file is not a channel store");
    assert!(StoreReader::open(folder.file("missing")).is_err());
    assert!(!folder.file("missing").exists());
}

// A crash charges nothing for requests that were not served.
#[tokio::test]
async fn holds_end_with_the_process_that_served_them() {
    let folder = Folder::new();
    let path = folder.file("a.store");
    let store = options(SyncMode::Group).open(&path).unwrap();
    let mut held = Arc::unwrap_or_clone(sample::record(1));
    held.newest_hold = HoldId(1);
    held.holds.push(Hold {
        id: HoldId(1),
        amount: Amount::new(10),
        challenge_id: sample::challenge_id(),
        idempotency: None,
        until: sample::at(60),
    });
    conformance::done(&store, sample::first(Arc::new(held.clone()))).await;
    conformance::done(&store, sample::first(sample::record(2))).await;
    let mut store = store;
    // The second time there is nothing to end.
    for version in [2, 2] {
        drop(store);
        store = options(SyncMode::Group).open(&path).unwrap();
        let found = store.load(held.id).await.unwrap().unwrap();
        assert_eq!(found.version, Version(version));
        assert_eq!(found.record.holds, []);
        assert_eq!(
            found.record.newest_hold,
            HoldId(1),
            "no number is used twice"
        );
        let other = store.load(sample::record(2).id).await.unwrap().unwrap();
        assert_eq!(other.version, Version(1));
    }
}

#[tokio::test]
async fn a_sound_store_has_no_findings_and_reading_changes_nothing() {
    let folder = Folder::new();
    let path = folder.file("a.store");
    let store = filled(&path).await;
    // As a crash leaves it: never closed.
    let copy = folder.file("copy.store");
    std::fs::copy(&path, &copy).unwrap();
    drop(store);
    for path in [&path, &copy] {
        let before = std::fs::read(path).unwrap();
        let reader = StoreReader::open(path).unwrap();
        let report = reader.check().unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert_eq!(
            (report.channels, report.entries, report.outcomes),
            (3, 12, 12)
        );
        let mut text = Vec::new();
        assert_eq!(reader.export(Format::JsonLines, &mut text).unwrap(), 12);
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 12);
        assert!(
            std::fs::read(path).unwrap() == before,
            "reading wrote to the file"
        );
    }
}

/// Writes records and entries that break one rule each, past all checks.
#[tokio::test]
async fn fsck_names_what_does_not_add_up() {
    let folder = Folder::new();
    let path = folder.file("a.store");
    drop(filled(&path).await);
    let file = StoreFile::open(&path).unwrap();
    let record = |salt| {
        file.decoded_records()
            .unwrap()
            .into_iter()
            .map(|found| Arc::unwrap_or_clone(found.record))
            .find(|record| record.id == sample::record(salt).id)
            .unwrap()
    };
    let mut overspent = record(1);
    overspent.spent = Amount::new(1_001);
    let mut overdrawn = record(2);
    overdrawn.deposit = Amount::new(999);
    let mut forged = record(3);
    let stolen = sample::voucher(&sample::terms(3), Amount::new(999)).signature;
    forged.best.as_mut().unwrap().signature = stolen;
    let encoded = |record: &ChannelRecord| codec::encode_record(record).unwrap();
    let mut damaged = encoded(&sample::record(4)).to_vec();
    damaged[40] ^= 1;
    let changes = [
        (overspent.id, encoded(&overspent)),
        (overdrawn.id, encoded(&overdrawn)),
        (forged.id, encoded(&forged)),
        (sample::record(4).id, damaged.into()),
        // A record under the id of another channel.
        (sample::record(5).id, encoded(&sample::record(6))),
    ];
    file.write(|writing| {
        let mut changes = changes.iter();
        changes.try_for_each(|(id, bytes)| writing.record(*id, Version(9), bytes))
    })
    .unwrap();
    drop(file);
    let report = StoreReader::open(&path).unwrap().check().unwrap();
    let about = |salt| {
        let place = Place::Channel(sample::record(salt).id);
        let found = report
            .findings
            .iter()
            .filter(move |finding| finding.place == place);
        found
            .map(|finding| finding.defect.clone())
            .collect::<Vec<_>>()
    };
    let [
        Defect::Overspent { .. },
        Defect::Ledger { ledger, spent, .. },
    ] = &about(1)[..]
    else {
        panic!("{:?}", about(1));
    };
    assert_eq!((*ledger, *spent), (Amount::new(4), Amount::new(1_001)));
    assert!(matches!(about(2)[..], [Defect::Overdrawn { .. }]));
    assert!(matches!(about(3)[..], [Defect::Voucher(_)]));
    assert_eq!(about(4), [Defect::Damaged(codec::CodecError::Checksum)]);
    assert_eq!(about(5), [Defect::Damaged(codec::CodecError::Key)]);
    assert_eq!(report.findings.len(), 6, "{:?}", report.findings);
    // A store with a damaged record is not opened: nobody sells from a part.
    let refused = options(SyncMode::Group).open(&path).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a value in the channel store is damaged"
    );
}

// What has ended leaves memory and file, and does not come back.
#[tokio::test]
async fn what_has_ended_leaves_the_file() {
    let folder = Folder::new();
    let path = folder.file("a.store");
    let store = filled(&path).await;
    let claim = |number: u8, end| {
        let key = ClaimKey::Proof(mpp_core::ChallengeId::new(format!("proof {number}")).unwrap());
        store.claim(
            key,
            B256::repeat_byte(number),
            sample::at(end),
            sample::at(0),
        )
    };
    claim(1, 30).await.unwrap();
    claim(2, 90).await.unwrap();
    assert_eq!(store.sweep(sample::at(59), 100).await.unwrap(), 1);
    assert_eq!(store.sweep(sample::at(60), 5).await.unwrap(), 5);
    drop(store);
    let report = StoreReader::open(&path).unwrap().check().unwrap();
    assert_eq!((report.outcomes, report.findings), (7, Vec::new()));
    let store = options(SyncMode::Group).open(&path).unwrap();
    assert_eq!(store.sweep(sample::at(60), 100).await.unwrap(), 7);
    assert_eq!(store.sweep(sample::at(89), 100).await.unwrap(), 0);
    assert_eq!(store.sweep(sample::at(90), 100).await.unwrap(), 1);
    drop(store);
    let report = StoreReader::open(&path).unwrap().check().unwrap();
    assert_eq!((report.outcomes, report.findings), (0, Vec::new()));
}

/// The same voucher with one bit of its signature flipped.
fn flipped(voucher: &SignedVoucher, bit: usize) -> SignedVoucher {
    let mut bytes = voucher.signature.to_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    SignedVoucher {
        voucher: voucher.voucher,
        signature: VoucherSignature::parse(&bytes).unwrap(),
    }
}

// The checksum is right and every sum adds up: only the curve tells.
#[tokio::test]
async fn fsck_finds_one_flipped_bit_of_any_voucher() {
    let folder = Folder::new();
    let path = folder.file("a.store");
    let store = options(SyncMode::Group).open(&path).unwrap();
    let mut records = Vec::new();
    for salt in 1..=5 {
        let mut record = Arc::unwrap_or_clone(sample::record(salt));
        let terms = record.terms;
        let voucher = |units| sample::voucher(&terms, Amount::new(units));
        record.unsettled.ahead = Some(voucher(500));
        record.unsettled.earned = Some(voucher(0));
        if salt == 4 {
            record.phase = Phase::Closing {
                voucher: voucher(0),
                capture: Amount::ZERO,
                sent: None,
                requested_at: None,
            };
        }
        conformance::done(&store, sample::first(Arc::new(record.clone()))).await;
        records.push(record);
    }
    for (number, record) in records.iter_mut().enumerate() {
        let damaged = match number {
            0 => record.best.as_mut(),
            1 => record.unsettled.ahead.as_mut(),
            2 => record.unsettled.earned.as_mut(),
            3 => match &mut record.phase {
                Phase::Closing { voucher, .. } => Some(voucher),
                other => panic!("{other:?}"),
            },
            _ => None,
        };
        if let Some(voucher) = damaged {
            *voucher = flipped(voucher, 7 + 101 * number);
        }
        let write = Write {
            expected: Some(Version(1)),
            next: Arc::new(record.clone()),
            entry: None,
            outcome: None,
        };
        conformance::done(&store, write).await;
    }
    // What is about to go on chain is a copy.
    let about = |salt: u8, channel: usize, flip: bool| {
        let mut voucher = sample::voucher(&records[channel].terms, Amount::new(3));
        if flip {
            voucher = flipped(&voucher, 300);
        }
        DocumentWrite {
            key: DocumentKey {
                kind: DocumentKind::Effect,
                id: B256::repeat_byte(salt),
            },
            expected: None,
            value: Some(stored_settlement(&voucher).unwrap()),
        }
    };
    let effects = vec![about(1, 4, false), about(2, 4, true)];
    let damaged_effect = Place::Document(effects[1].key);
    assert_eq!(store.write_documents(effects).await.unwrap(), Written::Done);
    drop(store);
    let report = StoreReader::open(&path).unwrap().check().unwrap();
    let damaged = report.findings.iter().map(|finding| {
        let is_voucher = matches!(finding.defect, Defect::Voucher(_));
        assert!(is_voucher, "{finding}");
        finding.place
    });
    let mut found: Vec<_> = damaged.collect();
    let mut expected: Vec<_> = records[..4]
        .iter()
        .map(|record| Place::Channel(record.id))
        .chain([damaged_effect])
        .collect();
    let key = |place: &Place| format!("{place:?}");
    found.sort_by_key(key);
    expected.sort_by_key(key);
    assert_eq!(found, expected);
}
