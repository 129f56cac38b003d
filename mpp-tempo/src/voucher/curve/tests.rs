//! Every kernel against k256 and libsecp256k1 on random and adversarial claims.
//!
//! A few thousand claims by default. `MPP_DIFFERENTIAL_CLAIMS=10000000 cargo test --release
//! -p mpp-tempo --features std every_kernel` runs as many as one asks for.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use super::tables::SignerTable;
use super::*;

mod cases;
mod oracle;
mod reduced_x;

use cases::{Case, Cases};

/// How many claims a kernel is given at once.
const SIZES: [usize; 4] = [1, 3, 64, 130];

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

#[test]
fn every_kernel_answers_as_the_libraries_do() {
    let wanted = std::env::var("MPP_DIFFERENTIAL_CLAIMS")
        .map_or(1_000, |count| count.parse().expect("a number of claims"));
    let mut source = Cases::new(wanted as u64);
    let tables = source.tables();
    let (mut done, mut valid, mut undecided) = (0, 0, 0);
    while done < wanted {
        let cases: Vec<Case> = (0..130).map(|_| source.next()).collect();
        let claims = claims(&cases, &tables);
        let expected: Vec<bool> = cases.iter().map(|case| source.expected(case)).collect();
        for kernel in kernels() {
            for size in SIZES {
                for (index, verdict) in verdicts(kernel, &claims, size).into_iter().enumerate() {
                    let answer = match verdict {
                        Verdict::Undecided => {
                            undecided += 1;
                            continue;
                        }
                        Verdict::Valid => true,
                        Verdict::Invalid => false,
                    };
                    assert_eq!(
                        answer, expected[index],
                        "{kernel:?} {size}: {:?}",
                        cases[index]
                    );
                }
            }
        }
        done += cases.len();
        valid += expected.iter().filter(|&&valid| valid).count();
    }
    // The mixture really has both kinds, and hardly anything is left to the libraries.
    assert!(
        valid * 4 > done && valid * 4 < 3 * done,
        "{valid} of {done}"
    );
    let asked = done * kernels().len() * SIZES.len();
    assert!(undecided * 200 < asked, "{undecided} undecided of {asked}");
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
