//! Every entry of a table is the multiple that its index says.

use k256::ProjectivePoint;
use k256::elliptic_curve::sec1::ToSec1Point;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::voucher::curve::point::GENERATOR;

fn coordinates(point: &ProjectivePoint) -> Vec<u8> {
    point.to_affine().to_sec1_point(false).as_bytes()[1..].to_vec()
}

#[test]
fn entries_are_the_signed_sums_of_their_teeth() {
    type Small = Shape<5, 3>;
    let mut table = vec![GENERATOR; Small::ENTRIES];
    let mut scratch = vec![FieldElement::ZERO; 2 * Small::ENTRIES];
    Small::build(&GENERATOR, &mut table, &mut scratch);
    for (index, entry) in table.iter().enumerate() {
        let (block, signs) = (index / Small::BLOCK, (index % Small::BLOCK) | Small::BLOCK);
        let mut sum = ProjectivePoint::IDENTITY;
        for tooth in 0..5 {
            let position = (block * 5 + tooth) * SPACING;
            let term = ProjectivePoint::GENERATOR * k256::Scalar::from(1u64 << position);
            sum += if signs >> tooth & 1 == 1 { term } else { -term };
        }
        let got = [entry.x.to_be_bytes(), entry.y.to_be_bytes()].concat();
        assert_eq!(got, coordinates(&sum), "entry {index}");
    }
}
