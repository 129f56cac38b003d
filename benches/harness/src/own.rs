//! The verifier of this repository, digest included, tier by tier.

use std::hint::black_box;
use std::sync::Arc;

use mpp_tempo::voucher::{Tier, VerifierEngine, VoucherError, verify_batch};
use mpp_tempo::{VerifiedVoucher, VoucherVerifier};

use crate::fixture::Case;
use crate::host::tier_name;
use crate::rounds::Candidate;

/// Vouchers at once.
pub const SIZES: [usize; 3] = [1, 8, 64];
/// Room for the tables of a few hundred signers.
const TABLE_BYTES: usize = 16 << 20;

/// Every tier of this CPU; those with tables at every size.
#[must_use]
pub fn candidates(cases: &[Case], channels: usize) -> Vec<Candidate<'_>> {
    let mut candidates = Vec::new();
    for tier in [Tier::Library, Tier::Portable, Tier::Avx512] {
        let Ok(engine) = VerifierEngine::with_tier(tier, TABLE_BYTES) else {
            continue;
        };
        let engine = Arc::new(engine);
        let sizes = if tier == Tier::Library {
            &SIZES[..1]
        } else {
            &SIZES[..]
        };
        for &size in sizes {
            let mut batches = Batches::new(cases, channels, &engine, size);
            let tier = tier_name(tier);
            candidates.push(Candidate::new(
                format!("own/{tier}/{size}"),
                format!("ours, {tier}, {size} at once"),
                cases.len(),
                move || batches.verify(),
            ));
        }
    }
    candidates
}

/// Vouchers with the verifiers of their channels, cut into batches.
#[derive(Debug)]
pub struct Batches<'a> {
    cases: Vec<&'a Case>,
    /// One clone per voucher: vouchers of a channel share key and table.
    verifiers: Vec<VoucherVerifier>,
    size: usize,
    answers: Vec<Result<VerifiedVoucher, VoucherError>>,
}

impl<'a> Batches<'a> {
    /// Vouchers that take the first `channels` channels in turns.
    #[must_use]
    pub fn new(
        cases: &'a [Case],
        channels: usize,
        engine: &Arc<VerifierEngine>,
        size: usize,
    ) -> Self {
        let verifiers: Vec<_> = cases[..channels.min(cases.len())]
            .iter()
            .map(|case| VoucherVerifier::with_engine(&case.terms, engine))
            .collect();
        let turns = verifiers.iter().cycle().cloned();
        Self::of(
            cases.iter().collect(),
            turns.take(cases.len()).collect(),
            size,
        )
    }

    /// Vouchers in any order, each with the verifier of its channel.
    #[must_use]
    pub fn of(cases: Vec<&'a Case>, verifiers: Vec<VoucherVerifier>, size: usize) -> Self {
        Self {
            cases,
            verifiers,
            size,
            answers: vec![Err(VoucherError::WrongChannel); size],
        }
    }

    /// Verifies every voucher once.
    pub fn verify(&mut self) {
        if self.size == 1 {
            for (case, verifier) in self.cases.iter().zip(&self.verifiers) {
                let verified = verifier.verify(black_box(&case.signed));
                black_box(verified.expect("a valid voucher"));
            }
            return;
        }
        let chunks = self.cases.chunks(self.size);
        for (cases, verifiers) in chunks.zip(self.verifiers.chunks(self.size)) {
            let mut batch = [(&verifiers[0], &cases[0].signed); 64];
            for (place, (verifier, case)) in batch.iter_mut().zip(verifiers.iter().zip(cases)) {
                *place = (verifier, &case.signed);
            }
            let answers = &mut self.answers[..cases.len()];
            verify_batch(black_box(&batch[..cases.len()]), answers).expect("one answer each");
            assert!(answers.iter().all(Result::is_ok), "a valid voucher");
        }
    }
}
