//! What verifying together gains: the queue against one voucher at a time.
//!
//! Requests of channels of their own run on one thread, as a busy server has
//! them. Each brings one voucher. "direct" verifies it at once, "queue" goes
//! through [`VoucherQueue`], which waits for company only when there is some.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails stops")]

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use mpp_core::Amount;
use mpp_server::session::VoucherQueue;
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher, Signer as _,
    Voucher, VoucherVerifier, network::CHANNEL_RESERVE, voucher::VoucherDomain,
};
use tokio::{runtime, task::yield_now};

/// Requests in progress at once, each with its own channel.
const REQUESTS: [u8; 5] = [1, 4, 8, 16, 64];

type Request = (Arc<VoucherVerifier>, SignedVoucher);

/// A request of a payer whose table is built.
fn request(seed: u8) -> Request {
    let payer = LocalSigner::from_bytes(&[seed; 32]).unwrap();
    let terms = ChannelTerms {
        protocol: SessionProtocol::V2,
        chain_id: 42431,
        escrow: CHANNEL_RESERVE,
        descriptor: ChannelDescriptor {
            payer: payer.address(),
            ..ChannelDescriptor::default()
        },
    };
    let cumulative = Amount::new(1_000);
    let digest = VoucherDomain::new(&terms).digest(cumulative);
    let signed = SignedVoucher {
        voucher: Voucher {
            channel_id: terms.id(),
            cumulative,
        },
        signature: payer.sign_digest_sync(&digest).into(),
    };
    let verifier = Arc::new(VoucherVerifier::new(&terms));
    for _ in 0..3 {
        verifier.verify(&signed).unwrap();
    }
    (verifier, signed)
}

async fn direct((verifier, signed): &Request) {
    // Every request gives way once on its way to the curve, with the queue or without.
    yield_now().await;
    verifier.verify(black_box(signed)).unwrap();
}

async fn queued(queue: &VoucherQueue, (verifier, signed): &Request) {
    let _in_progress = queue.enter();
    yield_now().await;
    queue.verify(verifier, black_box(signed)).await.unwrap();
}

fn queue(c: &mut Criterion) {
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    let mut group = c.benchmark_group("vouchers");
    for count in REQUESTS {
        let requests: Vec<_> = (1..=count).map(request).collect();
        group.throughput(Throughput::Elements(count.into()));
        group.bench_with_input(BenchmarkId::new("direct", count), &requests, |b, all| {
            b.iter(|| runtime.block_on(join_all(all.iter().map(direct))));
        });
        let queue = VoucherQueue::new();
        group.bench_with_input(BenchmarkId::new("queue", count), &requests, |b, all| {
            b.iter(|| runtime.block_on(join_all(all.iter().map(|one| queued(&queue, one)))));
        });
    }
    group.finish();
}

criterion_group!(benches, queue);
criterion_main!(benches);
