//! Lanes against the scalar code, at the edges of what the limbs may hold.

use proptest::prelude::*;

use std::vec::Vec;

use super::super::comb::SPACING;
use super::super::digits::{Digit, Digits};
use super::super::field::FieldElement;
use super::super::limbs;
use super::super::point::XyzzPoint;
use super::super::scalar::Scalar;
use super::super::tables::{SignerTable, generator_table};
use super::super::testing::bytes32;
use super::lanes::FieldVector;
use super::steps::{COLUMNS, FIRST, Group, SECOND, Step};
use super::tree::Forest;
use super::words::{Mask, load_words};
use super::*;
use super::{recode, scalars};

type Lanes = [FieldElement; 8];

fn eight() -> impl Strategy<Value = [[u8; 32]; 8]> {
    proptest::array::uniform8(bytes32())
}

fn each(a: &Lanes, b: &Lanes, f: impl Fn(&FieldElement, &FieldElement) -> FieldElement) -> Lanes {
    core::array::from_fn(|lane| f(&a[lane], &b[lane]))
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
fn check_field(a: &Lanes, b: &Lanes) {
    let (x, y) = (FieldVector::from_lanes(a), FieldVector::from_lanes(b));
    assert_eq!(x.to_lanes(), *a);
    let product = each(a, b, FieldElement::mul);
    assert_eq!(x.mul(&y).to_lanes(), product);
    assert_eq!(x.square().to_lanes(), each(a, a, FieldElement::mul));
    assert_eq!(x.sub(&y).to_lanes(), each(a, b, FieldElement::sub));
    let plus = |p: &Lanes, q: &Lanes| each(p, q, FieldElement::add);
    let minus = |p: &Lanes, q: &Lanes| each(p, q, FieldElement::sub);

    assert_eq!(x.mul_add(&y, x.negated()).to_lanes(), minus(&product, a));
    let both = FieldVector::sum_of_products(&x, &y, &x, &x);
    assert_eq!(
        both.to_lanes(),
        plus(&product, &each(a, a, FieldElement::mul))
    );
    let combined = x.square_add(y.negated_with_double(&x));
    let expected = minus(&minus(&minus(&each(a, a, FieldElement::mul), b), a), a);
    assert_eq!(combined.to_lanes(), expected);
    let summed = x.square_add(x.negated_sum(&y));
    let expected = minus(&minus(&each(a, a, FieldElement::mul), a), b);
    assert_eq!(summed.to_lanes(), expected);
    let doubled = x.square_add(y.negated_double());
    let expected = minus(&minus(&each(a, a, FieldElement::mul), b), b);
    assert_eq!(doubled.to_lanes(), expected);

    // The widest multiplier inputs that the point formulas make.
    let (wide, narrow) = (x.sub_input(&y), minus(a, b));
    assert_eq!(
        wide.square().to_lanes(),
        each(&narrow, &narrow, FieldElement::mul)
    );
    let tripled = x.add_input(x.add_input(x.0).0);
    let expected = plus(&plus(a, a), a);
    assert_eq!(
        tripled.mul(&wide).to_lanes(),
        each(&expected, &narrow, FieldElement::mul)
    );

    const SOME: Mask = 0b0101_1010;
    let signed: Lanes = core::array::from_fn(|i| a[i].neg_if(SOME >> i & 1 == 1));
    let fall = x.signed_sub_input(SOME, &y);
    let expected = each(&minus(&signed, b), b, FieldElement::mul);
    assert_eq!(fall.mul(&y).to_lanes(), expected);
    assert_eq!(x.negate(SOME).to_lanes(), signed);
    assert_eq!(
        x.negate_input(SOME).mul(&FieldVector::one()).to_lanes(),
        signed
    );
    let blended: Lanes = core::array::from_fn(|i| if SOME >> i & 1 == 1 { b[i] } else { a[i] });
    assert_eq!(x.blend(SOME, &y).to_lanes(), blended);

    let nonzero: Lanes = core::array::from_fn(|i| if a[i].is_zero() { b[i] } else { a[i] });
    if nonzero.iter().all(|element| !element.is_zero()) {
        let inverses = FieldVector::from_lanes(&nonzero).invert_lanes().to_lanes();
        assert_eq!(inverses, nonzero.map(|element| element.invert()));
    }

    let bits = |f: &dyn Fn(&FieldElement) -> bool| {
        (0..8).fold(0u8, |mask, i| mask | u8::from(f(&a[i])) << i)
    };
    assert_eq!(x.zero_lanes(), bits(&FieldElement::is_zero));
    assert_eq!(x.odd_lanes(), bits(&FieldElement::is_odd));
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
fn check_digits(messages: &[Scalar; 8], rs: &[Scalar; 8], ss: &[Scalar; 8]) {
    // Two groups share the inversion.
    let mut inverses = [scalars::load(ss), scalars::load(rs)];
    let mut prefixes = inverses;
    scalars::invert_all(&mut inverses, &mut prefixes);
    let mut group = Group::EMPTY;
    let (message, r) = (scalars::load(messages), scalars::load(rs));
    recode::digits(&message, &r, &inverses[0], &mut group);
    for lane in 0..8 {
        let inverse = ss[lane].invert();
        let (u1, u2) = (messages[lane].mul(&inverse), rs[lane].mul(&inverse));
        let expected = Digits::new(&u1, &u2);
        for (got, row) in group.rows().iter().zip(&expected.rows) {
            let row = row.generator.iter().chain(&row.first).chain(&row.second);
            for (step, digit) in got.iter().zip(row) {
                assert_eq!(step.digit(lane), *digit, "{u1:x?} {u2:x?}");
            }
        }
        let corrected = group.corrected >> lane & 1 == 1;
        let correction: Option<Digit> = corrected.then(|| group.correction.digit(lane));
        assert_eq!(correction, expected.correction);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn lanes_equal_the_scalar_field(a in eight(), b in eight()) {
        if Avx512::detect().is_some() {
            let lanes = |bytes: &[[u8; 32]; 8]| {
                core::array::from_fn(|i| FieldElement::from_be_bytes(&bytes[i]))
            };
            // SAFETY: the CPU has the features.
            unsafe { check_field(&lanes(&a), &lanes(&b)) }
        }
    }

    #[test]
    fn digits_equal_those_of_the_scalar_code(e in eight(), r in eight(), s in eight()) {
        if Avx512::detect().is_some() {
            let lanes = |bytes: &[[u8; 32]; 8]| {
                core::array::from_fn(|i| {
                    let scalar = Scalar(scalar_limbs(&bytes[i]));
                    if scalar.is_zero() { Scalar::ONE } else { scalar }
                })
            };
            // SAFETY: the CPU has the features.
            unsafe { check_digits(&lanes(&e), &lanes(&r), &lanes(&s)) }
        }
    }
}

/// The table entries of one lane at one position, as scalar points.
fn entries(
    group: &Group,
    tables: &[&SignerTable; 8],
    position: usize,
    lane: usize,
) -> Vec<AffinePoint> {
    let steps = group.rows()[position].iter().enumerate();
    let point = |(column, step): (usize, &Step)| {
        let digit = step.digit(lane);
        let index = digit.index as usize;
        let point = if column < FIRST {
            generator_table()[index]
        } else {
            tables[lane].points[index]
        };
        let point = point.neg_if(digit.negative);
        if column < SECOND {
            point
        } else {
            point.endomorphism()
        }
    };
    steps.map(point).collect()
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
fn check_forest<const GROUPS: usize>(count: usize, collisions: &[(usize, usize, usize, usize)]) {
    let key = |index: usize| generator_table()[1000 * index + 7];
    let owned: [_; 8] = core::array::from_fn(|lane| SignerTable::boxed(&key(lane)));
    let tables: [&SignerTable; 8] = core::array::from_fn(|lane| &*owned[lane]);
    let mut groups = [Group::EMPTY; GROUPS];
    let mut state = 1u64;
    for group in &mut groups {
        for position in 0..SPACING {
            for column in 0..COLUMNS {
                // Every column has a block of its own, as real digits do.
                let size = if column < FIRST { 1 << 15 } else { 1 << 7 };
                let indices = core::array::from_fn(|_| {
                    state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(99);
                    (column as u64 % 4) * size + (state >> 33) % size
                });
                let step = Step::new(load_words(&indices), (state >> 20) as u8);
                *group.step(position, column) = step;
            }
        }
    }
    let mut exceptional = [0; GROUPS];
    for &(group, position, column, lane) in collisions {
        // The left entry of a pair again: a doubling, or infinity if the signs differ.
        let left = *groups[group].step(position, column);
        groups[group]
            .step(position, column + 1)
            .copy_lane(&left, lane);
        exceptional[group] |= 1 << lane;
    }
    let mut forest = Forest::<GROUPS>::new(count);
    forest.grow(&groups, &[tables; GROUPS]);
    assert_eq!(forest.exceptional, exceptional);
    for (group, steps) in groups[..count].iter().enumerate() {
        for position in 0..SPACING {
            let left: Vec<_> = forest.left(group, position).collect();
            for lane in (0..8).filter(|lane| exceptional[group] >> lane & 1 == 0) {
                let got = left.iter().map(|point| AffinePoint {
                    x: point.x.to_lanes()[lane],
                    y: point.y.to_lanes()[lane].neg_if(point.negative >> lane & 1 == 1),
                });
                let got: Vec<_> = got.collect();
                let expected = total(&entries(steps, &tables, position, lane));
                assert_eq!(total(&got), expected, "{group} {position} {lane}");
            }
        }
    }
}

/// The sum of points of which no partial sum is exceptional.
fn total(points: &[AffinePoint]) -> AffinePoint {
    let [first, rest @ ..] = points else {
        panic!("no points");
    };
    let sum = rest
        .iter()
        .fold(XyzzPoint::from_affine(first), |sum, point| {
            sum.add_affine(point)
        });
    sum.to_affine(&sum.zzz.invert())
}

#[test]
fn trees_of_every_height_add_up_beside_exceptional_lanes() {
    if Avx512::detect().is_none() {
        return;
    }
    // SAFETY: the CPU has the features.
    unsafe {
        check_forest::<1>(1, &[]);
        check_forest::<1>(1, &[(0, 2, 4, 5)]);
        check_forest::<2>(2, &[(1, 0, 8, 0), (0, 3, 10, 7)]);
        check_forest::<4>(3, &[(2, 1, 0, 3)]);
        check_forest::<4>(4, &[(0, 1, 2, 3), (1, 1, 2, 3)]);
        check_forest::<8>(7, &[(6, 3, 10, 1), (6, 0, 6, 2)]);
        check_forest::<8>(8, &[]);
    }
}

fn scalar_limbs(bytes: &[u8; 32]) -> limbs::Limbs {
    Scalar::from_be_bytes_reduced(bytes).0
}
