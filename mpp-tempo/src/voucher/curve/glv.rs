//! Splitting a scalar in two of half its length (Gallant, Lambert, Vanstone).
//!
//! The curve has an endomorphism that multiplies a point by lambda and costs one field
//! multiplication. With k = first + second lambda modulo n and both halves below 2^128, one comb
//! table of the point serves both halves.

use super::limbs;
use super::scalar::Scalar;

/// `round(2^384 b2 / n)` and `round(2^384 (-b1) / n)` of the lattice basis below.
const ESTIMATES: [limbs::Limbs; 2] = [
    [
        0xe893_209a_45db_b031,
        0x3daa_8a14_71e8_ca7f,
        0xe86c_90e4_9284_eb15,
        0x3086_d221_a7d4_6bcd,
    ],
    [
        0x1571_b4ae_8ac4_7f71,
        0x2212_08ac_9df5_06c6,
        0x6f54_7fa9_0abf_e4c4,
        0xe443_7ed6_010e_8828,
    ],
];

/// The basis (A1, -MINUS_B1), (A2, A1) of the lattice of all (a, b) with a + b lambda = 0.
pub(super) const A1: u128 = 0x3086_d221_a7d4_6bcd_e86c_90e4_9284_eb15;
pub(super) const MINUS_B1: u128 = 0xe443_7ed6_010e_8828_6f54_7fa9_0abf_e4c3;
/// A2 has 129 bits; this is A2 - 2^128.
pub(super) const A2_LOW: u128 = 0x14ca_50f7_a8e2_f3f6_57c1_108d_9d44_cfd8;

/// The limbs of both estimates, for the vector form.
#[cfg(target_arch = "x86_64")]
pub(super) const fn estimates() -> &'static [limbs::Limbs; 2] {
    &ESTIMATES
}

/// One half of a split scalar: sign and magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Half {
    pub(super) magnitude: u128,
    pub(super) negative: bool,
}

/// `k = halves[0] + halves[1] lambda` modulo n.
pub(super) fn split(k: &Scalar) -> [Half; 2] {
    let [c1, c2] = ESTIMATES.map(|estimate| rounded_high(k, &estimate));
    // The nearest lattice point is c1 (A1, -MINUS_B1) + c2 (A2, A1); what remains is short.
    // Both remainders have less than 129 bits with sign, so 192-bit wrapping arithmetic suffices.
    let low = [k.0[0], k.0[1], k.0[2]];
    let mut a2_product = product(c2, A2_LOW);
    a2_product[2] = a2_product[2].wrapping_add(c2 as u64);
    let first = sub(&sub(&low, &product(c1, A1)), &a2_product);
    let second = sub(&product(c1, MINUS_B1), &product(c2, A1));
    [half(first), half(second)]
}

/// `k estimate / 2^384`, rounded.
fn rounded_high(k: &Scalar, estimate: &limbs::Limbs) -> u128 {
    let wide = limbs::mul_wide(&k.0, estimate);
    let high = (u128::from(wide[7]) << 64) | u128::from(wide[6]);
    high + u128::from(wide[5] >> 63)
}

/// `a b` modulo 2^192.
fn product(a: u128, b: u128) -> [u64; 3] {
    let (a0, a1) = (a as u64, (a >> 64) as u64);
    let (b0, b1) = (b as u64, (b >> 64) as u64);
    let (p0, c) = a0.carrying_mul(b0, 0);
    let (p1, p2) = a1.carrying_mul(b0, c);
    let (p1, c) = a0.carrying_mul_add(b1, p1, 0);
    let p2 = p2.wrapping_add(c).wrapping_add(a1.wrapping_mul(b1));
    [p0, p1, p2]
}

fn sub(a: &[u64; 3], b: &[u64; 3]) -> [u64; 3] {
    let (l0, c) = a[0].overflowing_sub(b[0]);
    let (l1, c) = a[1].borrowing_sub(b[1], c);
    let (l2, _) = a[2].borrowing_sub(b[2], c);
    [l0, l1, l2]
}

/// Sign and magnitude of a number in two's complement.
fn half(value: [u64; 3]) -> Half {
    let negative = value[2] >> 63 == 1;
    let magnitude = if negative {
        sub(&[0; 3], &value)
    } else {
        value
    };
    debug_assert_eq!(magnitude[2], 0, "the halves are below 2^128");
    Half {
        magnitude: (u128::from(magnitude[1]) << 64) | u128::from(magnitude[0]),
        negative,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{self, LAMBDA};
    use super::*;

    fn signed(half: Half) -> Scalar {
        let value = Scalar([half.magnitude as u64, (half.magnitude >> 64) as u64, 0, 0]);
        if half.negative { value.neg() } else { value }
    }

    #[track_caller]
    fn check(k: &Scalar) {
        let [first, second] = split(k).map(signed);
        assert_eq!(testing::sum(&first, &second.mul(&LAMBDA)), *k);
    }

    #[test]
    fn halves_of_the_edges_add_up() {
        for low in 0..20 {
            let k = Scalar([low, 0, 0, 0]);
            for value in [k, k.neg(), k.mul(&LAMBDA), k.mul(&LAMBDA).neg()] {
                check(&value);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn halves_add_up(bytes in testing::bytes32()) {
            check(&Scalar::from_be_bytes_reduced(&bytes));
        }
    }
}
