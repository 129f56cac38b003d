//! See `mpp_fuzz::credential`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mpp_fuzz::credential::check(data));
