//! Signed combs: tables that turn a scalar multiplication into a few additions.
//!
//! An odd number v below 2^D is a sum of D terms +-2^i: bit i of `v >> 1 | 1 << (D - 1)` says
//! which sign term i has. A comb takes `TEETH` terms at distance [`SPACING`] at a time; the table
//! holds the sum of those multiples of the point for every choice of signs, so each choice is one
//! addition. Choices that differ by one bit position use the same entries, [`SPACING`] doublings
//! in all put them in place. As the negative of an entry is free, only the half of the choices
//! whose top tooth is positive is stored.
//!
//! Signed terms are never zero, so every voucher takes the same additions and no entry is
//! infinity.

use super::field::FieldElement;
use super::point::{self, AffinePoint, XyzzPoint};

/// Distance of two teeth in bits, and the number of positions that a comb takes.
pub(super) const SPACING: usize = 4;

/// The shape of a comb for numbers of `TEETH * SPACING * BLOCKS` bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<const TEETH: usize, const BLOCKS: usize>;

impl<const TEETH: usize, const BLOCKS: usize> Shape<TEETH, BLOCKS> {
    /// Entries of one block.
    pub(super) const BLOCK: usize = 1 << (TEETH - 1);
    /// Entries of the table.
    pub(super) const ENTRIES: usize = Self::BLOCK * BLOCKS;

    /// Fills `table` with the multiples of `base`, a point of the full order n.
    ///
    /// `scratch` has twice the table's length.
    ///
    /// No addition here is exceptional. All coefficients are integers below 2^263 in magnitude
    /// that are compared within one block: written as 2^(first position of the block) times a
    /// number below 2^(TEETH SPACING), two of them can agree modulo n only if they are equal, and
    /// they differ because an entry is an odd multiple of the block's first tooth while the
    /// doubled tooth added to it is an even one.
    pub(super) fn build(
        base: &AffinePoint,
        table: &mut [AffinePoint],
        scratch: &mut [FieldElement],
    ) {
        let (doubled, first) = Self::doubled_teeth(base);
        for (entries, first) in table.chunks_exact_mut(Self::BLOCK).zip(&first) {
            entries[0] = *first;
        }
        // Entry 0 has all teeth but the top one negative; turning tooth i positive adds it twice.
        for tooth in 0..TEETH - 1 {
            let done = 1 << tooth;
            let count = done * BLOCKS;
            let (inverses, prefixes) = scratch.split_at_mut(count);
            for (block, entries) in table.chunks_exact(Self::BLOCK).enumerate() {
                for (index, entry) in entries[..done].iter().enumerate() {
                    inverses[block * done + index] = doubled[block][tooth].x.sub(&entry.x);
                }
            }
            point::invert_all(inverses, &mut prefixes[..count]);
            for (block, entries) in table.chunks_exact_mut(Self::BLOCK).enumerate() {
                let (old, new) = entries.split_at_mut(done);
                for (index, (old, new)) in old.iter().zip(new).enumerate() {
                    let inverse = &inverses[block * done + index];
                    *new = add_with_inverse(old, &doubled[block][tooth], inverse);
                }
            }
        }
    }

    /// Twice each tooth, and the first entry of each block.
    fn doubled_teeth(
        base: &AffinePoint,
    ) -> ([[AffinePoint; TEETH]; BLOCKS], [AffinePoint; BLOCKS]) {
        let mut teeth = [[*base; TEETH]; BLOCKS];
        let mut doubled = teeth;
        let mut current = *base;
        for (teeth, doubled) in teeth.iter_mut().zip(&mut doubled) {
            for (tooth, twice) in teeth.iter_mut().zip(doubled) {
                *tooth = current;
                let mut power = XyzzPoint::from_affine(&current).double();
                *twice = affine(&power);
                for _ in 1..SPACING {
                    power = power.double();
                }
                current = affine(&power);
            }
        }
        let first = teeth.map(|teeth| {
            let mut sum = XyzzPoint::from_affine(&teeth[TEETH - 1]);
            for tooth in &teeth[..TEETH - 1] {
                sum = sum.add_affine(&tooth.neg());
            }
            affine(&sum)
        });
        (doubled, first)
    }
}

/// One point made affine, with an inversion of its own.
pub(super) fn affine(point: &XyzzPoint) -> AffinePoint {
    point.to_affine(&point.zzz.invert())
}

/// The affine sum, given the inverse of the difference of the x coordinates.
#[inline(always)]
fn add_with_inverse(a: &AffinePoint, b: &AffinePoint, inverse: &FieldElement) -> AffinePoint {
    let slope = b.y.sub(&a.y).mul(inverse);
    let x = slope.square().sub(&a.x).sub(&b.x);
    let y = slope.mul(&a.x.sub(&x)).sub(&a.y);
    AffinePoint {
        x: x.normalize(),
        y: y.normalize(),
    }
}

#[cfg(test)]
mod tests;
