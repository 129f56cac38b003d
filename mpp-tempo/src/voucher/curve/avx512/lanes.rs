//! Field arithmetic in eight lanes: five limbs of 52 bits, little endian.
//!
//! A *weak* value has its lower limbs below 2^52 and its top limb at most 2^48 + 2^4. Multiplier
//! inputs need lower limbs below 2^52 and a top limb below 2^51: weak values, and the carried sums
//! and differences of a few of them. The 260 bits leave four to spare above p; 2^260 folds to
//! 16 (2^256 - p).

use core::arch::x86_64::{_mm512_mask_mov_epi64, _mm512_mask_sub_epi64};

use super::super::field::{FOLD, MODULUS};
use super::convert::limbs52;
use super::words::{Mask, Word, add, and, mul_high, mul_low, shr, splat, sub, zero};

/// Low 52 bits: a full limb.
pub(super) const LIMB: u64 = (1 << 52) - 1;
/// Low 48 bits: what the top limb holds of 256.
pub(super) const TOP: u64 = (1 << 48) - 1;
/// The limbs of p.
const P: [u64; 5] = limbs52(&MODULUS);

/// Five limbs that nobody has carried yet, below 2^60 each.
pub(super) type Limbs = [Word; 5];

/// Eight field elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldVector(pub(super) Limbs);

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn zeros() -> Limbs {
    [zero(); 5]
}

/// Moves what exceeds 52 bits to the next limb; the top limb keeps its excess.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn carry(mut t: Limbs) -> FieldVector {
    let mask = splat(LIMB);
    for i in 0..4 {
        t[i + 1] = add(t[i + 1], shr::<52>(t[i]));
        t[i] = and(t[i], mask);
    }
    FieldVector(t)
}

/// Folds what exceeds 2^256, then carries: a weak value.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn carry_weak(mut t: Limbs) -> FieldVector {
    // At most 12 bits above 2^256, so the product with FOLD fits the lowest limb.
    let excess = shr::<48>(t[4]);
    t[4] = and(t[4], splat(TOP));
    t[0] = mul_low(t[0], excess, splat(FOLD));
    carry(t)
}

/// Adds the 25 products of limbs to their columns; a column gains less than 10 x 2^52.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn add_product(columns: &mut [Word; 10], a: &Limbs, b: &Limbs) {
    for i in 0..5 {
        for j in 0..5 {
            columns[i + j] = mul_low(columns[i + j], a[i], b[j]);
            columns[i + j + 1] = mul_high(columns[i + j + 1], a[i], b[j]);
        }
    }
}

/// The columns of a square: mixed products once and doubled.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn square_columns(a: &Limbs) -> [Word; 10] {
    let mut columns = [zero(); 10];
    for i in 0..5 {
        for j in i + 1..5 {
            columns[i + j] = mul_low(columns[i + j], a[i], a[j]);
            columns[i + j + 1] = mul_high(columns[i + j + 1], a[i], a[j]);
        }
    }
    for column in &mut columns[1..9] {
        *column = add(*column, *column);
    }
    for i in 0..5 {
        columns[2 * i] = mul_low(columns[2 * i], a[i], a[i]);
        columns[2 * i + 1] = mul_high(columns[2 * i + 1], a[i], a[i]);
    }
    columns
}

/// Folds the upper five columns into the lower five: a weak value.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn fold(mut t: [Word; 10]) -> FieldVector {
    // The multiplier reads 52 bits only, so the upper columns are carried but not masked.
    for i in 5..9 {
        t[i + 1] = add(t[i + 1], shr::<52>(t[i]));
    }
    let factor = splat(16 * FOLD);
    // The top column's high product lands on 2^260 again.
    let overflow = mul_high(zero(), t[9], factor);
    for i in 0..5 {
        t[i] = mul_low(t[i], t[i + 5], factor);
        if i < 4 {
            t[i + 1] = mul_high(t[i + 1], t[i + 5], factor);
        }
    }
    t[0] = mul_low(t[0], overflow, factor);
    t[1] = mul_high(t[1], overflow, factor);
    carry_weak([t[0], t[1], t[2], t[3], t[4]])
}

impl FieldVector {
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn mul(&self, other: &Self) -> Self {
        let mut columns = [zero(); 10];
        add_product(&mut columns, &self.0, &other.0);
        fold(columns)
    }

    /// `self other + addend`; the addend's limbs are below 2^58.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn mul_add(&self, other: &Self, addend: Limbs) -> Self {
        let [a, b, c, d, e] = addend;
        let z = zero();
        let mut columns = [a, b, c, d, e, z, z, z, z, z];
        add_product(&mut columns, &self.0, &other.0);
        fold(columns)
    }

    /// `a b + c d` with one reduction.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn sum_of_products(a: &Self, b: &Self, c: &Self, d: &Self) -> Self {
        let mut columns = [zero(); 10];
        add_product(&mut columns, &a.0, &b.0);
        add_product(&mut columns, &c.0, &d.0);
        fold(columns)
    }

    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn square(&self) -> Self {
        fold(square_columns(&self.0))
    }

    /// `self^2 + addend`; the addend's limbs are below 2^58.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn square_add(&self, addend: Limbs) -> Self {
        let mut columns = square_columns(&self.0);
        for (column, addend) in columns.iter_mut().zip(addend) {
            *column = add(*column, addend);
        }
        fold(columns)
    }

    /// The limbs of `2 p - self` for a weak value.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn negated(&self) -> Limbs {
        let mut t = zeros();
        for i in 0..5 {
            t[i] = sub(splat(2 * P[i]), self.0[i]);
        }
        t
    }

    /// The limbs of `4 p - 2 self` for a weak value.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn negated_double(&self) -> Limbs {
        let mut t = zeros();
        for i in 0..5 {
            t[i] = sub(splat(4 * P[i]), add(self.0[i], self.0[i]));
        }
        t
    }

    /// The limbs of `4 p - self - other` for weak values.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn negated_sum(&self, other: &Self) -> Limbs {
        let mut t = zeros();
        for i in 0..5 {
            t[i] = sub(splat(4 * P[i]), add(self.0[i], other.0[i]));
        }
        t
    }

    /// The limbs of `8 p - self - 2 other` for weak values.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn negated_with_double(&self, other: &Self) -> Limbs {
        let mut t = zeros();
        for i in 0..5 {
            let twice = add(other.0[i], other.0[i]);
            t[i] = sub(sub(splat(8 * P[i]), self.0[i]), twice);
        }
        t
    }

    /// `self - other` of weak values, as a multiplier input.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn sub_input(&self, other: &Self) -> Self {
        self.add_input(other.negated())
    }

    /// `self - other`, or `-self - other` in the lanes of `mask`, of weak values, as a multiplier
    /// input.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn signed_sub_input(&self, mask: Mask, other: &Self) -> Self {
        let mut t = zeros();
        for i in 0..5 {
            let lifted = sub(splat(4 * P[i]), other.0[i]);
            t[i] = _mm512_mask_sub_epi64(add(lifted, self.0[i]), mask, lifted, self.0[i]);
        }
        carry(t)
    }

    /// `self + addend` of a weak value and limbs below 2^54, as a multiplier input.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn add_input(&self, addend: Limbs) -> Self {
        let mut t = self.0;
        for (limb, addend) in t.iter_mut().zip(addend) {
            *limb = add(*limb, addend);
        }
        carry(t)
    }

    /// `self - other` of weak values, weak.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn sub(&self, other: &Self) -> Self {
        let mut t = self.0;
        for (limb, addend) in t.iter_mut().zip(other.negated()) {
            *limb = add(*limb, addend);
        }
        carry_weak(t)
    }

    /// Limbs of the element, or of its negative in the lanes of `mask`.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    fn negate_lanes(&self, mask: Mask) -> Limbs {
        let mut t = self.0;
        for i in 0..5 {
            t[i] = _mm512_mask_sub_epi64(self.0[i], mask, splat(2 * P[i]), self.0[i]);
        }
        t
    }

    /// Negated in the lanes of `mask`, as a multiplier input.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn negate_input(&self, mask: Mask) -> Self {
        carry(self.negate_lanes(mask))
    }

    /// Negated in the lanes of `mask`, weak.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn negate(&self, mask: Mask) -> Self {
        carry_weak(self.negate_lanes(mask))
    }

    /// `other` in the lanes of `mask`, else `self`.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn blend(&self, mask: Mask, other: &Self) -> Self {
        let mut t = self.0;
        for i in 0..5 {
            t[i] = _mm512_mask_mov_epi64(self.0[i], mask, other.0[i]);
        }
        Self(t)
    }
}
