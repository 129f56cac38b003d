//! See `mpp_fuzz::charge_machine`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mpp_fuzz::charge_machine::check(data));
