//! Eight lanes of AVX-512 with 52-bit integer multiply-add (IFMA).
//!
//! All functions here carry `#[target_feature]`, so the compiler checks that they call only each
//! other, and intrinsics inline. Unsafe is left for two things: entering from code that has
//! checked the CPU ([`Avx512`] is the proof), and moving 64 bytes between memory and a register.

use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

use super::claim::{Claim, Verdict};
use super::each;
use super::point::AffinePoint;

mod batch;
mod convert;
mod inverse;
mod lanes;
mod points;
mod recode;
mod scalars;
mod single;
mod steps;
#[cfg(test)]
mod tests;
mod tree;
mod words;

/// Claims that [`Avx512::verify_batch`] takes at once; more are no faster and need more stack.
pub(crate) const MAX_BATCH: usize = 64;

/// Proof that this CPU has the instructions of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(crate) fn detect() -> Option<Self> {
        // No CPU has the multiplier of IFMA without the rest.
        let present = std::is_x86_feature_detected!("avx512ifma")
            && std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("bmi1")
            && std::is_x86_feature_detected!("bmi2");
        present.then_some(Self(()))
    }

    /// Judges claims one after the other, each spread over all lanes.
    pub(super) fn verify_few(self, claims: &[Claim<'_>], verdicts: &mut [Verdict]) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { verify_few(self, claims, verdicts) }
    }

    /// Judges up to [`MAX_BATCH`] claims, one per lane.
    pub(super) fn verify_batch(self, claims: &[Claim<'_>], verdicts: &mut [Verdict]) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { batch::verify(claims, verdicts) }
    }
}

/// The scalar part with BMI2 and without lanes, see [`inverse`].
#[target_feature(enable = "bmi1,bmi2")]
fn verify_few(_proof: Avx512, claims: &[Claim<'_>], verdicts: &mut [Verdict]) {
    each::verify(claims, verdicts, |digits, table| {
        // SAFETY: the proof says that the CPU has the features.
        let positions = unsafe { single::combine(digits, table) };
        single::join(&positions, digits, table)
    });
}

/// Asks for a cache line without waiting for it.
#[inline(always)]
fn prefetch(point: &AffinePoint) {
    // SAFETY: a hint has no effect on memory, and the reference is valid anyway.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(point).cast()) }
}
