//! Scalars in eight lanes: Montgomery products and shared inversion.
//!
//! Scalars are five limbs of 52 bits in Montgomery form with R = 2^260. A product of two numbers
//! below n + 2^253 is again below that bound.

use super::super::field::FieldElement;
use super::super::scalar::{ORDER, Scalar};
use super::convert::{exchange, join, limbs52};
use super::inverse;
use super::lanes::{FieldVector, LIMB};
use super::words::{Word, add, and, mul_high, mul_low, shr, splat, store_words, zero};

/// Eight scalars below n + 2^253.
pub(super) type ScalarVector = [Word; 5];

/// The limbs of n.
pub(super) const N: [u64; 5] = limbs52(&ORDER);
/// -1 / n modulo 2^52.
const MINUS_INVERSE: u64 = {
    let mut x = 1u64;
    let mut step = 0;
    while step < 6 {
        x = x.wrapping_mul(2u64.wrapping_sub(ORDER[0].wrapping_mul(x)));
        step += 1;
    }
    x.wrapping_neg() & LIMB
};
/// `2^260` modulo n.
fn montgomery_one() -> Scalar {
    // 2^255 is below n; five doublings follow.
    let mut power = Scalar([0, 0, 0, 1 << 63]);
    for _ in 0..5 {
        power = power.double();
    }
    power
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
pub(super) fn load(lanes: &[Scalar; 8]) -> ScalarVector {
    FieldVector::from_lanes(&lanes.map(|scalar| FieldElement(scalar.0))).0
}

/// `a b / 2^260` modulo n.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn montgomery_mul(a: &ScalarVector, b: &ScalarVector) -> ScalarVector {
    let mut t = [zero(); 5];
    for i in 0..5 {
        for j in 0..5 {
            t[j] = mul_low(t[j], a[i], b[j]);
        }
        // A multiple of n that clears the lowest limb, which is then shifted out.
        let quotient = mul_low(zero(), t[0], splat(MINUS_INVERSE));
        for j in 0..5 {
            t[j] = mul_low(t[j], quotient, splat(N[j]));
        }
        let carried = shr::<52>(t[0]);
        t = [add(t[1], carried), t[2], t[3], t[4], zero()];
        for j in 0..5 {
            t[j] = mul_high(t[j], a[i], b[j]);
        }
        for j in 0..5 {
            t[j] = mul_high(t[j], quotient, splat(N[j]));
        }
    }
    carry(t)
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn carry(mut t: ScalarVector) -> ScalarVector {
    for i in 0..4 {
        t[i + 1] = add(t[i + 1], shr::<52>(t[i]));
        t[i] = and(t[i], splat(LIMB));
    }
    t
}

/// Replaces plain scalars by their inverses in Montgomery form, with one inversion in all.
///
/// None may be zero; `prefixes` is scratch space of the same length.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
pub(super) fn invert_all(values: &mut [ScalarVector], prefixes: &mut [ScalarVector]) {
    let one = montgomery_one();
    // Each product divides by R once more; the prefixes carry those powers along and they cancel.
    let mut product = load(&[one; 8]);
    for (value, prefix) in values.iter().zip(prefixes.iter_mut()) {
        *prefix = product;
        product = montgomery_mul(&product, value);
    }
    let mut inverse = invert_lanes(&product, &one);
    for (value, prefix) in values.iter_mut().zip(prefixes.iter()).rev() {
        let own = montgomery_mul(prefix, &inverse);
        inverse = montgomery_mul(&inverse, value);
        *value = own;
    }
}

/// `factor` over each lane, with one inversion: the product of all lanes is inverted, and each
/// lane gets it times the product of the others.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
fn invert_lanes(value: &ScalarVector, factor: &Scalar) -> ScalarVector {
    // Every Montgomery product divides by R; those of the way up and down cancel.
    let pairs = montgomery_mul(value, &exchange::<1>(value));
    let halves = montgomery_mul(&pairs, &exchange::<2>(&pairs));
    let all = montgomery_mul(&halves, &exchange::<4>(&halves));
    let inverse = inverse::of_scalar(&first_lane(&all)).mul(factor);
    let mut inverse = load(&[inverse; 8]);
    inverse = montgomery_mul(&inverse, &exchange::<4>(&halves));
    inverse = montgomery_mul(&inverse, &exchange::<2>(&pairs));
    montgomery_mul(&inverse, &exchange::<1>(value))
}

/// The first lane, reduced below n.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
fn first_lane(value: &ScalarVector) -> Scalar {
    let mut limbs = [0; 5];
    for (limb, word) in limbs.iter_mut().zip(value) {
        *limb = store_words(*word)[0];
    }
    Scalar::with_bit_256(join(limbs), limbs[4] >> 48 != 0)
}
