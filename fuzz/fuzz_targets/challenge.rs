//! See `mpp_fuzz::challenge`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mpp_fuzz::challenge::check(data));
