//! The field of the curve: integers modulo p = 2^256 - 2^32 - 977.
//!
//! 2^256 = 2^32 + 977 modulo p, so whatever leaves the top comes back at the bottom multiplied by
//! that small number. Values are kept below 2^256, not below p: only [`FieldElement::normalize`]
//! gives the one canonical form, and comparisons go through it.

use super::limbs::{self, Limbs};
use super::safegcd;

/// `2^256 - p`.
pub(super) const FOLD: u64 = 0x1_0000_03d1;
/// The modulus.
pub(super) const MODULUS: Limbs = [0xffff_fffe_ffff_fc2f, u64::MAX, u64::MAX, u64::MAX];

/// An integer modulo p, stored as any representative below 2^256.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct FieldElement(pub(super) Limbs);

impl FieldElement {
    pub(super) const ZERO: Self = Self([0; 4]);
    pub(super) const ONE: Self = Self([1, 0, 0, 0]);
    /// A cube root of one: `(x, y) -> (BETA x, y)` multiplies a point by lambda.
    pub(super) const BETA: Self = Self([
        0xc139_6c28_7195_01ee,
        0x9cf0_4975_12f5_8995,
        0x6e64_479e_ac34_34e9,
        0x7ae9_6a2b_657c_0710,
    ]);

    /// Reads 32 big-endian bytes.
    pub(super) fn from_be_bytes(bytes: &[u8; 32]) -> Self {
        Self(limbs::from_be_bytes(bytes))
    }

    /// The canonical value in 32 big-endian bytes.
    #[cfg(test)]
    pub(super) fn to_be_bytes(self) -> [u8; 32] {
        limbs::to_be_bytes(&self.normalize().0)
    }

    #[inline(always)]
    pub(super) fn mul(&self, other: &Self) -> Self {
        Self(reduce(&limbs::mul_wide(&self.0, &other.0)))
    }

    #[inline(always)]
    pub(super) fn square(&self) -> Self {
        Self(reduce(&limbs::square_wide(&self.0)))
    }

    #[inline(always)]
    pub(super) fn add(&self, other: &Self) -> Self {
        let (sum, carry) = limbs::add(&self.0, &other.0);
        // Two representatives may exceed 2^256 twice; after the second fold the value is tiny.
        let (mut sum, carry) = limbs::add(&sum, &[fold_if(carry), 0, 0, 0]);
        sum[0] = sum[0].wrapping_add(fold_if(carry));
        Self(sum)
    }

    #[inline(always)]
    pub(super) fn double(&self) -> Self {
        self.add(self)
    }

    #[inline(always)]
    pub(super) fn sub(&self, other: &Self) -> Self {
        let (difference, borrow) = limbs::sub(&self.0, &other.0);
        let (mut difference, borrow) = limbs::sub(&difference, &[fold_if(borrow), 0, 0, 0]);
        // After a second borrow the value is within 2^33 of 2^256.
        difference[0] = difference[0].wrapping_sub(fold_if(borrow));
        Self(difference)
    }

    #[inline(always)]
    pub(super) fn neg(&self) -> Self {
        Self::ZERO.sub(self)
    }

    /// `-self` where `negative`, without a branch: signs of comb digits are random.
    #[inline(always)]
    pub(super) fn neg_if(&self, negative: bool) -> Self {
        let mask = u64::from(negative).wrapping_neg();
        let negated = self.neg();
        Self(core::array::from_fn(|i| {
            self.0[i] ^ ((self.0[i] ^ negated.0[i]) & mask)
        }))
    }

    /// The representative below p.
    #[inline(always)]
    pub(super) fn normalize(&self) -> Self {
        // value + (2^256 - p) passes 2^256 exactly if value >= p.
        let (reduced, at_least_p) = limbs::add(&self.0, &[FOLD, 0, 0, 0]);
        if at_least_p { Self(reduced) } else { *self }
    }

    #[inline(always)]
    pub(super) fn is_zero(&self) -> bool {
        limbs::is_zero(&self.normalize().0)
    }

    #[inline(always)]
    pub(super) fn is_odd(&self) -> bool {
        self.normalize().0[0] & 1 == 1
    }

    /// The inverse; zero for zero. Not constant time: everything here is public.
    #[inline(always)]
    pub(super) fn invert(&self) -> Self {
        Self(safegcd::invert(&self.normalize().0, &safegcd::FIELD))
    }
}

impl PartialEq for FieldElement {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.sub(other).is_zero()
    }
}

impl Eq for FieldElement {}

#[inline(always)]
const fn fold_if(carry: bool) -> u64 {
    if carry { FOLD } else { 0 }
}

/// Folds 512 bits below 2^256.
#[inline(always)]
fn reduce(wide: &[u64; 8]) -> Limbs {
    let (r0, c) = wide[4].carrying_mul_add(FOLD, wide[0], 0);
    let (r1, c) = wide[5].carrying_mul_add(FOLD, wide[1], c);
    let (r2, c) = wide[6].carrying_mul_add(FOLD, wide[2], c);
    let (r3, top) = wide[7].carrying_mul_add(FOLD, wide[3], c);
    // top < 2^34, so its fold has less than 68 bits.
    let (low, high) = top.carrying_mul(FOLD, 0);
    let (mut folded, carry) = limbs::add(&[r0, r1, r2, r3], &[low, high, 0, 0]);
    // After a carry less than 2^68 is left, so this last fold ends in the second limb.
    let (r0, carry) = folded[0].overflowing_add(fold_if(carry));
    folded[0] = r0;
    folded[1] = folded[1].wrapping_add(u64::from(carry));
    folded
}

#[cfg(test)]
mod tests;
