//! See `mpp_fuzz::client_machine`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mpp_fuzz::client_machine::check(data));
