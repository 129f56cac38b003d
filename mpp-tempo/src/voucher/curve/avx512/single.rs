//! One claim spread over all lanes: its 52 additions in six rounds.
//!
//! Lane 2 p + h holds half of the additions of comb position p. h = 0 takes two digits of the
//! second half of u2 and the five of u1; h = 1 takes the other two and the four of the first half.
//! What remains is adding the lanes of a pair and joining the four positions by doublings.

use core::arch::x86_64::_mm512_shuffle_epi32;

use super::super::digits::{Digit, Digits};
use super::super::field::FieldElement;
use super::super::point::{AffinePoint, XyzzPoint};
use super::super::tables::{CORRECTIONS, SignerTable, generator_table};
use super::lanes::FieldVector;
use super::points::{AffineVector, XyzzVector};
use super::prefetch;
use super::words::Mask;

/// Lanes that take a generator digit in the last round.
const GENERATOR_LANES: Mask = 0b0101_0101;
/// The lane that takes the correction in the last round.
const CORRECTION_LANE: usize = 1;

/// The points of one round, one per lane.
#[derive(Clone, Copy)]
struct Round<'a> {
    points: [&'a AffinePoint; 8],
    negative: Mask,
}

impl<'a> Round<'a> {
    fn set(&mut self, lane: usize, table: &'a [AffinePoint], digit: Digit) {
        let point = &table[usize::from(digit.index)];
        prefetch(point);
        self.points[lane] = point;
        self.negative |= u8::from(digit.negative) << lane;
    }
}

/// Adds up what the digits name, up to the last doublings: one sum per position.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn combine(digits: &Digits, table: &SignerTable) -> [XyzzPoint; 4] {
    let generator = generator_table();
    let signer = &table.points;
    let idle = Round {
        points: [&signer[CORRECTIONS]; 8],
        negative: 0,
    };
    let mut rounds = [idle; 7];
    for (position, row) in digits.rows.iter().enumerate() {
        let (even, odd) = (2 * position, 2 * position + 1);
        rounds[0].set(even, signer, row.second[0]);
        rounds[1].set(even, signer, row.second[1]);
        rounds[0].set(odd, signer, row.second[2]);
        rounds[1].set(odd, signer, row.second[3]);
        for (round, digit) in rounds[2..].iter_mut().zip(row.generator) {
            round.set(even, generator, digit);
        }
        for (round, digit) in rounds[2..].iter_mut().zip(row.first) {
            round.set(odd, signer, digit);
        }
    }
    let mut active = GENERATOR_LANES;
    if let Some(digit) = digits.correction {
        rounds[6].set(CORRECTION_LANE, signer, digit);
        active |= 1 << CORRECTION_LANE;
    }
    positions(&rounds, active)
}

/// The sums of the four positions, least significant first.
#[target_feature(enable = "avx512f,avx512ifma")]
fn positions(rounds: &[Round<'_>; 7], active: Mask) -> [XyzzPoint; 4] {
    let load = |round: &Round<'_>| AffineVector::load(round.points, round.negative);
    let mut sum = load(&rounds[0]).add(&load(&rounds[1]));
    // The endomorphism of the sum is the sum of the endomorphisms.
    sum.x = sum.x.mul(&FieldVector::splat(&FieldElement::BETA));
    for round in &rounds[2..6] {
        sum = sum.add_affine(&load(round));
    }
    sum = sum
        .blend(active, &sum.add_affine(&load(&rounds[6])))
        .with_signs();
    let other = XyzzVector {
        x: swap_pairs(&sum.x),
        y: swap_pairs(&sum.y),
        zz: swap_pairs(&sum.zz),
        zzz: swap_pairs(&sum.zzz),
        negative: 0,
    };
    let pairs = sum.add(&other);
    let (x, y) = (pairs.x.to_lanes(), pairs.y.to_lanes());
    let (zz, zzz) = (pairs.zz.to_lanes(), pairs.zzz.to_lanes());
    core::array::from_fn(|position| XyzzPoint {
        x: x[2 * position],
        y: y[2 * position],
        zz: zz[2 * position],
        zzz: zzz[2 * position],
    })
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn swap_pairs(value: &FieldVector) -> FieldVector {
    let mut limbs = value.0;
    for limb in &mut limbs {
        *limb = _mm512_shuffle_epi32::<0b01_00_11_10>(*limb);
    }
    FieldVector(limbs)
}

/// Horner: each position counts twice the one below.
pub(super) fn join(positions: &[XyzzPoint; 4]) -> XyzzPoint {
    let [lower @ .., top] = positions;
    lower
        .iter()
        .rev()
        .fold(*top, |sum, position| sum.double().add(position))
}
