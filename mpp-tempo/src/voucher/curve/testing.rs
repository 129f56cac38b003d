//! What the tests of the curve share.

use num_bigint::BigUint;
use proptest::prelude::*;

use super::limbs;
use super::scalar::{ORDER, Scalar};

/// Lambda, a cube root of one modulo n.
pub(super) const LAMBDA: Scalar = Scalar([
    0xdf02_967c_1b23_bd72,
    0x122e_22ea_2081_6678,
    0xa526_1c02_8812_645a,
    0x5363_ad4c_c05c_30e0,
]);

/// 32 bytes that are often at an edge: runs of zeros and ones, small, next to 2^256.
pub(super) fn bytes32() -> impl Strategy<Value = [u8; 32]> {
    let runs = (any::<[u8; 32]>(), 0..32usize, 0..=32usize, any::<bool>()).prop_map(
        |(mut bytes, from, to, ones)| {
            if from < to {
                bytes[from..to].fill(if ones { 0xff } else { 0 });
            }
            bytes
        },
    );
    let edges = (0..8u8, 0..5usize).prop_map(|(offset, which)| edge(which, offset));
    prop_oneof![3 => any::<[u8; 32]>(), 4 => runs, 2 => edges]
}

/// A number next to 0, n, p or 2^256.
fn edge(which: usize, offset: u8) -> [u8; 32] {
    let middle = [
        BigUint::from(4u8),
        BigUint::from_bytes_be(&limbs::to_be_bytes(&ORDER)),
        BigUint::from_bytes_be(&limbs::to_be_bytes(&super::field::MODULUS)),
        BigUint::from(1u8) << 255,
        (BigUint::from(1u8) << 256) - 4u8,
    ];
    let value: BigUint = &middle[which] + offset - 4u8;
    padded(&value)
}

/// The 32 big-endian bytes of a number.
#[track_caller]
pub(super) fn padded(value: &BigUint) -> [u8; 32] {
    let bytes = value.to_bytes_be();
    let mut out = [0; 32];
    out[32 - bytes.len()..].copy_from_slice(&bytes);
    out
}

pub(super) fn big(bytes: &[u8; 32]) -> BigUint {
    BigUint::from_bytes_be(bytes)
}

/// `a + b` modulo n.
pub(super) fn sum(a: &Scalar, b: &Scalar) -> Scalar {
    let (sum, carry) = limbs::add(&a.0, &b.0);
    if carry || !limbs::less(&sum, &ORDER) {
        Scalar(limbs::sub(&sum, &ORDER).0)
    } else {
        Scalar(sum)
    }
}
