//! Scalar arithmetic against num-bigint.

use num_bigint::BigUint;
use proptest::prelude::*;

use super::super::testing::{LAMBDA, big, bytes32, padded};
use super::*;

fn order() -> BigUint {
    big(&limbs::to_be_bytes(&ORDER))
}

#[track_caller]
fn check(got: Scalar, expected: &BigUint) {
    assert_eq!(got.to_be_bytes(), padded(&(expected % order())));
}

#[test]
fn the_constants_are_what_they_say() {
    let fold = (BigUint::from(1u8) << 256u32) - order();
    assert_eq!(big(&limbs::to_be_bytes(&FOLD)), fold);
    assert_eq!(LAMBDA.mul(&LAMBDA).mul(&LAMBDA), Scalar::ONE);
}

#[test]
fn the_widest_products_reduce() {
    for wide in [
        [u64::MAX; 8],
        [0, 0, 0, 0, u64::MAX, u64::MAX, u64::MAX, u64::MAX],
    ] {
        let value = wide
            .iter()
            .rev()
            .fold(BigUint::ZERO, |sum, &limb| (sum << 64u32) + limb);
        check(Scalar(reduce(&wide)), &value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn operations_equal_big_integers(a in bytes32(), b in bytes32()) {
        let (x, y) = (Scalar::from_be_bytes_reduced(&a), Scalar::from_be_bytes_reduced(&b));
        let (a, b, n) = (big(&a), big(&b), order());
        check(x, &a);
        check(x.mul(&y), &(&a * &b));
        check(x.double(), &(&a + &a));
        check(x.neg(), &(&n + &n - &a));
        if x.is_zero() {
            prop_assert!(x.invert().is_zero());
        } else {
            check(x.invert(), &a.modinv(&n).unwrap());
        }
    }

    #[test]
    fn any_512_bits_reduce(low in bytes32(), high in bytes32()) {
        let mut wide = [0; 8];
        wide[..4].copy_from_slice(&limbs::from_be_bytes(&low));
        wide[4..].copy_from_slice(&limbs::from_be_bytes(&high));
        check(Scalar(reduce(&wide)), &((big(&high) << 256u32) + big(&low)));
    }

    #[test]
    fn shared_inversion_equals_single_ones(
        values in proptest::collection::vec(bytes32(), 1..12),
    ) {
        let mut scalars: std::vec::Vec<_> = values
            .iter()
            .map(Scalar::from_be_bytes_reduced)
            .filter(|scalar| !scalar.is_zero())
            .collect();
        let singles: std::vec::Vec<_> = scalars.iter().map(Scalar::invert).collect();
        let mut prefixes = scalars.clone();
        invert_all(&mut scalars, &mut prefixes);
        prop_assert_eq!(scalars, singles);
    }
}
