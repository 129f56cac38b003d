//! What is written is read again, and nothing else is.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use mpp_core::{Amount, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::{
    session::record::{
        Hold, HoldId, Idempotency, LedgerKind, PendingTx, Phase, StreamEpoch, Unsettled,
    },
    store::{Version, Write, conformance::sample},
};

fn pending() -> PendingTx {
    PendingTx {
        hash: B256::repeat_byte(0xaa),
        valid_before: 1_800_000_025,
    }
}

fn hold(id: u64, idempotent: bool) -> Hold {
    Hold {
        id: HoldId(id),
        amount: Amount::new(77),
        challenge_id: sample::challenge_id(),
        idempotency: idempotent.then_some(Idempotency {
            key: OutcomeKey(B256::repeat_byte(5)),
            request: B256::repeat_byte(6),
        }),
        until: sample::at(30),
    }
}

/// A record that has everything a record can have.
fn full(phase: Phase) -> ChannelRecord {
    ChannelRecord {
        spent: Amount::new(321),
        settled: Amount::new(u128::MAX),
        units: 321,
        unsettled: Unsettled {
            earned: Some(sample::voucher(&sample::terms(1), Amount::new(300))),
            ahead: Some(sample::voucher(&sample::terms(1), Amount::new(800))),
            since: Some(sample::at(7)),
            units: 21,
        },
        phase,
        stream: StreamEpoch(4),
        holds: vec![hold(8, true), hold(9, false)],
        newest_hold: HoldId(9),
        newest_outcome: 3,
        changed_at: Timestamp::from_millis(1_800_000_012_345),
        ..Arc::unwrap_or_clone(sample::record(1))
    }
}

fn phases() -> Vec<Phase> {
    let voucher = sample::voucher(&sample::terms(1), Amount::new(1_500));
    let closing = |sent, requested_at| Phase::Closing {
        voucher: voucher.clone(),
        capture: Amount::new(321),
        sent,
        requested_at,
    };
    vec![
        Phase::Opening(pending()),
        Phase::Failed,
        Phase::Open,
        Phase::CloseRequested { at: 1_800_000_000 },
        closing(None, None),
        closing(Some(pending()), Some(1_800_000_000)),
        Phase::Closed { transaction: None },
        Phase::Closed {
            transaction: Some(B256::repeat_byte(1)),
        },
    ]
}

#[test]
fn records_are_read_as_they_were_written() {
    for phase in phases() {
        let mut record = full(phase);
        let stored = encode_record(&record).unwrap();
        assert_eq!(decode_record(record.id, &stored).unwrap(), record);
        record.best = None;
        record.holds.clear();
        record.unsettled = Unsettled::default();
        let stored = encode_record(&record).unwrap();
        assert_eq!(decode_record(record.id, &stored).unwrap(), record);
    }
}

#[test]
fn entries_are_read_as_they_were_written() {
    let kinds = [
        LedgerKind::Opened,
        LedgerKind::Accepted,
        LedgerKind::Charged,
        LedgerKind::Observed,
        LedgerKind::Closed,
        LedgerKind::Credited,
    ];
    for kind in kinds {
        let mut entry = sample::entry(&full(Phase::Open));
        entry.kind = kind;
        for (challenge_id, idempotency) in [
            (None, None),
            (Some(sample::challenge_id()), Some(OutcomeKey(B256::ZERO))),
        ] {
            entry.challenge_id = challenge_id;
            entry.idempotency = idempotency;
            let stored = encode_entry(&entry).unwrap();
            assert_eq!(decode_entry(&stored).unwrap(), entry);
        }
    }
}

#[test]
fn outcomes_are_read_as_they_were_written() {
    let mut outcome = sample::outcome(&full(Phase::Open), 3, sample::at(60));
    outcome.receipt.units = Some(1);
    outcome.receipt.tx_hash = Some("0xab".into());
    for response in [outcome.response.clone(), None] {
        outcome.response = response;
        let stored = encode_outcome(&outcome).unwrap();
        assert_eq!(decode_outcome(outcome.key, &stored).unwrap(), outcome);
    }
}

#[test]
fn a_value_under_another_key_is_refused() {
    let stored = encode_record(&sample::record(1)).unwrap();
    let other = sample::terms(2).id();
    assert_eq!(decode_record(other, &stored), Err(CodecError::Key));
    let outcome = sample::outcome(&sample::record(1), 1, sample::at(60));
    let stored = encode_outcome(&outcome).unwrap();
    let other = OutcomeKey(B256::ZERO);
    assert_eq!(decode_outcome(other, &stored), Err(CodecError::Key));
}

#[test]
fn a_value_of_another_kind_is_refused() {
    let record = sample::record(1);
    let stored = encode_record(&record).unwrap();
    assert_eq!(decode_entry(&stored), Err(CodecError::Checksum));
    let stored = encode_entry(&sample::entry(&record)).unwrap();
    let as_record = decode_record(record.id, &stored);
    assert_eq!(as_record, Err(CodecError::Checksum));
}

#[test]
fn every_damaged_byte_and_every_cut_is_noticed() {
    let record = full(Phase::Open);
    let stored = encode_record(&record).unwrap();
    for at in 0..stored.len() {
        let mut damaged = stored.to_vec();
        damaged[at] ^= 0x10;
        assert!(decode_record(record.id, &damaged).is_err(), "byte {at}");
        assert!(decode_record(record.id, &stored[..at]).is_err(), "cut {at}");
    }
    let longer = [&stored[..], &[0]].concat();
    assert!(decode_record(record.id, &longer).is_err());
}

#[test]
fn claim_keys_are_read_as_they_were_written() {
    let (id, signer) = (sample::challenge_id, Address::repeat_byte(7));
    let text = |about: u8| [&[about], id().as_str().as_bytes()].concat();
    let for_signer = [&[3], signer.as_slice(), id().as_str().as_bytes()].concat();
    for (key, stored) in [
        (ClaimKey::Cosign(id()), text(1)),
        (ClaimKey::Proof(id()), text(2)),
        (ClaimKey::CosignFor(id(), signer), for_signer.clone()),
    ] {
        assert_eq!(encode_claim_key(&key), stored);
        assert_eq!(decode_claim_key(&stored), Ok(key));
    }
    let without_id = &for_signer[..21];
    for bad in [
        &b""[..],
        b"\x01",
        b"\x07abc",
        b"\x01\xff",
        b"\x03abc",
        without_id,
    ] {
        assert!(decode_claim_key(bad).is_err(), "{bad:?}");
    }
}

fn resealed(kind: Kind, version: u8, payload: &[u8]) -> Vec<u8> {
    let mut sealed = [&[version], payload].concat();
    let sum = checksum(kind, &sealed);
    sealed.extend(sum);
    sealed
}

#[test]
fn an_unknown_version_is_named() {
    let record = sample::record(1);
    let stored = encode_record(&record).unwrap();
    let payload = &stored[1..stored.len() - CHECKSUM];
    let later = resealed(Kind::Record, 9, payload);
    let read = decode_record(record.id, &later);
    assert_eq!(read, Err(CodecError::Version(9)));
    let longer = resealed(Kind::Record, 2, &[payload, &[0]].concat());
    assert_eq!(decode_record(record.id, &longer), Err(CodecError::Form));
    assert_eq!(decode_entry(&[1, 2]), Err(CodecError::Length(2)));
}

proptest! {
    // A valid checksum proves who wrote, not that the content is possible.
    #[test]
    fn no_payload_is_more_than_refused(payload in prop::collection::vec(any::<u8>(), 0..600)) {
        let id = sample::terms(1).id();
        for version in [1, 2] {
            let record = resealed(Kind::Record, version, &payload);
            prop_assert!(decode_record(id, &record).is_err());
        }
        let entry = resealed(Kind::Entry, 1, &payload);
        drop(decode_entry(&entry));
        let outcome = resealed(Kind::Outcome, 1, &payload);
        drop(decode_outcome(OutcomeKey(B256::ZERO), &outcome));
    }
}

/// Values as version 1 wrote them, kept: later versions must still read them.
#[test]
fn the_values_of_version_1_stay_readable() {
    let golden = include_str!("../../../../vectors/store/v1.json");
    let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
    let bytes = |name: &str| alloy_primitives::hex::decode(golden[name].as_str().unwrap()).unwrap();
    let mut record = full(phases().swap_remove(5));
    record.unsettled = Unsettled::default();
    let outcome = sample::outcome(&record, 3, sample::at(60));
    assert_eq!(
        decode_record(record.id, &bytes("record")),
        Ok(record.clone())
    );
    assert_eq!(decode_entry(&bytes("entry")), Ok(sample::entry(&record)));
    assert_eq!(
        decode_outcome(outcome.key, &bytes("outcome")),
        Ok(outcome.clone())
    );
    // All but records are written as version 1 today.
    assert_eq!(
        encode_entry(&sample::entry(&record)).unwrap(),
        bytes("entry")
    );
    assert_eq!(encode_outcome(&outcome).unwrap(), bytes("outcome"));
}

/// What version 1 did not know is worked out: a charge is older than the last
/// change, and the highest voucher is the only one.
#[test]
fn a_record_of_version_1_is_settled_by_its_best_voucher() {
    let mut record = full(Phase::Open);
    record.settled = Amount::new(20);
    let stored = resealed(
        Kind::Record,
        1,
        &postcard::to_allocvec(&v1::Record::from(&record)).unwrap(),
    );
    let read = decode_record(record.id, &stored).unwrap();
    assert_eq!(read.unsettled.since, Some(record.changed_at));
    assert_eq!(read.collectable(), None);
    record.spent = record.accepted();
    let payload = postcard::to_allocvec(&v1::Record::from(&record)).unwrap();
    let stored = resealed(Kind::Record, 1, &payload);
    let read = decode_record(record.id, &stored).unwrap();
    assert_eq!(read.collectable(), record.best.as_ref());
}

/// Pairs of writes and what the order of commits adds to them.
fn journaled() -> Vec<(Write, Option<u64>, Vec<OutcomeKey>)> {
    let record = sample::record(1);
    let first = sample::first(record.clone());
    let mut charge = sample::charge(Version(1), &record);
    charge.outcome = Some(sample::outcome(&charge.next, 3, sample::at(60)));
    let ended = [1, 2].map(|number| sample::outcome_key(&record, number));
    let closing = Write {
        next: Arc::new(full(Phase::Closed { transaction: None })),
        ..sample::charge(Version(7), &record)
    };
    vec![
        (first, None, Vec::new()),
        (charge, Some(1), ended.to_vec()),
        (closing, Some(2), Vec::new()),
    ]
}

fn row() -> Vec<u8> {
    let mut row = journal::Row::default();
    for (write, entry, ended) in journaled() {
        let image = journal::Image::of(write.version(), &write).unwrap();
        row.push(&image, entry, &ended);
    }
    row.end(&[OutcomeKey(B256::repeat_byte(8))]);
    row.seal()
}

#[test]
fn a_row_of_the_journal_says_what_was_committed() {
    let row = row();
    let mut items = journal::read_row(&row).unwrap().into_iter();
    for (write, entry, ended) in journaled() {
        let item = items.next().unwrap();
        let keys = item.ended.iter().map(|key| OutcomeKey(B256::from(key)));
        assert_eq!(keys.collect::<Vec<_>>(), ended);
        assert_eq!(item.entry, entry.unwrap_or_default());
        let change = item.change.unwrap();
        assert_eq!(Version(change.version), write.version());
        let id = ChannelId::new(change.id);
        assert_eq!(
            decode_record(id, change.record.0),
            Ok((*write.next).clone())
        );
        let entry = change.entry.map(|entry| decode_entry(entry.0).unwrap());
        assert_eq!(entry, write.entry);
        let outcome = change.outcome.map(|outcome| {
            let key = OutcomeKey(B256::from(outcome.key));
            let found = decode_outcome(key, outcome.value.0).unwrap();
            assert_eq!(outcome.number, found.number);
            assert_eq!(outcome.expires, found.expires.as_millis());
            found
        });
        assert_eq!(outcome, write.outcome);
    }
    let last = items.next().unwrap();
    assert_eq!(last.ended, [[8; 32]]);
    assert!(last.change.is_none());
    assert!(items.next().is_none());
}

#[test]
fn a_damaged_row_of_the_journal_is_refused() {
    let row = row();
    for position in 0..row.len() {
        let mut damaged = row.clone();
        damaged[position] ^= 1;
        assert!(journal::read_row(&damaged).is_err(), "{position}");
        assert!(journal::read_row(&row[..position]).is_err(), "{position}");
    }
    // Nor is one that somebody has sealed, and whose lengths lie.
    for position in 1..row.len() - CHECKSUM {
        let mut forged = row[..row.len() - CHECKSUM].to_vec();
        forged[position] = 0xFF;
        forged.extend(checksum(Kind::Journal, &forged));
        let _read = journal::read_row(&forged);
    }
}

#[test]
fn an_outcome_of_another_channel_is_no_part_of_a_commit() {
    let record = sample::record(1);
    let mut charge = sample::charge(Version(1), &record);
    charge.outcome = Some(sample::outcome(&sample::record(2), 1, sample::at(60)));
    let refused = journal::Image::of(charge.version(), &charge).unwrap_err();
    assert_eq!(refused, CodecError::Key);
}

#[test]
fn runs_hold_all_entries_in_their_order() {
    let (mut run, mut full) = (run::Run::default(), Vec::new());
    let entry = |number: u64| vec![7; usize::try_from(number % 300).unwrap()];
    // One is longer than a run should be.
    let entry = |number| match number {
        50 => vec![9; 100_000],
        other => entry(other),
    };
    for number in 1..=1_000 {
        full.extend(run.push(number, &entry(number)));
    }
    full.extend(run.take());
    assert_eq!(run.take(), None);
    assert!(full.len() > 5, "{}", full.len());
    let mut expected = 1..;
    for (first, bytes) in full {
        let entries = run::read_run(&bytes).unwrap();
        assert_eq!(entries[0].0, first);
        for (number, bytes) in entries {
            assert_eq!(Some(number), expected.next());
            assert_eq!(bytes, entry(number));
        }
        assert!(run::read_run(&bytes[..bytes.len() - 1]).is_err());
    }
    assert_eq!(expected.next(), Some(1_001));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    // A row that was cut, and sealed by somebody who can, is refused unless the
    // cut is between two items.
    #[test]
    fn no_item_is_read_in_part(
        items in proptest::collection::vec((0..4_usize, 0..3_usize), 0..4),
    ) {
        let changes = journaled();
        let (mut row, mut whole) = (journal::Row::default(), vec![1]);
        for (change, ended) in &items {
            let ended = vec![OutcomeKey(B256::repeat_byte(8)); *ended];
            match changes.get(*change) {
                Some((write, entry, _)) => {
                    let image = journal::Image::of(write.version(), write).unwrap();
                    row.push(&image, *entry, &ended);
                }
                None => row.end(&ended),
            }
            whole.push(row.len());
        }
        let row = row.seal();
        for cut in 1..=row.len().saturating_sub(CHECKSUM) {
            let mut sealed = row[..cut].to_vec();
            sealed.extend(checksum(Kind::Journal, &sealed));
            let read = journal::read_row(&sealed);
            let Some(expected) = whole.iter().position(|length| *length == cut) else {
                prop_assert_eq!(read.err(), Some(CodecError::Form), "{}", cut);
                continue;
            };
            let read = read.unwrap();
            prop_assert_eq!(read.len(), expected);
            for (item, (change, ended)) in read.iter().zip(&items) {
                prop_assert_eq!(item.ended.len(), *ended);
                prop_assert_eq!(item.change.is_some(), *change < changes.len());
            }
        }
    }
}
