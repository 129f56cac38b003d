//! Up to 64 claims in groups of eight, one claim per lane.

use super::super::claim::{Claim, Verdict};
use super::super::field::FieldElement;
use super::super::point;
use super::super::tables::{GENERATOR_BLOCKS, SIGNER_BLOCKS, SignerTable, generator_table};
use super::lanes::FieldVector;
use super::points::XyzzVector;
use super::scalars::{self, ScalarVector};
use super::steps::Group;
use super::words::{Mask, zero};
use super::{MAX_BATCH, recode};

const GROUPS: usize = MAX_BATCH / 8;

/// Judges at most [`MAX_BATCH`] claims.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn verify(claims: &[Claim<'_>], verdicts: &mut [Verdict]) {
    debug_assert!(claims.len() <= MAX_BATCH && claims.len() == verdicts.len());
    let Some(spare) = claims.first() else {
        return;
    };
    let count = claims.len().div_ceil(8);
    // Lanes without a claim repeat the first one.
    let lanes = |group: usize| -> [&Claim<'_>; 8] {
        core::array::from_fn(|lane| claims.get(8 * group + lane).unwrap_or(spare))
    };

    let mut inverses: [ScalarVector; GROUPS] = [[zero(); 5]; GROUPS];
    let mut prefixes = inverses;
    for (group, inverse) in inverses[..count].iter_mut().enumerate() {
        *inverse = scalars::load(&lanes(group).map(|claim| claim.s));
    }
    scalars::invert_all(&mut inverses[..count], &mut prefixes[..count]);

    let generator = generator_table();
    let mut groups = [Group::EMPTY; GROUPS];
    for (index, group) in groups[..count].iter_mut().enumerate() {
        let claims = lanes(index);
        let message = scalars::load(&claims.map(|claim| claim.message));
        let r = scalars::load(&claims.map(|claim| claim.r));
        recode::digits(&message, &r, &inverses[index], group);
        group.prefetch(generator, &claims.map(|claim| claim.table));
    }

    let one = FieldVector::one();
    let empty = XyzzVector {
        x: one,
        y: one,
        zz: one,
        zzz: one,
        negative: 0,
    };
    let mut sums = [empty; GROUPS];
    for (index, sum) in sums[..count].iter_mut().enumerate() {
        *sum = combine(&groups[index], &lanes(index).map(|claim| claim.table));
    }
    let depths = inverse_depths(&sums[..count]);
    for (index, verdicts) in verdicts.chunks_mut(8).enumerate() {
        judge(&lanes(index), &sums[index], &depths[index], verdicts);
    }
}

/// Adds up what the steps name.
#[target_feature(enable = "avx512f,avx512ifma")]
fn combine(group: &Group, tables: &[&SignerTable; 8]) -> XyzzVector {
    const FIRST: usize = GENERATOR_BLOCKS;
    const SECOND: usize = GENERATOR_BLOCKS + SIGNER_BLOCKS;
    let generator = generator_table();
    let beta = FieldVector::splat(&FieldElement::BETA);
    let [lower @ .., top] = group.rows();
    let mut sum = top[0].shared(generator).add(&top[1].shared(generator));
    let mut skip = 2;
    for (index, row) in core::iter::once(top).chain(lower.iter().rev()).enumerate() {
        if index > 0 {
            sum = sum.double();
            skip = 0;
        }
        for step in &row[skip..FIRST] {
            sum = sum.add_affine(&step.shared(generator));
        }
        for step in &row[FIRST..SECOND] {
            sum = sum.add_affine(&step.own(tables));
        }
        for step in &row[SECOND..] {
            sum = sum.add_affine(&step.own(tables).endomorphism(&beta));
        }
    }
    let corrected = sum.add_affine(&group.correction.own(tables));
    sum.blend(group.corrected, &corrected)
}

/// The inverses of all ZZZ with one inversion; exceptional lanes take part as one.
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_depths(sums: &[XyzzVector]) -> [FieldVector; GROUPS] {
    let one = FieldVector::one();
    let mut depths = [one; GROUPS];
    let mut inverses = [one; GROUPS];
    let mut product = one;
    for (index, sum) in sums.iter().enumerate() {
        depths[index] = sum.zzz.blend(sum.zz.zero_lanes(), &one);
        inverses[index] = product;
        product = product.mul(&depths[index]);
    }
    let mut lanes = product.to_lanes();
    point::invert_all(&mut lanes, &mut [FieldElement::ONE; 8]);
    let mut inverse = FieldVector::from_lanes(&lanes);
    for index in (0..sums.len()).rev() {
        inverses[index] = inverse.mul(&inverses[index]);
        inverse = inverse.mul(&depths[index]);
    }
    inverses
}

/// The rule of the scalar code in eight lanes.
#[target_feature(enable = "avx512f,avx512ifma")]
fn judge(
    claims: &[&Claim<'_>; 8],
    sum: &XyzzVector,
    inverse_zzz: &FieldVector,
    verdicts: &mut [Verdict],
) {
    let exceptional = sum.zz.zero_lanes();
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
