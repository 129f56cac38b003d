//! See `mpp_fuzz::json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mpp_fuzz::json::check(data));
