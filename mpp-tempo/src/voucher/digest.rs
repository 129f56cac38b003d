//! The digests of vouchers: in vector registers where the CPU has them.

use mpp_core::Amount;

#[cfg(target_arch = "x86_64")]
use super::curve::Avx512;
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
mod keccak1;
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
#[cfg(target_arch = "x86_64")]
mod permutation;

/// The digest of one voucher of a channel.
pub(super) fn of(verifier: &VoucherVerifier, cumulative: Amount) -> [u8; 32] {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx512) = lanes(verifier) {
        return keccak1::digest(avx512, &verifier.domain().message(cumulative));
    }
    verifier.domain().digest(cumulative).0
}

/// The proof that the engine of a verifier may use vector code.
#[cfg(target_arch = "x86_64")]
fn lanes(verifier: &VoucherVerifier) -> Option<Avx512> {
    verifier.state().engine().kernel()?.avx512()
}

/// Writes the digest of each voucher, in the domain of its verifier.
pub(super) fn of_all(vouchers: &[(&VoucherVerifier, &SignedVoucher)], digests: &mut [[u8; 32]]) {
    let done = in_lanes(vouchers, digests);
    for ((verifier, signed), digest) in vouchers.iter().zip(digests).skip(done) {
        *digest = of(verifier, signed.voucher.cumulative);
    }
}

/// Does as many groups of eight as there are, and returns how many vouchers that were.
#[cfg(target_arch = "x86_64")]
fn in_lanes(vouchers: &[(&VoucherVerifier, &SignedVoucher)], digests: &mut [[u8; 32]]) -> usize {
    let Some(avx512) = vouchers.first().and_then(|(verifier, _)| lanes(verifier)) else {
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
