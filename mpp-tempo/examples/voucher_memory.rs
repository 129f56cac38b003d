//! Times verification of vouchers of many channels at random: what table memory does to it.
//!
//! `cargo run --release -p mpp-tempo --features std --example voucher_memory -- CHANNELS MIB`
//! verifies batches of 64 vouchers of `CHANNELS` channels with `MIB` MiB for tables, in turns with
//! vouchers of 64 channels and with the library tier, then everything on two threads. Without
//! arguments: 100,000 channels, and all memory that their tables need (3.2 GiB).
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that fails stops"
)]

use std::sync::Arc;
use std::time::Instant;

use mpp_core::Amount;
use mpp_tempo::network::CHANNEL_RESERVE;
use mpp_tempo::voucher::{Tier, VerifierEngine, VoucherDomain, VoucherError, verify_batch};
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher, Signer, Voucher,
    VoucherVerifier,
};

const BATCH: usize = 64;
const ROUNDS: usize = 400;
/// Batches a library is timed with: they are slow.
const LIBRARY_ROUNDS: usize = 40;

/// Channels with one voucher each.
struct Channels {
    engine: Arc<VerifierEngine>,
    vouchers: Vec<(VoucherVerifier, SignedVoucher)>,
}

impl Channels {
    /// Channels of distinct signers; each has verified enough to have a table if there is room.
    fn new(count: u64, engine: VerifierEngine) -> Self {
        let engine = Arc::new(engine);
        let vouchers: Vec<_> = (1..=count).map(|seed| channel(seed, &engine)).collect();
        for (verifier, signed) in &vouchers {
            for _ in 0..2 {
                verifier.verify(signed).unwrap();
            }
        }
        Self { engine, vouchers }
    }

    /// Verifies a batch of random channels; nanoseconds per voucher.
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    fn time_batch(&self, random: &mut Random) -> u64 {
        let batch: [_; BATCH] = core::array::from_fn(|_| {
            let (verifier, signed) = &self.vouchers[random.below(self.vouchers.len())];
            (verifier, signed)
        });
        let mut answers = [const { Err(VoucherError::WrongChannel) }; BATCH];
        let start = Instant::now();
        verify_batch(&batch, &mut answers).unwrap();
        let time = start.elapsed();
        assert!(answers.iter().all(Result::is_ok));
        time.as_nanos() as u64 / BATCH as u64
    }
}

fn channel(seed: u64, engine: &Arc<VerifierEngine>) -> (VoucherVerifier, SignedVoucher) {
    let mut secret = [1; 32];
    secret[24..].copy_from_slice(&seed.to_be_bytes());
    let payer = LocalSigner::from_bytes(&secret).unwrap();
    let terms = ChannelTerms {
        protocol: SessionProtocol::V2,
        chain_id: 42431,
        escrow: CHANNEL_RESERVE,
        descriptor: ChannelDescriptor {
            payer: payer.address(),
            ..Default::default()
        },
    };
    let cumulative = Amount::new(1_000_000);
    let digest = VoucherDomain::new(&terms).digest(cumulative);
    let voucher = Voucher {
        channel_id: terms.id(),
        cumulative,
    };
    let signature = payer.sign_digest_sync(&digest).into();
    let verifier = VoucherVerifier::with_engine(&terms, engine);
    (verifier, SignedVoucher { voucher, signature })
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// The median and the tenth part of the times.
fn summary(mut times: Vec<u64>) -> (u64, u64) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() / 10])
}

/// Vouchers per second of some threads together.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn throughput(channels: &Channels, threads: u64) -> u64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for seed in 0..threads {
            scope.spawn(move || {
                let mut random = Random(seed);
                for _ in 0..ROUNDS {
                    channels.time_batch(&mut random);
                }
            });
        }
    });
    let vouchers = threads * (ROUNDS * BATCH) as u64;
    vouchers * 1_000_000 / (start.elapsed().as_micros() as u64).max(1)
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are the purpose of the program"
)]
fn main() {
    let arguments: Vec<u64> = std::env::args()
        .skip(1)
        .map(|argument| argument.parse().unwrap())
        .collect();
    let count = arguments.first().copied().unwrap_or(100_000);
    let mebibytes = arguments.get(1).copied().unwrap_or(count / 31 + 4);
    let bytes = usize::try_from(mebibytes << 20).unwrap();

    let few = Channels::new(64, VerifierEngine::new(4 << 20));
    let library = VerifierEngine::with_tier(Tier::Library, 0).unwrap();
    let library = Channels::new(64, library);
    let many = Channels::new(count, VerifierEngine::new(bytes));
    println!("{count} channels, {mebibytes} MiB: {:?}", many.engine);

    let mut random = Random(7);
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        times[0].push(few.time_batch(&mut random));
        times[1].push(many.time_batch(&mut random));
        if round < LIBRARY_ROUNDS {
            times[2].push(library.time_batch(&mut random));
        }
    }
    let [few_time, many_time, library_time] = times.map(summary);
    for (name, (median, tenth)) in [
        ("64 channels", few_time),
        ("all channels", many_time),
        ("library tier", library_time),
    ] {
        println!("{name:<14}{median:>8} ns median{tenth:>8} ns tenth part");
    }
    let ratio = |a: u64, b: u64| format!("{}.{:02}", a / b, a * 100 / b % 100);
    let tenth = |(_, tenth): (u64, u64)| tenth;
    println!(
        "all to 64: {} (tenth part {}); all to library: {} (tenth part {})",
        ratio(many_time.0, few_time.0),
        ratio(tenth(many_time), tenth(few_time)),
        ratio(many_time.0, library_time.0),
        ratio(tenth(many_time), tenth(library_time)),
    );
    let (one, two) = (throughput(&many, 1), throughput(&many, 2));
    println!(
        "one thread {one}/s, two threads {two}/s: {}",
        ratio(two, one)
    );
}
