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

#[test]
fn reading_and_verifying_a_voucher_does_not_allocate() {
    let payer = LocalSigner::from_bytes(&[7; 32]).unwrap();
    let terms = ChannelTerms {
        protocol: SessionProtocol::V2,
        chain_id: 42431,
        escrow: CHANNEL_RESERVE,
        descriptor: ChannelDescriptor {
            payer: payer.address(),
            ..Default::default()
        },
    };
    let cumulative = Amount::new(1000);
    let digest = VoucherDomain::new(&terms).digest(cumulative);
    let text = VoucherSignature::from(payer.sign_digest_sync(&digest)).to_hex();
    let verifier = VoucherVerifier::new(&terms);
    let voucher = Voucher {
        channel_id: terms.id(),
        cumulative,
    };
    // The first verification may build tables that last.
    let verify = || {
        let signature = VoucherSignature::from_hex(&text).unwrap();
        verifier
            .verify(&SignedVoucher { voucher, signature })
            .unwrap()
    };
    let _ = verify();
    let (verified, count) = allocations(verify);
    assert_eq!(verified.cumulative(), cumulative);
    assert_eq!(count, 0);
}
