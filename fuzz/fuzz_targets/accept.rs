//! See `mpp_fuzz::accept`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mpp_fuzz::accept::check(data));
