//! More threads and more channels.

use std::ops::Range;
use std::sync::Arc;
use std::thread;

use mpp_core::Amount;
use mpp_tempo::voucher::VerifierEngine;
use mpp_tempo::{SessionProtocol, VoucherVerifier};

use crate::fixture::{Case, Payer};
use crate::host;
use crate::own::Batches;
use crate::report::{Row, Work};
use crate::rounds::{Candidate, interleaved};

const BATCH: usize = 64;
/// Channels while threads are counted: more than a core's cache holds.
const THREAD_CHANNELS: usize = 1024;
/// More than a table takes: room that no table needs is not taken.
const BYTES_PER_TABLE: usize = 256 << 10;

/// One thread against two, each on its own CPU with its own vouchers.
///
/// Empty where there is only one CPU.
#[must_use]
pub fn threads(vouchers: usize, rounds: usize) -> Vec<Row> {
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Vec::new();
    }
    let channels = Channels::new(THREAD_CHANNELS, 2 * vouchers);
    let mut alone = [channels.batches(0..vouchers)];
    let mut both = [
        channels.batches(0..vouchers),
        channels.batches(vouchers..2 * vouchers),
    ];
    let (one, two) = ("ours, 64 at once, 1 thread", "ours, 64 at once, 2 threads");
    let candidates = vec![
        Candidate::new("own/threads/1", one, vouchers, move || {
            on_threads(&mut alone)
        })
        .on_other_threads(),
        Candidate::new("own/threads/2", two, 2 * vouchers, move || {
            on_threads(&mut both)
        })
        .on_other_threads(),
    ];
    let scaled = candidates
        .into_iter()
        .map(|candidate| candidate.doing(Work::Scale));
    interleaved(scaled.collect(), rounds)
}

/// Starting the threads is part of the time, with one as with two.
fn on_threads(parts: &mut [Batches<'_>]) {
    thread::scope(|scope| {
        for (index, part) in parts.iter_mut().enumerate() {
            scope.spawn(move || {
                host::pin(index);
                part.verify();
            });
        }
    });
}

/// 64 channels against `many`, which take turns at random.
#[must_use]
pub fn channels(many: usize, vouchers: usize, rounds: usize) -> Vec<Row> {
    let few = Channels::new(64, vouchers);
    let many_channels = Channels::new(many, vouchers);
    let mut few_batches = few.batches(0..vouchers);
    let mut many_batches = many_channels.batches(0..vouchers);
    let candidates = vec![
        Candidate::new(
            "own/channels/few",
            "ours, 64 at once, 64 channels",
            vouchers,
            move || few_batches.verify(),
        ),
        Candidate::new(
            "own/channels/many",
            format!("ours, 64 at once, {many} channels"),
            vouchers,
            move || many_batches.verify(),
        ),
    ];
    let scaled = candidates
        .into_iter()
        .map(|candidate| candidate.doing(Work::Scale));
    interleaved(scaled.collect(), rounds)
}

/// Channels with tables, and vouchers of them in random order.
struct Channels {
    verifiers: Vec<VoucherVerifier>,
    cases: Vec<Case>,
    /// The channel of each voucher.
    indices: Vec<usize>,
}

impl Channels {
    fn new(channels: usize, vouchers: usize) -> Self {
        let engine = Arc::new(VerifierEngine::new(channels * BYTES_PER_TABLE + (4 << 20)));
        let payers: Vec<_> = (1..=channels as u64).map(Payer::new).collect();
        let verifiers: Vec<_> = payers
            .iter()
            .map(|payer| {
                let terms = payer.terms(SessionProtocol::V2);
                let verifier = VoucherVerifier::with_engine(&terms, &engine);
                build_table(payer, &verifier);
                verifier
            })
            .collect();
        assert_eq!(engine.tables(), channels, "every channel has its table");
        let indices: Vec<_> = random(vouchers).map(|number| number % channels).collect();
        let cases = indices
            .iter()
            .zip(1..)
            .map(|(index, amount)| payers[*index].case(SessionProtocol::V2, Amount::new(amount)));
        let cases = cases.collect();
        Self {
            verifiers,
            cases,
            indices,
        }
    }

    /// A part of the vouchers, ready to be verified.
    fn batches(&self, part: Range<usize>) -> Batches<'_> {
        let indices = &self.indices[part.clone()];
        let verifiers = indices.iter().map(|index| self.verifiers[*index].clone());
        let cases = self.cases[part].iter();
        Batches::of(cases.collect(), verifiers.collect(), BATCH)
    }
}

/// Gets the table of a channel built: the second accepted voucher does it.
fn build_table(payer: &Payer, verifier: &VoucherVerifier) {
    let case = payer.case(SessionProtocol::V2, Amount::new(1));
    for _ in 0..2 {
        verifier.verify(&case.signed).expect("a valid voucher");
    }
}

/// Always the same numbers, as good as random (xorshift64*).
fn random(count: usize) -> impl Iterator<Item = usize> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..count).map(move |_| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize
    })
}
