//! One claim spread over all lanes: its 48 additions in five rounds.
//!
//! Lane 2 p + h holds half of the additions of comb position p. h = 0 takes two digits of the
//! second half of u2 and the four of u1; h = 1 takes the other two and the four of the first half.
//! What remains is adding the lanes of a pair and joining the four positions by doublings.

use super::super::comb::SPACING;
use super::super::digits::{Digit, Digits};
use super::super::field::FieldElement;
use super::super::point::{AffinePoint, XyzzPoint};
use super::super::tables::{SignerTable, generator_table};
use super::convert::exchange;
use super::lanes::FieldVector;
use super::points::{AffineVector, XyzzVector};
use super::prefetch;
use super::words::Mask;

/// The points of one round, one per lane.
#[derive(Clone, Copy)]
struct Round<'a> {
    points: [&'a AffinePoint; 8],
    negative: Mask,
}

impl<'a> Round<'a> {
    fn set(&mut self, lane: usize, table: &'a [AffinePoint], digit: Digit) {
        let point = &table[digit.index as usize];
        prefetch(point);
        self.points[lane] = point;
        self.negative |= u8::from(digit.negative) << lane;
    }
}

/// Adds up what the digits name, up to the last doublings and the correction: one sum per position.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
pub(super) fn combine(digits: &Digits, table: &SignerTable) -> [XyzzPoint; SPACING] {
    let generator = generator_table();
    let signer = &table.points;
    let unset = Round {
        points: [&signer[0]; 8],
        negative: 0,
    };
    let mut rounds = [unset; 6];
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
    positions(&rounds)
}

/// The sums of the four positions, least significant first.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
fn positions(rounds: &[Round<'_>; 6]) -> [XyzzPoint; SPACING] {
    let load = |round: &Round<'_>| AffineVector::load(round.points, round.negative);
    let mut sum = load(&rounds[0]).add(&load(&rounds[1]));
    // The endomorphism of the sum is the sum of the endomorphisms.
    sum.x = sum.x.mul(&FieldVector::splat(&FieldElement::BETA));
    for round in &rounds[2..] {
        sum.add_affine(&load(round));
    }
    sum.apply_signs();
    let other = XyzzVector {
        x: FieldVector(exchange::<1>(&sum.x.0)),
        y: FieldVector(exchange::<1>(&sum.y.0)),
        zz: FieldVector(exchange::<1>(&sum.zz.0)),
        zzz: FieldVector(exchange::<1>(&sum.zzz.0)),
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

/// Horner: each position counts twice the one below. Then the correction.
pub(super) fn join(
    positions: &[XyzzPoint; SPACING],
    digits: &Digits,
    table: &SignerTable,
) -> XyzzPoint {
    let [lower @ .., top] = positions;
    let sum = lower
        .iter()
        .rev()
        .fold(*top, |sum, position| sum.double().add(position));
    match digits.correction {
        Some(digit) => {
            let point = &table.points[digit.index as usize];
            sum.add_affine(&point.neg_if(digit.negative))
        }
        None => sum,
    }
}
