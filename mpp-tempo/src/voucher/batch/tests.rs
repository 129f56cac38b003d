//! A batch answers as its vouchers one at a time do.

use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use mpp_core::Amount;
use proptest::prelude::*;

use super::*;
use crate::channel::{ChannelDescriptor, ChannelTerms, SessionProtocol};
use crate::voucher::engine::tests::{Payer, engines};
use crate::voucher::{Tier, VerifierEngine, VoucherDomain};

fn batch(entries: &[Entry<'_>]) -> Vec<Answer> {
    let mut answers = vec![Err(VoucherError::WrongChannel); entries.len()];
    verify_batch(entries, &mut answers).unwrap();
    answers
}

/// Warm signers, one that is cold, and one of another engine.
fn payers(engine: &Arc<VerifierEngine>) -> Vec<Payer> {
    let mut payers: Vec<Payer> = (1..=6).map(|seed| Payer::new(seed, engine)).collect();
    payers.iter().for_each(Payer::warm);
    payers.push(Payer::new(7, engine));
    let other = VerifierEngine::with_tier(Tier::Portable, 1 << 20).unwrap();
    payers.push(Payer::new(8, &Arc::new(other)));
    payers
}

#[test]
fn mixed_batches_answer_as_single_verification_does() {
    for engine in engines(8) {
        let payers = payers(&engine);
        let mut vouchers = Vec::new();
        for (index, payer) in payers.iter().cycle().take(150).enumerate() {
            let cumulative = 10 + index as u128;
            let mut voucher = match index % 7 {
                3 => payer.flipped(cumulative),
                _ => payer.voucher(cumulative),
            };
            match index % 11 {
                4 => voucher.voucher.channel_id.0[0] ^= 1,
                7 => voucher.voucher.cumulative = Amount::new(1 << 96),
                9 => voucher.voucher.cumulative = Amount::new(9),
                _ => {}
            }
            vouchers.push((payer, voucher));
        }
        for size in [0, 1, 2, 7, 8, 9, 63, 64, 65, 130, 150] {
            let entries: Vec<Entry<'_>> = vouchers[..size]
                .iter()
                .map(|(payer, voucher)| (&payer.verifier, voucher))
                .collect();
            for (answer, (verifier, signed)) in batch(&entries).iter().zip(&entries) {
                assert_eq!(*answer, verifier.verify(signed));
            }
        }
    }
}

/// From one bad voucher to the next: they meet every lane of eight and every place of a group.
const STRIDE: usize = 9;

#[test]
fn bad_vouchers_at_any_position_of_any_size_change_no_other_answer() {
    for engine in engines(8).into_iter().skip(1) {
        let payers = payers(&engine);
        let warm = &payers[..6];
        let payer = |index: usize| &warm[index % 6];
        let good: Vec<_> = (0..130).map(|at| payer(at).voucher(at as u128)).collect();
        let flipped: Vec<_> = (0..130).map(|at| payer(at).flipped(at as u128)).collect();
        for size in 1..=130 {
            for first_bad in 0..size.min(STRIDE) {
                let is_bad = |index: usize| index % STRIDE == first_bad;
                let entry = |index: usize| {
                    let vouchers = if is_bad(index) { &flipped } else { &good };
                    (&payer(index).verifier, &vouchers[index])
                };
                let entries: Vec<Entry<'_>> = (0..size).map(entry).collect();
                for (index, answer) in batch(&entries).iter().enumerate() {
                    assert_eq!(answer.is_ok(), !is_bad(index), "{engine:?} {size} {index}");
                }
            }
        }
    }
}

#[test]
fn one_bad_voucher_changes_no_other_answer() {
    for engine in engines(8) {
        let payers = payers(&engine);
        let good: Vec<_> = (0..17)
            .map(|index| payers[index % 6].voucher(index as u128))
            .collect();
        for bad in 0..good.len() {
            let flipped = payers[bad % 6].flipped(bad as u128);
            let entries: Vec<Entry<'_>> = (0..good.len())
                .map(|index| {
                    let voucher = if index == bad { &flipped } else { &good[index] };
                    (&payers[index % 6].verifier, voucher)
                })
                .collect();
            for (index, answer) in batch(&entries).iter().enumerate() {
                assert_eq!(answer.is_ok(), index != bad, "{engine:?} {bad} {index}");
            }
        }
    }
}

#[test]
fn another_number_of_answers_verifies_nothing() {
    let engine = Arc::new(VerifierEngine::new(0));
    let payer = Payer::new(1, &engine);
    let voucher = payer.voucher(1);
    let mut answers = vec![Err(VoucherError::WrongChannel); 2];
    let mismatch = BatchLengthMismatch {
        vouchers: 1,
        answers: 2,
    };
    let entries = [(&payer.verifier, &voucher)];
    assert_eq!(verify_batch(&entries, &mut answers), Err(mismatch));
    assert_eq!(answers, vec![Err(VoucherError::WrongChannel); 2]);
}

// The hashes in vector registers against the one that everything else uses.
#[test]
fn digests_of_all_tiers_are_equal() {
    for engine in engines(8) {
        let payers = payers(&engine);
        let amounts = [0, 1, u64::MAX.into(), (1 << 96) - 1, u128::MAX, 1 << 64];
        let vouchers: Vec<SignedVoucher> = (0..27)
            .map(|index| {
                let mut voucher = payers[index % 8].voucher(1);
                voucher.voucher.cumulative = Amount::new(amounts[index % 6]);
                voucher
            })
            .collect();
        let entries: Vec<Entry<'_>> = vouchers
            .iter()
            .enumerate()
            .map(|(index, voucher)| (&payers[index % 8].verifier, voucher))
            .collect();
        let mut digests = vec![[0; 32]; 27];
        digest::of_all(&entries, &mut digests);
        for ((verifier, signed), digest) in entries.iter().zip(digests) {
            let cumulative = signed.voucher.cumulative;
            assert_eq!(verifier.domain().digest(cumulative).0, digest);
            assert_eq!(verifier.digest(cumulative).0, digest);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn digests_of_any_channel_are_equal(
        payer: [u8; 20],
        salt: [u8; 32],
        escrow: [u8; 20],
        chain_id: u64,
        v1: bool,
        cumulative: u128,
    ) {
        let terms = ChannelTerms {
            protocol: if v1 { SessionProtocol::V1 } else { SessionProtocol::V2 },
            chain_id,
            escrow: escrow.into(),
            descriptor: ChannelDescriptor {
                payer: payer.into(),
                salt: salt.into(),
                ..ChannelDescriptor::default()
            },
        };
        let cumulative = Amount::new(cumulative);
        let expected = VoucherDomain::new(&terms).digest(cumulative);
        for engine in engines(0) {
            let verifier = VoucherVerifier::with_engine(&terms, &engine);
            prop_assert_eq!(verifier.digest(cumulative), expected);
        }
    }
}
