//! Suites that run transactions through the whole node.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow in a test is a failed test"
)]

mod captured;
mod channel_reserve;
mod client;
mod conservation;
mod faults;
mod fees;
mod nonces;
mod signatures;
mod socket;
mod stream_channel;
mod support;
mod tip20;
