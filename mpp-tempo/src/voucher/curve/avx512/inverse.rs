//! Inversions with BMI2, as every CPU with the lanes has it.
//!
//! A shift by a variable count takes one step there instead of three, and division steps are full
//! of them. Not inlined into vector code: there the compiler would spread 64-bit products over
//! lanes, and lose by it.

use super::super::field::FieldElement;
use super::super::scalar::Scalar;

/// The inverse; zero for zero.
#[target_feature(enable = "bmi1,bmi2")]
#[inline(never)]
pub(super) fn of_scalar(scalar: &Scalar) -> Scalar {
    scalar.invert()
}

/// The inverse; zero for zero.
#[target_feature(enable = "bmi1,bmi2")]
#[inline(never)]
pub(super) fn of_element(element: &FieldElement) -> FieldElement {
    element.invert()
}
