//! The additions of eight claims, in the order in which they are made.

use core::arch::x86_64::{_mm256_storeu_si256, _mm512_cvtepi64_epi32};

use super::super::comb::SPACING;
use super::super::point::AffinePoint;
use super::super::tables::{GENERATOR_BLOCKS, SIGNER_BLOCKS, SignerTable};
use super::points::AffineVector;
use super::prefetch;
use super::words::{Mask, Word};

/// Additions at one comb position: u1, the first half of u2, the second half.
pub(super) const COLUMNS: usize = SECOND + SIGNER_BLOCKS;
/// The first column of the first half of u2.
pub(super) const FIRST: usize = GENERATOR_BLOCKS;
/// The first column of the second half of u2.
pub(super) const SECOND: usize = FIRST + SIGNER_BLOCKS;

/// One table entry per lane, each added or subtracted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    entries: [u32; 8],
    negative: Mask,
}

/// All steps of eight claims.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// By position, least significant first.
    rows: [[Step; COLUMNS]; SPACING],
    pub(super) correction: Step,
    /// Lanes that need the correction.
    pub(super) corrected: Mask,
}

impl Step {
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn new(index: Word, negative: Mask) -> Self {
        let mut entries = [0u32; 8];
        let narrow = _mm512_cvtepi64_epi32(index);
        // SAFETY: writes the 32 bytes of the array.
        unsafe { _mm256_storeu_si256(entries.as_mut_ptr().cast(), narrow) };
        Self { entries, negative }
    }

    /// Entries of the one table that all lanes use.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn shared(&self, table: &[AffinePoint]) -> AffineVector {
        let point = |lane: usize| &table[self.entries[lane] as usize];
        AffineVector::load(core::array::from_fn(point), self.negative)
    }

    /// Entries of each lane's own table.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn own(&self, tables: &[&SignerTable; 8]) -> AffineVector {
        let point = |lane: usize| &tables[lane].points[self.entries[lane] as usize];
        AffineVector::load(core::array::from_fn(point), self.negative)
    }

    #[cfg(test)]
    pub(super) fn digit(&self, lane: usize) -> super::super::digits::Digit {
        super::super::digits::Digit {
            index: self.entries[lane],
            negative: self.negative >> lane & 1 == 1,
        }
    }

    /// Takes the entry of another step in one lane.
    #[cfg(test)]
    pub(super) fn copy_lane(&mut self, other: &Self, lane: usize) {
        self.entries[lane] = other.entries[lane];
    }

    /// Asks for the entries of the one table that all lanes use.
    #[inline]
    pub(super) fn prefetch_shared(&self, table: &[AffinePoint]) {
        for entry in self.entries {
            prefetch(&table[entry as usize]);
        }
    }

    /// Asks for the entries of each lane's own table.
    #[inline]
    pub(super) fn prefetch_own(&self, tables: &[&SignerTable; 8]) {
        for (table, entry) in tables.iter().zip(self.entries) {
            prefetch(&table.points[entry as usize]);
        }
    }
}

impl Group {
    pub(super) const EMPTY: Self = Self {
        rows: [[Step {
            entries: [0; 8],
            negative: 0,
        }; COLUMNS]; SPACING],
        correction: Step {
            entries: [0; 8],
            negative: 0,
        },
        corrected: 0,
    };

    pub(super) fn step(&mut self, position: usize, column: usize) -> &mut Step {
        &mut self.rows[position][column]
    }

    pub(super) const fn rows(&self) -> &[[Step; COLUMNS]; SPACING] {
        &self.rows
    }
}
