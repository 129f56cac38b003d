//! Point arithmetic against k256.

use k256::elliptic_curve::sec1::ToSec1Point;
use k256::{AffinePoint as Reference, ProjectivePoint};

use super::*;
use crate::voucher::curve::comb::affine;

/// The multiple `k G` by k256.
fn multiple(k: u64) -> AffinePoint {
    let point = ProjectivePoint::GENERATOR * k256::Scalar::from(k);
    from_reference(&point.to_affine())
}

fn from_reference(point: &Reference) -> AffinePoint {
    let encoded = point.to_sec1_point(false);
    let bytes = encoded.as_bytes();
    AffinePoint::from_coordinates(
        bytes[1..33].try_into().unwrap(),
        bytes[33..].try_into().unwrap(),
    )
    .unwrap()
}

fn xyzz(k: u64) -> XyzzPoint {
    // A point with ZZ other than one: k G as (k - 1) G + G.
    multiple(k - 1).add(&GENERATOR)
}

#[test]
fn small_multiples_equal_k256() {
    assert_eq!(multiple(1), GENERATOR);
    for k in 3..12 {
        let point = xyzz(k);
        assert_eq!(affine(&point), multiple(k));
        assert_eq!(affine(&point.double()), multiple(2 * k));
        assert_eq!(affine(&point.add_affine(&multiple(20))), multiple(k + 20));
        assert_eq!(affine(&point.add(&xyzz(30))), multiple(k + 30));
        assert!(
            point
                .double()
                .to_affine(&point.double().zzz.invert())
                .is_on_curve()
        );
    }
}

// The rule that lets one test at the end stand for all additions.
#[test]
fn an_exceptional_addition_marks_every_later_result() {
    let five = multiple(5);
    for sum in [
        five.add(&five),
        five.add(&five.neg()),
        xyzz(5).add_affine(&five),
        xyzz(5).add_affine(&five.neg()),
        xyzz(5).add(&XyzzPoint::from_affine(&five)),
    ] {
        assert!(sum.is_exceptional());
        assert!(sum.add_affine(&GENERATOR).is_exceptional());
        assert!(sum.double().is_exceptional());
        assert!(xyzz(9).add(&sum).is_exceptional());
    }
    assert!(!xyzz(5).is_exceptional());
}

#[test]
fn a_pair_off_the_curve_is_refused() {
    let [x, y] = [GENERATOR.x.to_be_bytes(), GENERATOR.y.to_be_bytes()];
    assert_eq!(AffinePoint::from_coordinates(&x, &y), Some(GENERATOR));
    assert_eq!(AffinePoint::from_coordinates(&y, &x), None);
}

#[test]
fn the_endomorphism_multiplies_by_lambda() {
    use k256::elliptic_curve::PrimeField;
    let lambda = crate::voucher::curve::testing::LAMBDA.to_be_bytes();
    let lambda = k256::Scalar::from_repr(lambda.into()).unwrap();
    let expected = (ProjectivePoint::GENERATOR * lambda).to_affine();
    assert_eq!(GENERATOR.endomorphism(), from_reference(&expected));
}
