//! See `mpp_fuzz::store_codec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mpp_fuzz::store_codec::check(data));
