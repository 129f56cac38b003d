//! Verifying a secp256k1 voucher does not allocate (DESIGN 2, invariant 5).
#![expect(
    unsafe_code,
    reason = "a global allocator is the only way to count allocations"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use mpp_core::Amount;
use mpp_tempo::network::CHANNEL_RESERVE;
use mpp_tempo::voucher::VoucherDomain;
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher, Signer, Voucher,
    VoucherSignature, VoucherVerifier,
};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator with a count per thread.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get().saturating_add(1)));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Allocations of this thread during `work`.
fn allocations<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATIONS.with(Cell::get);
    let result = work();
    let after = ALLOCATIONS.with(Cell::get);
    (result, after.saturating_sub(before))
}

#[test]
fn the_counter_counts() {
    let (_, count) = allocations(|| vec![1_u8; 100]);
    assert_eq!(count, 1);
}

/// Vouchers after which a signer's key and table are there.
const WARM_UP: usize = 3;

fn terms(payer: &LocalSigner) -> ChannelTerms {
    ChannelTerms {
        protocol: SessionProtocol::V2,
        chain_id: 42431,
        escrow: CHANNEL_RESERVE,
        descriptor: ChannelDescriptor {
            payer: payer.address(),
            ..Default::default()
        },
    }
}

#[test]
fn reading_and_verifying_a_voucher_does_not_allocate() {
    let payer = LocalSigner::from_bytes(&[7; 32]).unwrap();
    let terms = terms(&payer);
    let cumulative = Amount::new(1000);
    let digest = VoucherDomain::new(&terms).digest(cumulative);
    let text = VoucherSignature::from(payer.sign_digest_sync(&digest)).to_hex();
    let verifier = VoucherVerifier::new(&terms);
    let voucher = Voucher {
        channel_id: terms.id(),
        cumulative,
    };
    let verify = || {
        let signature = VoucherSignature::from_hex(&text).unwrap();
        verifier
            .verify(&SignedVoucher { voucher, signature })
            .unwrap()
    };
    for _ in 0..WARM_UP {
        verify();
    }
    let (verified, count) = allocations(verify);
    assert_eq!(verified.cumulative(), cumulative);
    assert_eq!(count, 0);
}

#[cfg(feature = "std")]
#[test]
fn verifying_a_batch_does_not_allocate_in_any_tier() {
    use std::sync::Arc;

    use mpp_tempo::voucher::{Tier, VerifierEngine, VoucherError, verify_batch};

    for tier in [Tier::Library, Tier::Portable, Tier::Avx512] {
        let Ok(engine) = VerifierEngine::with_tier(tier, 4 << 20) else {
            continue;
        };
        let engine = Arc::new(engine);
        let channels: Vec<_> = (1..=10)
            .map(|seed| {
                let payer = LocalSigner::from_bytes(&[seed; 32]).unwrap();
                let terms = terms(&payer);
                let cumulative = Amount::new(1000);
                let digest = VoucherDomain::new(&terms).digest(cumulative);
                let voucher = Voucher {
                    channel_id: terms.id(),
                    cumulative,
                };
                let signature = payer.sign_digest_sync(&digest).into();
                let verifier = VoucherVerifier::with_engine(&terms, &engine);
                (verifier, SignedVoucher { voucher, signature })
            })
            .collect();
        let batch: Vec<_> = channels
            .iter()
            .cycle()
            .take(75)
            .map(|(v, s)| (v, s))
            .collect();
        let mut answers = vec![Err(VoucherError::WrongChannel); batch.len()];
        for _ in 0..WARM_UP {
            verify_batch(&batch, &mut answers).unwrap();
        }
        let (result, count) = allocations(|| verify_batch(&batch, &mut answers));
        assert_eq!(result, Ok(()));
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(count, 0, "{tier:?}");
    }
}
