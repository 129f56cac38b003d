//! Interleaved measurements of the voucher verifier and of the request path.
//!
//! Times differ between machines and between hours on one machine; ratios within one run differ
//! much less. So every candidate runs once per round over the same vouchers, in one process, and
//! the median of the rounds counts. The binary of this crate measures this repository and the
//! signature libraries; `benches/peers`, a workspace of its own, adds other implementations of
//! the protocol. `cargo xtask bench` runs both and puts the results next to each other.
#![forbid(unsafe_code)]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that fails stops"
)]

mod clock;
pub mod exported;
pub mod fixture;
pub mod gates;
pub mod host;
pub mod instructions;
pub mod libraries;
pub mod own;
pub mod plot;
pub mod report;
pub mod request;
pub mod rounds;
pub mod scale;
pub mod suite;
pub mod table;
