//! Verification of vouchers, stage by stage and tier by tier.
//!
//! `cargo bench -p mpp-tempo --features std` (add `libsecp256k1` for the C library as the library
//! tier). The interleaved table of ratios is the example `voucher_ratios`.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that fails stops"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mpp_core::Amount;
use mpp_tempo::network::CHANNEL_RESERVE;
use mpp_tempo::voucher::{Tier, VerifierEngine, VoucherDomain, VoucherError, verify_batch};
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher, Signer, Voucher,
    VoucherSignature, VoucherVerifier,
};

const CHANNELS: u8 = 64;
const TABLE_BYTES: usize = 4 << 20;

fn channel(seed: u8, engine: &Arc<VerifierEngine>) -> (VoucherVerifier, SignedVoucher) {
    let payer = LocalSigner::from_bytes(&[seed; 32]).unwrap();
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

fn tiers() -> impl Iterator<Item = Arc<VerifierEngine>> {
    [Tier::Library, Tier::Portable, Tier::Avx512]
        .into_iter()
        .filter_map(|tier| VerifierEngine::with_tier(tier, TABLE_BYTES).ok())
        .map(Arc::new)
}

fn stages(c: &mut Criterion) {
    let engine = Arc::new(VerifierEngine::new(TABLE_BYTES));
    let (verifier, signed) = channel(1, &engine);
    let text = signed.signature.to_hex();
    let mut group = c.benchmark_group("stage");
    group.bench_function("signature from hex", |b| {
        b.iter(|| VoucherSignature::from_hex(black_box(&text)));
    });
    group.bench_function("digest", |b| {
        b.iter(|| verifier.digest(black_box(signed.voucher.cumulative)));
    });
    let digest = verifier.digest(signed.voucher.cumulative);
    group.bench_function("recover", |b| {
        b.iter(|| signed.signature.recover(black_box(&digest)));
    });
    group.finish();
}

fn single(c: &mut Criterion) {
    let mut group = c.benchmark_group("single");
    for engine in tiers() {
        let (verifier, signed) = channel(1, &engine);
        for _ in 0..3 {
            verifier.verify(&signed).unwrap();
        }
        let name = format!("{:?}", engine.tier());
        group.bench_function(name, |b| b.iter(|| verifier.verify(black_box(&signed))));
    }
    group.finish();
}

fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch");
    for engine in tiers() {
        let channels: Vec<_> = (1..=CHANNELS).map(|seed| channel(seed, &engine)).collect();
        let all: Vec<_> = channels.iter().map(|(v, s)| (v, s)).collect();
        let mut answers = vec![Err(VoucherError::WrongChannel); all.len()];
        for _ in 0..3 {
            verify_batch(&all, &mut answers).unwrap();
        }
        for size in [2, 4, 8, 16, 64] {
            group.throughput(Throughput::Elements(size));
            let id = BenchmarkId::new(format!("{:?}", engine.tier()), size);
            let (batch, answers) = (&all[..size as usize], &mut answers[..size as usize]);
            group.bench_function(id, |b| b.iter(|| verify_batch(black_box(batch), answers)));
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = stages, single, batches
}
criterion_main!(benches);
