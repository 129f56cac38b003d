//! See `mpp_fuzz::session_machine`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mpp_fuzz::session_machine::check(data));
