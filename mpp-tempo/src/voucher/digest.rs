//! The digests of a batch of vouchers: eight at a time where the CPU has the lanes.

use super::{SignedVoucher, VoucherVerifier};

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "vector loads and stores, and a call after CPU detection"
)]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "indices of a state of 25 words, all below 25"
)]
mod keccak8;

/// Writes the digest of each voucher, in the domain of its verifier.
pub(super) fn of_all(vouchers: &[(&VoucherVerifier, &SignedVoucher)], digests: &mut [[u8; 32]]) {
    let done = in_lanes(vouchers, digests);
    for ((verifier, signed), digest) in vouchers.iter().zip(digests).skip(done) {
        *digest = verifier.digest(signed.voucher.cumulative).0;
    }
}

/// Does as many groups of eight as there are, and returns how many vouchers that were.
#[cfg(target_arch = "x86_64")]
fn in_lanes(vouchers: &[(&VoucherVerifier, &SignedVoucher)], digests: &mut [[u8; 32]]) -> usize {
    let avx512 = vouchers
        .first()
        .and_then(|(verifier, _)| verifier.state().engine().kernel()?.avx512());
    let Some(avx512) = avx512 else {
        return 0;
    };
    let groups = vouchers.as_chunks::<8>().0;
    for (group, digests) in groups.iter().zip(digests.as_chunks_mut::<8>().0) {
        let messages =
            group.map(|(verifier, signed)| verifier.domain().message(signed.voucher.cumulative));
        *digests = keccak8::digests(avx512, &messages);
    }
    groups.as_flattened().len()
}

#[cfg(not(target_arch = "x86_64"))]
const fn in_lanes(_: &[(&VoucherVerifier, &SignedVoucher)], _: &mut [[u8; 32]]) -> usize {
    0
}
