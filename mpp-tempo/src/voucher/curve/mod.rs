//! secp256k1 arithmetic for one question: does this signature recover to this known key?
//!
//! A channel's signer never changes, so its key is recovered once by a library and a comb table
//! is kept for it. From then on a voucher costs 48 additions and no square root. The answers equal
//! those of `ecrecover`: the parity is checked, r stands for x(R) itself, and where the incomplete
//! additions used here can not decide, the answer is [`Verdict::Undecided`], never a guess.
//!
//! Nothing here is secret, so nothing here is constant time.

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "vector loads and stores, and calls after CPU detection"
)]
mod avx512;
mod claim;
mod comb;
mod digits;
mod each;
mod field;
mod glv;
mod limbs;
mod point;
mod portable;
mod safegcd;
mod scalar;
mod tables;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tier;

#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512;
pub(super) use claim::{Claim, Verdict};
pub(super) use point::AffinePoint;
pub(super) use tables::SignerTable;
pub(super) use tier::Kernel;
pub use tier::Tier;
