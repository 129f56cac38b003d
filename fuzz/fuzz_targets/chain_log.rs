//! See `mpp_fuzz::chain_log`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mpp_fuzz::chain_log::check(data));
