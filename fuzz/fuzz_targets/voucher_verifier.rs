//! See `mpp_fuzz::voucher_verifier`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mpp_fuzz::voucher_verifier::check(data));
