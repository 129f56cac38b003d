//! The additions of one claim in portable 64-bit arithmetic.

use super::digits::{Digit, Digits};
use super::point::{AffinePoint, XyzzPoint};
use super::tables::{SignerTable, generator_table};

/// Adds up what the digits name.
pub(super) fn combine(digits: &Digits, table: &SignerTable) -> XyzzPoint {
    let generator = generator_table();
    fetch(digits, generator, table);
    let [lower @ .., top] = &digits.rows;
    let [a, b, rest @ ..] = &top.generator;
    let mut sum = take(generator, *a).add(&take(generator, *b));
    for digit in rest {
        sum = sum.add_affine(&take(generator, *digit));
    }
    sum = add_halves(sum, &top.first, &top.second, table);
    for row in lower.iter().rev() {
        sum = sum.double();
        for digit in &row.generator {
            sum = sum.add_affine(&take(generator, *digit));
        }
        sum = add_halves(sum, &row.first, &row.second, table);
    }
    match digits.correction {
        Some(digit) => sum.add_affine(&take(&table.points, digit)),
        None => sum,
    }
}

/// Reads a word of every entry, so that the cache misses overlap instead of following each other.
fn fetch(digits: &Digits, generator: &[AffinePoint], table: &SignerTable) {
    let word = |table: &[AffinePoint], digit: &Digit| table[digit.index as usize].x.0[0];
    let mut words = 0;
    for row in &digits.rows {
        for digit in &row.generator {
            words ^= word(generator, digit);
        }
        for digit in row.first.iter().chain(&row.second) {
            words ^= word(&table.points, digit);
        }
    }
    core::hint::black_box(words);
}

#[inline(always)]
fn add_halves(
    mut sum: XyzzPoint,
    first: &[Digit],
    second: &[Digit],
    table: &SignerTable,
) -> XyzzPoint {
    for digit in first {
        sum = sum.add_affine(&take(&table.points, *digit));
    }
    for digit in second {
        sum = sum.add_affine(&take(&table.points, *digit).endomorphism());
    }
    sum
}

#[inline(always)]
fn take(table: &[AffinePoint], digit: Digit) -> AffinePoint {
    table[digit.index as usize].neg_if(digit.negative)
}
