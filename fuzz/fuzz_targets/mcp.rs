//! See `mpp_fuzz::mcp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mpp_fuzz::mcp::check(data));
