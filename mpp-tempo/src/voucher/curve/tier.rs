//! Which code judges claims, chosen when the program runs.

#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::claim::{Claim, Verdict};
use super::{each, portable};

/// How secp256k1 vouchers are verified. All tiers give the same answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tier {
    /// A library, without tables of signers.
    Library,
    /// Tables of signers and portable 64-bit arithmetic.
    Portable,
    /// Tables of signers and eight lanes of AVX-512 IFMA.
    Avx512,
}

/// A tier with tables that this CPU can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

/// From this many claims on, eight lanes of claims beat claims spread over eight lanes.
#[cfg(target_arch = "x86_64")]
const MIN_LANES: usize = 5;

impl Kernel {
    /// The best one for this CPU.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx512) = Avx512::detect() {
            return Self::Avx512(avx512);
        }
        Self::Portable
    }

    /// A certain one, if this CPU can run it.
    pub(crate) fn of(tier: Tier) -> Option<Self> {
        match tier {
            Tier::Library => None,
            Tier::Portable => Some(Self::Portable),
            Tier::Avx512 => Some(Self::detect()).filter(|kernel| kernel.tier() == tier),
        }
    }

    /// The proof that vector code may run, if this kernel is vector code.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const fn avx512(self) -> Option<Avx512> {
        match self {
            Self::Portable => None,
            Self::Avx512(avx512) => Some(avx512),
        }
    }

    pub(crate) const fn tier(self) -> Tier {
        match self {
            Self::Portable => Tier::Portable,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Tier::Avx512,
        }
    }

    /// Judges claims, each on its own; does not allocate.
    pub(crate) fn verify(self, claims: &[Claim<'_>], verdicts: &mut [Verdict]) {
        debug_assert_eq!(claims.len(), verdicts.len());
        match self {
            Self::Portable => each::verify(claims, verdicts, portable::combine),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(avx512) => verify_avx512(avx512, claims, verdicts),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn verify_avx512(avx512: Avx512, claims: &[Claim<'_>], verdicts: &mut [Verdict]) {
    use super::avx512::MAX_BATCH;
    for (claims, verdicts) in claims.chunks(MAX_BATCH).zip(verdicts.chunks_mut(MAX_BATCH)) {
        // A last group of few claims would cost as much as a full one.
        let full = claims.len() - claims.len() % 8;
        let in_lanes = if claims.len() - full < MIN_LANES {
            full
        } else {
            claims.len()
        };
        let (claims, rest) = claims.split_at(in_lanes);
        let (verdicts, rest_verdicts) = verdicts.split_at_mut(in_lanes);
        avx512.verify_batch(claims, verdicts);
        avx512.verify_few(rest, rest_verdicts);
    }
}
