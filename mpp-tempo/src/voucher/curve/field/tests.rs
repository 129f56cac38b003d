//! Field arithmetic against num-bigint.

use num_bigint::BigUint;
use proptest::prelude::*;

use super::super::testing::{big, bytes32, padded};
use super::*;

fn modulus() -> BigUint {
    big(&limbs::to_be_bytes(&MODULUS))
}

#[track_caller]
fn check(got: FieldElement, expected: &BigUint) {
    assert_eq!(got.to_be_bytes(), padded(&(expected % modulus())));
}

#[test]
fn the_constants_are_what_they_say() {
    let p = (BigUint::from(1u8) << 256u32) - (BigUint::from(1u8) << 32u32) - 977u32;
    assert_eq!(modulus(), p);
    assert_eq!(BigUint::from(FOLD), (BigUint::from(1u8) << 256u32) - p);
    let beta = FieldElement::BETA;
    assert_ne!(beta, FieldElement::ONE);
    assert_eq!(beta.square().mul(&beta), FieldElement::ONE);
}

#[test]
fn zero_has_no_inverse_and_gives_zero() {
    assert!(FieldElement::ZERO.invert().is_zero());
    assert!(FieldElement(MODULUS).invert().is_zero());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn operations_equal_big_integers(a in bytes32(), b in bytes32()) {
        let (x, y) = (FieldElement::from_be_bytes(&a), FieldElement::from_be_bytes(&b));
        let (a, b, p) = (big(&a), big(&b), modulus());
        check(x.add(&y), &(&a + &b));
        check(x.double(), &(&a + &a));
        check(x.sub(&y), &(&a + &p + &p - &b));
        check(x.neg(), &(&p + &p - &a));
        check(x.neg_if(true), &(&p + &p - &a));
        check(x.neg_if(false), &a);
        check(x.mul(&y), &(&a * &b));
        check(x.square(), &(&a * &a));
        prop_assert_eq!(x == y, &a % &p == &b % &p);
        prop_assert_eq!(x.is_odd(), (&a % &p).bit(0));
    }

    #[test]
    fn an_element_times_its_inverse_is_one(a in bytes32()) {
        let x = FieldElement::from_be_bytes(&a);
        prop_assume!(!x.is_zero());
        prop_assert_eq!(x.mul(&x.invert()), FieldElement::ONE);
        check(x.invert(), &big(&a).modinv(&modulus()).unwrap());
    }
}
