//! Which table entries a verification adds: the comb digits of u1 and of the halves of u2.

use super::comb::SPACING;
use super::glv::{self, Half};
use super::limbs;
use super::scalar::{ORDER, Scalar};
use super::tables::{CORRECTIONS, GENERATOR_BLOCKS, GeneratorShape, SIGNER_BLOCKS, SignerShape};

/// A table entry, added or subtracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digit {
    pub(super) index: u32,
    pub(super) negative: bool,
}

/// The additions at one of the [`SPACING`] positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Entries of the generator's table.
    pub(super) generator: [Digit; GENERATOR_BLOCKS],
    /// Entries of the signer's table for the first half of u2.
    pub(super) first: [Digit; SIGNER_BLOCKS],
    /// Entries of the signer's table, to be multiplied by lambda.
    pub(super) second: [Digit; SIGNER_BLOCKS],
}

/// All additions that make u1 G + u2 Q.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digits {
    /// By position, least significant first.
    pub(super) rows: [Row; SPACING],
    /// Undoes the rounding of even halves, from the signer's table.
    pub(super) correction: Option<Digit>,
}

impl Digits {
    pub(super) fn new(u1: &Scalar, u2: &Scalar) -> Self {
        let mut rows = [Row::default(); SPACING];
        generator_digits(u1, &mut rows);
        let [first, second] = glv::split(u2);
        for (position, row) in rows.iter_mut().enumerate() {
            row.first = half_digits(&first, position);
            row.second = half_digits(&second, position);
        }
        Self {
            rows,
            correction: correction(&first, &second),
        }
    }
}

/// u1 or, if it is even, minus n - u1: the same multiple of G, of an odd number below 2^256.
fn generator_digits(u1: &Scalar, rows: &mut [Row; SPACING]) {
    let even = u1.is_even();
    let odd = if even {
        limbs::sub(&ORDER, &u1.0).0
    } else {
        u1.0
    };
    // odd >> 1, with the bit that the recoding sets at the top. A block is 16 teeth at distance
    // 4: one word.
    let blocks = [
        (odd[0] >> 1) | (odd[1] << 63),
        (odd[1] >> 1) | (odd[2] << 63),
        (odd[2] >> 1) | (odd[3] << 63),
        (odd[3] >> 1) | (1 << 63),
    ];
    for (position, row) in rows.iter_mut().enumerate() {
        for (block, (digit, bits)) in row.generator.iter_mut().zip(blocks).enumerate() {
            let teeth = every_fourth_bit(bits, position);
            let teeth = (teeth | (teeth >> 24)) & 0xffff;
            *digit = entry(teeth, 16, block * GeneratorShape::BLOCK, even);
        }
    }
}

/// Digits of a half at one position; an even half counts as one more, see [`correction`].
fn half_digits(half: &Half, position: usize) -> [Digit; SIGNER_BLOCKS] {
    let v = (half.magnitude >> 1) | (1 << 127);
    // A block is 8 teeth at distance 4: 32 bits, two blocks in a word.
    let low = every_fourth_bit(v as u64, position);
    let high = every_fourth_bit((v >> 64) as u64, position);
    let teeth = [low & 0xff, low >> 32, high & 0xff, high >> 32];
    core::array::from_fn(|block| {
        let first = block * SignerShape::BLOCK;
        entry(teeth[block], 8, first, half.negative)
    })
}

/// Gathers bits position, position + 4, ..: eight at bits 0 to 7 and eight at bits 32 to 39.
#[inline(always)]
const fn every_fourth_bit(word: u64, position: usize) -> u64 {
    let y = (word >> position) & 0x1111_1111_1111_1111;
    let y = (y | (y >> 3)) & 0x0303_0303_0303_0303;
    let y = (y | (y >> 6)) & 0x000f_000f_000f_000f;
    (y | (y >> 12)) & 0x0000_00ff_0000_00ff
}

/// The entry for a choice of signs: with a negative top tooth it is minus the complement.
#[inline(always)]
fn entry(teeth: u64, count: u32, first: usize, flip: bool) -> Digit {
    let low = (1 << (count - 1)) - 1;
    let top_negative = teeth >> (count - 1) == 0;
    let index = if top_negative {
        !teeth & low
    } else {
        teeth & low
    };
    Digit {
        index: (index as usize + first) as u32,
        negative: top_negative ^ flip,
    }
}

/// What is added because an even half went in as magnitude + 1.
fn correction(first: &Half, second: &Half) -> Option<Digit> {
    let even = |half: &Half| half.magnitude & 1 == 0;
    let (offset, negative) = match (even(first), even(second)) {
        (false, false) => return None,
        (true, false) => (0, !first.negative),
        (false, true) => (1, !second.negative),
        (true, true) if first.negative == second.negative => (2, !first.negative),
        (true, true) => (3, !first.negative),
    };
    Some(Digit {
        index: (CORRECTIONS + offset) as u32,
        negative,
    })
}
