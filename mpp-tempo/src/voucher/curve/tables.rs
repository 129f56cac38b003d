//! The two comb tables of a verification: one of the generator, one per signer.

use std::boxed::Box;
use std::sync::OnceLock;
use std::vec;

use super::comb::{self, Shape};
use super::field::FieldElement;
use super::point::{AffinePoint, GENERATOR, XyzzPoint};

/// The generator's comb: 256 bits in 4 blocks of 16 teeth, 8 MiB, one for the process.
pub(super) type GeneratorShape = Shape<16, GENERATOR_BLOCKS>;
pub(super) const GENERATOR_BLOCKS: usize = 4;

/// A signer's comb: 128 bits in 4 blocks of 8 teeth, 32 KiB.
pub(super) type SignerShape = Shape<8, SIGNER_BLOCKS>;
pub(super) const SIGNER_BLOCKS: usize = 4;

const COMB_ENTRIES: usize = SignerShape::ENTRIES;
/// The comb and four points for the correction of even halves.
pub(super) const SIGNER_ENTRIES: usize = COMB_ENTRIES + 4;

/// Index of Q, lambda Q, Q + lambda Q and Q - lambda Q in a signer's table.
pub(super) const CORRECTIONS: usize = COMB_ENTRIES;

/// Everything precomputed for one public key Q: 33,024 bytes.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct SignerTable {
    pub(super) points: [AffinePoint; SIGNER_ENTRIES],
}

impl SignerTable {
    /// The table of a key, on the heap.
    #[cfg(test)]
    pub(crate) fn boxed(key: &AffinePoint) -> Box<Self> {
        let mut table = Box::new(Self {
            points: [*key; SIGNER_ENTRIES],
        });
        table.build(key);
        table
    }

    /// The key whose multiples these are.
    #[cfg(test)]
    pub(crate) const fn key(&self) -> &AffinePoint {
        &self.points[CORRECTIONS]
    }

    /// Precomputes the multiples of a key; about a hundred microseconds, no allocation.
    pub(crate) fn build(&mut self, key: &AffinePoint) {
        let (entries, corrections) = self.points.split_at_mut(COMB_ENTRIES);
        let mut scratch = [FieldElement::ZERO; 2 * COMB_ENTRIES];
        SignerShape::build(key, entries, &mut scratch);
        let image = key.endomorphism();
        let image = AffinePoint {
            x: image.x.normalize(),
            y: image.y,
        };
        // x(Q) is not zero (7 is no square) and BETA is not one, so the sums are not exceptional.
        let sum = comb::affine(&XyzzPoint::from_affine(key).add_affine(&image));
        let difference = comb::affine(&XyzzPoint::from_affine(key).add_affine(&image.neg()));
        corrections.copy_from_slice(&[*key, image, sum, difference]);
    }
}

/// The generator's table, built at first use in a few milliseconds.
pub(crate) fn generator_table() -> &'static [AffinePoint] {
    static TABLE: OnceLock<Box<[AffinePoint]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = vec![GENERATOR; GeneratorShape::ENTRIES].into_boxed_slice();
        let mut scratch = vec![FieldElement::ZERO; 2 * GeneratorShape::ENTRIES];
        GeneratorShape::build(&GENERATOR, &mut table, &mut scratch);
        table
    })
}
