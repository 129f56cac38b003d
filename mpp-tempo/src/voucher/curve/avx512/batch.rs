//! Up to 64 claims in groups of eight, one claim per lane.

use super::super::claim::{Claim, Verdict};
use super::super::comb::SPACING;
use super::super::field::FieldElement;
use super::super::tables::SignerTable;
use super::lanes::FieldVector;
use super::points::XyzzVector;
use super::scalars::{self, ScalarVector};
use super::steps::Group;
use super::tree::Forest;
use super::words::{Mask, zero};
use super::{MAX_BATCH, recode};

/// Judges at most [`MAX_BATCH`] claims.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
pub(super) fn verify(claims: &[Claim<'_>], verdicts: &mut [Verdict]) {
    debug_assert!(claims.len() <= MAX_BATCH && claims.len() == verdicts.len());
    let Some(spare) = claims.first() else {
        return;
    };
    // The scratch space is on the stack: no more of it than these claims need.
    match claims.len().div_ceil(8) {
        1 => verify_groups::<1>(claims, spare, verdicts),
        2 => verify_groups::<2>(claims, spare, verdicts),
        3 | 4 => verify_groups::<4>(claims, spare, verdicts),
        _ => verify_groups::<{ MAX_BATCH / 8 }>(claims, spare, verdicts),
    }
}

/// Judges at most 8 `GROUPS` claims; `spare` is one of them.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
fn verify_groups<const GROUPS: usize>(
    claims: &[Claim<'_>],
    spare: &Claim<'_>,
    verdicts: &mut [Verdict],
) {
    let count = claims.len().div_ceil(8);
    // Lanes without a claim repeat one.
    let lanes: [[&Claim<'_>; 8]; GROUPS] = core::array::from_fn(|group| {
        core::array::from_fn(|lane| claims.get(8 * group + lane).unwrap_or(spare))
    });
    let tables = lanes.map(|claims| claims.map(|claim| claim.table));
    let mut groups = [Group::EMPTY; GROUPS];
    recode_all(&lanes, count, &mut groups);

    let mut forest = Forest::<GROUPS>::new(count);
    forest.grow(&groups, &tables);
    let mut sums = [XyzzVector::unset(); GROUPS];
    for (index, sum) in sums[..count].iter_mut().enumerate() {
        join(&forest, index, sum);
        correct(&groups[index], &tables[index], sum);
    }
    let depths = inverse_depths(&sums);
    for (index, verdicts) in verdicts.chunks_mut(8).enumerate() {
        let exceptional = forest.exceptional[index] | sums[index].zz.zero_lanes();
        judge(
            &lanes[index],
            &sums[index],
            exceptional,
            &depths[index],
            verdicts,
        );
    }
}

/// Finds out what each claim adds.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
fn recode_all<const GROUPS: usize>(
    lanes: &[[&Claim<'_>; 8]; GROUPS],
    count: usize,
    groups: &mut [Group; GROUPS],
) {
    let mut inverses: [ScalarVector; GROUPS] = [[zero(); 5]; GROUPS];
    let mut prefixes = inverses;
    for (lanes, inverse) in lanes[..count].iter().zip(&mut inverses) {
        *inverse = scalars::load(&lanes.map(|claim| claim.s));
    }
    scalars::invert_all(&mut inverses[..count], &mut prefixes[..count]);
    for (index, group) in groups[..count].iter_mut().enumerate() {
        let message = scalars::load(&lanes[index].map(|claim| claim.message));
        let r = scalars::load(&lanes[index].map(|claim| claim.r));
        recode::digits(&message, &r, &inverses[index], group);
    }
}

/// Horner over the comb positions: each counts twice the one below.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
fn join<const GROUPS: usize>(forest: &Forest<GROUPS>, group: usize, sum: &mut XyzzVector) {
    for position in (0..SPACING).rev() {
        let mut points = forest.left(group, position);
        if position + 1 < SPACING {
            sum.double();
        } else if let Some(first) = points.next() {
            *sum = XyzzVector::from_affine(first);
        }
        for point in points {
            sum.add_affine(point);
        }
    }
}

/// Undoes the rounding of even halves.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
fn correct(group: &Group, tables: &[&SignerTable; 8], sum: &mut XyzzVector) {
    let mut corrected = *sum;
    corrected.add_affine(&group.correction.own(tables));
    sum.replace_lanes(group.corrected, &corrected);
}

/// The inverses of all ZZZ with one inversion; exceptional lanes take part as one.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
fn inverse_depths<const GROUPS: usize>(sums: &[XyzzVector; GROUPS]) -> [FieldVector; GROUPS] {
    let one = FieldVector::one();
    let mut depths = [one; GROUPS];
    let mut inverses = [one; GROUPS];
    let mut product = one;
    for (index, sum) in sums.iter().enumerate() {
        depths[index] = sum.zzz.blend(sum.zz.zero_lanes(), &one);
        inverses[index] = product;
        product = product.mul(&depths[index]);
    }
    let mut inverse = product.invert_lanes();
    for index in (0..sums.len()).rev() {
        inverses[index] = inverse.mul(&inverses[index]);
        inverse = inverse.mul(&depths[index]);
    }
    inverses
}

/// The rule of the scalar code in eight lanes.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
fn judge(
    claims: &[&Claim<'_>; 8],
    sum: &XyzzVector,
    exceptional: Mask,
    inverse_zzz: &FieldVector,
    verdicts: &mut [Verdict],
) {
    let r = FieldVector::from_lanes(&claims.map(|claim| FieldElement(claim.r.0)));
    let x_matches = r.mul(&sum.zz).sub(&sum.x).zero_lanes();
    // Negating a nonzero y changes its parity.
    let odd = sum.y.mul(inverse_zzz).odd_lanes() ^ sum.negative;
    let lane = |mask: Mask, lane: usize| mask >> lane & 1 == 1;
    for (index, verdict) in verdicts.iter_mut().enumerate() {
        *verdict = if lane(exceptional, index) {
            Verdict::Undecided
        } else if lane(x_matches, index) && lane(odd, index) == claims[index].y_is_odd {
            Verdict::Valid
        } else {
            Verdict::Invalid
        };
    }
}
