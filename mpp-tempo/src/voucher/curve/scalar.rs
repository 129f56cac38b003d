//! Scalars: integers modulo the order n of the curve, always below n.

use super::limbs::{self, Limbs};
use super::safegcd;

/// The group order n.
pub(super) const ORDER: Limbs = [
    0xbfd2_5e8c_d036_4141,
    0xbaae_dce6_af48_a03b,
    0xffff_ffff_ffff_fffe,
    u64::MAX,
];
/// `2^256 - n`: two limbs and one bit.
const FOLD: Limbs = [0x402d_a173_2fc9_bebf, 0x4551_2319_50b7_5fc4, 1, 0];

/// An integer below n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Scalar(pub(super) Limbs);

impl Scalar {
    pub(super) const ONE: Self = Self([1, 0, 0, 0]);

    /// Reads 32 big-endian bytes, reduced modulo n.
    pub(super) fn from_be_bytes_reduced(bytes: &[u8; 32]) -> Self {
        Self(subtract_order_once(limbs::from_be_bytes(bytes)))
    }

    #[cfg(test)]
    pub(super) fn to_be_bytes(self) -> [u8; 32] {
        limbs::to_be_bytes(&self.0)
    }

    #[cfg(test)]
    pub(super) fn is_zero(&self) -> bool {
        limbs::is_zero(&self.0)
    }

    pub(super) const fn is_even(&self) -> bool {
        self.0[0] & 1 == 0
    }

    #[inline(always)]
    pub(super) fn mul(&self, other: &Self) -> Self {
        Self(reduce(&limbs::mul_wide(&self.0, &other.0)))
    }

    #[cfg(any(test, target_arch = "x86_64"))]
    pub(super) fn double(&self) -> Self {
        let (sum, carry) = limbs::add(&self.0, &self.0);
        Self::with_bit_256(sum, carry)
    }

    /// `low`, plus 2^256 if `carry`, for a sum below 2 n.
    #[cfg(any(test, target_arch = "x86_64"))]
    pub(super) fn with_bit_256(low: Limbs, carry: bool) -> Self {
        if carry {
            Self(limbs::add(&low, &FOLD).0)
        } else {
            Self(subtract_order_once(low))
        }
    }

    #[cfg(test)]
    pub(super) fn neg(&self) -> Self {
        if self.is_zero() {
            *self
        } else {
            Self(limbs::sub(&ORDER, &self.0).0)
        }
    }

    /// The inverse; zero for zero. Not constant time: everything here is public.
    #[inline(always)]
    pub(super) fn invert(&self) -> Self {
        Self(safegcd::invert(&self.0, &safegcd::ORDER))
    }
}

/// Replaces every scalar by its inverse with one inversion in all (Montgomery's trick).
///
/// All must be nonzero; `prefixes` is scratch space of the same length.
#[inline(always)]
pub(super) fn invert_all(scalars: &mut [Scalar], prefixes: &mut [Scalar]) {
    debug_assert_eq!(scalars.len(), prefixes.len());
    if let [only] = scalars {
        *only = only.invert();
        return;
    }
    let mut product = Scalar::ONE;
    for (scalar, prefix) in scalars.iter().zip(prefixes.iter_mut()) {
        *prefix = product;
        product = product.mul(scalar);
    }
    let mut inverse = product.invert();
    for (scalar, prefix) in scalars.iter_mut().zip(prefixes.iter()).rev() {
        let own = inverse.mul(prefix);
        inverse = inverse.mul(scalar);
        *scalar = own;
    }
}

/// Reduces a number below 2^256, which is less than 2 n.
#[inline(always)]
pub(super) fn subtract_order_once(value: Limbs) -> Limbs {
    let (difference, below) = limbs::sub(&value, &ORDER);
    if below { value } else { difference }
}

/// Reduces 512 bits below n: every fold replaces what is above 2^256 by its product with FOLD.
#[inline(always)]
fn reduce(wide: &[u64; 8]) -> Limbs {
    // 256 high bits times 129 bits: at most 386 bits are left, seven limbs.
    let mut first = [wide[0], wide[1], wide[2], wide[3], 0, 0, 0];
    for (i, &high) in wide[4..].iter().enumerate() {
        add_folded(&mut first[i..], high);
    }
    // 130 high bits times 129 bits: at most 260 bits are left.
    let mut second = [first[0], first[1], first[2], first[3], 0, 0];
    for (i, &high) in first[4..].iter().enumerate() {
        add_folded(&mut second[i..], high);
    }
    // At most five high bits: one more fold passes 2^256 at most once, and then little is left.
    let mut third = [second[0], second[1], second[2], second[3], 0];
    add_folded(&mut third, second[4]);
    let low = [third[0], third[1], third[2], third[3]];
    if third[4] == 0 {
        subtract_order_once(low)
    } else {
        limbs::add(&low, &FOLD).0
    }
}

/// Adds `high` times [`FOLD`] at the start of `limbs` and carries to its end.
#[inline(always)]
fn add_folded(limbs: &mut [u64], high: u64) {
    let (low, carry) = high.carrying_mul_add(FOLD[0], limbs[0], 0);
    limbs[0] = low;
    let (low, carry) = high.carrying_mul_add(FOLD[1], limbs[1], carry);
    limbs[1] = low;
    let (low, carry) = high.carrying_mul_add(FOLD[2], limbs[2], carry);
    limbs[2] = low;
    let mut carry = carry;
    for limb in &mut limbs[3..] {
        let (sum, over) = limb.overflowing_add(carry);
        *limb = sum;
        carry = u64::from(over);
    }
}

#[cfg(test)]
mod tests;
