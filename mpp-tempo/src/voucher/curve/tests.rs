//! Every kernel against k256 and libsecp256k1 on random and adversarial claims.
//!
//! A thousand claims by default. `MPP_DIFFERENTIAL_CLAIMS=10000000 MPP_DIFFERENTIAL_THREADS=2
//! cargo test --release -p mpp-tempo --features std every_kernel` runs as many as one asks for;
//! `MPP_DIFFERENTIAL_SEED` chooses others. Ten million have run on each tier without a
//! difference, the last 1,500,000 (seed 2000001) on the kernels as they are.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use super::tables::SignerTable;
use super::*;

mod adversarial;
mod cases;
mod oracle;
mod reduced_x;
mod wycheproof;

use cases::{Case, Cases};

/// Claims that are made at once.
const ROUND: usize = 130;
/// How many of them a kernel is given at once.
const FEW: [usize; 3] = [1, 3, 8];
const MANY: [usize; 5] = [16, 29, 45, 64, 130];

/// Everything that judges claims on this machine.
fn kernels() -> Vec<Kernel> {
    let mut kernels = vec![Kernel::Portable];
    if Kernel::detect() != Kernel::Portable {
        kernels.push(Kernel::detect());
    }
    kernels
}

/// The verdicts of a kernel for claims taken `size` at a time.
fn verdicts(kernel: Kernel, claims: &[Claim<'_>], size: usize) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::Undecided; claims.len()];
    for (claims, verdicts) in claims.chunks(size).zip(verdicts.chunks_mut(size)) {
        kernel.verify(claims, verdicts);
    }
    verdicts
}

fn claims<'a>(cases: &[Case], tables: &'a [Box<SignerTable>]) -> Vec<Claim<'a>> {
    cases
        .iter()
        .map(|case| Claim::new(&case.digest, &case.signature, &tables[case.key]))
        .collect()
}

/// What a thread has seen.
#[derive(Default)]
struct Tally {
    claims: usize,
    valid: usize,
    asked: usize,
    undecided: usize,
}

/// Judges claims from one seed by every kernel, each claim alone or in a small batch and again in
/// a large one.
fn compare(seed: u64, wanted: usize) -> Tally {
    let mut source = Cases::new(seed);
    let tables = source.tables();
    let mut tally = Tally::default();
    for round in 0..wanted.div_ceil(ROUND) {
        let cases: Vec<Case> = (0..ROUND).map(|_| source.next()).collect();
        let claims = claims(&cases, &tables);
        let both = round % 16 == 0;
        let expected = cases.iter().map(|case| match both {
            true => source.expected_by_both(case),
            false => source.expected(case),
        });
        let expected: Vec<bool> = expected.collect();
        for kernel in kernels() {
            let sizes = [FEW[round % FEW.len()], MANY[round % MANY.len()]];
            // The portable code does the same for any number of claims.
            let sizes = match kernel.tier() {
                Tier::Portable => &sizes[round % 2..=round % 2],
                _ => &sizes,
            };
            for &size in sizes {
                tally.asked += claims.len();
                for (index, verdict) in verdicts(kernel, &claims, size).into_iter().enumerate() {
                    if verdict == Verdict::Undecided {
                        tally.undecided += 1;
                        continue;
                    }
                    let valid = verdict == Verdict::Valid;
                    let case = &cases[index];
                    assert_eq!(valid, expected[index], "{kernel:?} {size}: {case:?}");
                }
            }
        }
        tally.claims += cases.len();
        tally.valid += expected.iter().filter(|&&valid| valid).count();
    }
    tally
}

#[test]
fn every_kernel_answers_as_the_libraries_do() {
    let number = |name: &str, default: usize| {
        std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
    };
    let wanted = number("MPP_DIFFERENTIAL_CLAIMS", 1_000);
    let threads = number("MPP_DIFFERENTIAL_THREADS", 1);
    let first_seed = number("MPP_DIFFERENTIAL_SEED", 0);
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let workers: Vec<_> = (first_seed..first_seed + threads)
            .map(|seed| scope.spawn(move || compare(seed as u64, wanted.div_ceil(threads))))
            .collect();
        let results = workers.into_iter().map(|worker| worker.join().unwrap());
        results.collect()
    });
    let total = |count: fn(&Tally) -> usize| tallies.iter().map(count).sum::<usize>();
    let (claims, valid) = (total(|tally| tally.claims), total(|tally| tally.valid));
    let (asked, undecided) = (total(|tally| tally.asked), total(|tally| tally.undecided));
    // The mixture really has both kinds, and hardly anything is left to the libraries.
    assert!(
        claims >= wanted && valid * 4 > claims && valid * 4 < 3 * claims,
        "{valid} of {claims}"
    );
    assert!(undecided * 100 < asked, "{undecided} undecided of {asked}");
}

#[test]
fn batches_of_every_size_find_bad_claims_at_every_position() {
    let mut source = Cases::new(7);
    let tables = source.tables();
    let good: Vec<Case> = (0..130).map(|_| source.honest()).collect();
    let all_good = claims(&good, &tables);
    for kernel in kernels() {
        for size in 1..=130 {
            let mut claims = all_good[..size].to_vec();
            // Two bad ones per size; over all sizes every position has its turn.
            let bad = [size - 1, size * 37 % size.div_ceil(2)];
            for position in bad {
                claims[position].y_is_odd = !good[position].signature.y_is_odd();
            }
            let mut got = vec![Verdict::Undecided; size];
            kernel.verify(&claims, &mut got);
            for (position, verdict) in got.into_iter().enumerate() {
                let expected = if bad.contains(&position) {
                    Verdict::Invalid
                } else {
                    Verdict::Valid
                };
                assert_eq!(verdict, expected, "{kernel:?} {size} {position}");
            }
        }
        for position in 0..64 {
            let mut claims = all_good[..64].to_vec();
            claims[position].message = claims[position].message.double();
            let got = verdicts(kernel, &claims, 64);
            for (index, verdict) in got.into_iter().enumerate() {
                assert_eq!(verdict == Verdict::Valid, index != position, "{kernel:?}");
            }
        }
    }
}
