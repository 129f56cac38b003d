//! Times this verifier and the libraries in turns in one process, and prints ratios.
//!
//! `cargo run --release -p mpp-tempo --features std --example voucher_ratios`. Every candidate
//! runs once per round over the same 64 vouchers. Times differ between machines and hours, ratios
//! of one run much less. On a machine that is busy with other work the medians tell about that
//! work; the fastest twentieth of the rounds then comes closer to the truth.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that fails stops"
)]

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use mpp_core::Amount;
use mpp_tempo::network::CHANNEL_RESERVE;
use mpp_tempo::voucher::{Tier, VerifierEngine, VoucherDomain, VoucherError, verify_batch};
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher, Signer, Voucher,
    VoucherVerifier,
};

const CHANNELS: u8 = 64;
const VOUCHERS: usize = 512;
/// Vouchers that a round goes over.
const PIECE: usize = 64;
const ROUNDS: usize = 200;
/// Rounds that build tables and warm caches.
const WARM_UP: usize = 3 * VOUCHERS / PIECE;
const TABLE_BYTES: usize = 4 << 20;

/// Something that goes once over a piece of the vouchers, given by its number.
type Run<'a> = Box<dyn FnMut(usize) + 'a>;

fn piece(number: usize) -> Range<usize> {
    number * PIECE..(number + 1) * PIECE
}

struct Case {
    terms: ChannelTerms,
    digest: [u8; 32],
    signed: SignedVoucher,
    bytes: [u8; 65],
}

fn cases() -> Vec<Case> {
    let signers: Vec<_> = (1..=CHANNELS)
        .map(|seed| LocalSigner::from_bytes(&[seed; 32]).unwrap())
        .collect();
    let payers = signers.iter().cycle().take(VOUCHERS);
    payers
        .zip(1..)
        .map(|(payer, amount)| case(payer, amount))
        .collect()
}

fn case(payer: &LocalSigner, amount: u128) -> Case {
    let terms = ChannelTerms {
        protocol: SessionProtocol::V2,
        chain_id: 42431,
        escrow: CHANNEL_RESERVE,
        descriptor: ChannelDescriptor {
            payer: payer.address(),
            ..Default::default()
        },
    };
    let cumulative = Amount::new(amount);
    let digest = VoucherDomain::new(&terms).digest(cumulative);
    let signature = payer.sign_digest_sync(&digest);
    let voucher = Voucher {
        channel_id: terms.id(),
        cumulative,
    };
    Case {
        terms,
        digest: digest.0,
        signed: SignedVoucher {
            voucher,
            signature: signature.into(),
        },
        bytes: signature.to_bytes(),
    }
}

/// k256 0.13, which alloy and the SDKs use: it verifies again after recovering.
fn k256_previous(cases: &[Case]) -> Run<'_> {
    use k256_previous::ecdsa::{RecoveryId, Signature, VerifyingKey};
    Box::new(move |number| {
        for case in &cases[piece(number)] {
            let signature = Signature::from_slice(&case.bytes[..64]).unwrap();
            let id = RecoveryId::new(case.bytes[64] == 28, false);
            let key = VerifyingKey::recover_from_prehash(&case.digest, &signature, id);
            black_box(key.unwrap());
        }
    })
}

/// k256 0.14 through this crate, without a digest.
fn k256_current(cases: &[Case]) -> Run<'_> {
    Box::new(move |number| {
        for case in &cases[piece(number)] {
            black_box(case.signed.signature.recover(&case.digest.into())).unwrap();
        }
    })
}

fn libsecp256k1(cases: &[Case]) -> Run<'_> {
    use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
    let context = secp256k1::Secp256k1::verification_only();
    Box::new(move |number| {
        for case in &cases[piece(number)] {
            let id = RecoveryId::try_from(i32::from(case.bytes[64]) - 27).unwrap();
            let signature = RecoverableSignature::from_compact(&case.bytes[..64], id).unwrap();
            let message = secp256k1::Message::from_digest(case.digest);
            black_box(context.recover_ecdsa(message, &signature).unwrap());
        }
    })
}

/// This crate, digest included.
fn own(cases: &[Case], tier: Tier, size: usize) -> Option<Run<'_>> {
    let engine = Arc::new(VerifierEngine::with_tier(tier, TABLE_BYTES).ok()?);
    // Vouchers of one channel share its verifier, and so its key and table.
    let verifiers: Vec<_> = cases[..usize::from(CHANNELS)]
        .iter()
        .map(|case| VoucherVerifier::with_engine(&case.terms, &engine))
        .collect();
    let verifier = move |index: usize| verifiers[index % usize::from(CHANNELS)].clone();
    let verifiers: Vec<_> = (0..cases.len()).map(verifier).collect();
    let mut answers = vec![Err(VoucherError::WrongChannel); size];
    Some(Box::new(move |number| {
        let (verifiers, cases) = (&verifiers[piece(number)], &cases[piece(number)]);
        for (verifiers, cases) in verifiers.chunks(size).zip(cases.chunks(size)) {
            if size == 1 {
                verifiers[0].verify(black_box(&cases[0].signed)).unwrap();
                continue;
            }
            let mut batch = [(&verifiers[0], &cases[0].signed); 64];
            for (place, (verifier, case)) in batch.iter_mut().zip(verifiers.iter().zip(cases)) {
                *place = (verifier, &case.signed);
            }
            verify_batch(
                black_box(&batch[..cases.len()]),
                &mut answers[..cases.len()],
            )
            .unwrap();
            assert!(answers[..cases.len()].iter().all(Result::is_ok));
        }
    }))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed(run: &mut Run<'_>, number: usize) -> u64 {
    let start = Instant::now();
    run(number);
    start.elapsed().as_nanos() as u64 / PIECE as u64
}

#[expect(
    clippy::print_stdout,
    reason = "the table is the purpose of the program"
)]
fn main() {
    let cases = cases();
    let mut candidates: Vec<(String, Run<'_>)> = vec![
        ("k256 0.13 recover".into(), k256_previous(&cases)),
        ("k256 0.14 recover".into(), k256_current(&cases)),
        ("libsecp256k1 recover".into(), libsecp256k1(&cases)),
    ];
    for (tier, sizes) in [
        (Tier::Library, &[1][..]),
        (Tier::Portable, &[1, 8, 64]),
        (Tier::Avx512, &[1, 2, 4, 8, 16, 64]),
    ] {
        for &size in sizes {
            if let Some(run) = own(&cases, tier, size) {
                candidates.push((format!("{tier:?}, {size} at once"), run));
            }
        }
    }
    let mut times = vec![Vec::new(); candidates.len()];
    for round in 0..WARM_UP + ROUNDS {
        for ((_, run), times) in candidates.iter_mut().zip(&mut times) {
            let time = timed(run, round % (VOUCHERS / PIECE));
            if round >= WARM_UP {
                times.push(time);
            }
        }
    }
    for times in &mut times {
        times.sort_unstable();
    }
    for (title, index) in [("median", ROUNDS / 2), ("fastest twentieth", ROUNDS / 20)] {
        println!("{title:<24}      ns   x k256 0.13   x libsecp256k1");
        for ((name, _), own) in candidates.iter().zip(&times) {
            let ratio = |base: &[u64]| {
                let hundredths = base[index] * 100 / own[index];
                format!("{}.{:02}", hundredths / 100, hundredths % 100)
            };
            let (previous, c) = (ratio(&times[0]), ratio(&times[2]));
            println!("{name:<24}{:>8}{previous:>14}{c:>17}", own[index]);
        }
    }
}
