//! What must hold for every input: one module for each fuzz target.
//!
//! A target is a function of bytes that panics when a rule is broken. The
//! binaries in `fuzz_targets` hand them to libFuzzer; the test in
//! `tests/corpus.rs` runs them over the committed corpus.

#![forbid(unsafe_code)]

pub mod accept;
pub mod answer;
pub mod chain_log;
pub mod challenge;
pub mod charge_machine;
pub mod credential;
pub mod frame;
pub mod json;
pub mod mcp;
pub mod session_machine;
mod simulation;
pub mod sse;
pub mod store_codec;
pub mod texts;
pub mod transaction;
pub mod voucher_verifier;
pub mod wire;

/// A fuzz target: its name and what it checks.
pub type Target = (&'static str, fn(&[u8]));

/// All targets; each has a binary of the same name.
pub const TARGETS: &[Target] = &[
    ("accept", accept::check),
    ("answer", answer::check),
    ("chain_log", chain_log::check),
    ("challenge", challenge::check),
    ("charge_machine", charge_machine::check),
    ("credential", credential::check),
    ("frame", frame::check),
    ("json", json::check),
    ("mcp", mcp::check),
    ("session_machine", session_machine::check),
    ("sse", sse::check),
    ("store_codec", store_codec::check),
    ("texts", texts::check),
    ("transaction", transaction::check),
    ("voucher_verifier", voucher_verifier::check),
    ("wire", wire::check),
];

/// The first byte, which chooses what the rest is, and the rest.
fn choice(data: &[u8]) -> Option<(u8, &[u8])> {
    let (choice, rest) = data.split_first()?;
    Some((*choice, rest))
}
