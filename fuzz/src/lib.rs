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
pub mod client_machine;
pub mod credential;
pub mod frame;
pub mod json;
pub mod mcp;
pub mod session_machine;
mod simulation;
pub mod smoke;
pub mod sse;
pub mod store_codec;
pub mod texts;
pub mod trace;
pub mod transaction;
pub mod voucher_verifier;
pub mod wire;

/// A fuzz target; it has a binary of the same name.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Panics when a rule is broken.
    pub check: fn(&[u8]),
    /// What its inputs look like.
    pub shape: Shape,
    /// So many changes of the committed inputs make a smoke test.
    pub smoke_runs: u64,
}

/// What the inputs of a target look like.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Inputs are a row of pieces of so many bytes.
    pub unit: usize,
    /// Nothing new comes of more bytes.
    pub longest: usize,
}

/// Inputs in which any byte may be anything.
const BYTES: Shape = Shape {
    unit: 1,
    longest: 4_096,
};

/// A head and up to 96 steps, of four bytes each.
const STORY: Shape = Shape {
    unit: 4,
    longest: 388,
};

/// Up to 130 vouchers.
const VOUCHERS: Shape = Shape {
    unit: 3,
    longest: 390,
};

const fn target(name: &'static str, check: fn(&[u8]), shape: Shape, smoke_runs: u64) -> Target {
    Target {
        name,
        check,
        shape,
        smoke_runs,
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("accept", accept::check, BYTES, 200_000),
    target("answer", answer::check, BYTES, 200_000),
    target("chain_log", chain_log::check, BYTES, 200_000),
    target("challenge", challenge::check, BYTES, 200_000),
    target("charge_machine", charge_machine::check, STORY, 1_500),
    target("client_machine", client_machine::check, STORY, 1_500),
    target("credential", credential::check, BYTES, 200_000),
    target("frame", frame::check, BYTES, 200_000),
    target("json", json::check, BYTES, 200_000),
    target("mcp", mcp::check, BYTES, 200_000),
    target("session_machine", session_machine::check, STORY, 1_500),
    target("sse", sse::check, BYTES, 200_000),
    target("store_codec", store_codec::check, BYTES, 200_000),
    target("texts", texts::check, BYTES, 200_000),
    target("transaction", transaction::check, BYTES, 50_000),
    target("voucher_verifier", voucher_verifier::check, VOUCHERS, 200),
    target("wire", wire::check, BYTES, 200_000),
];

/// The first byte, which chooses what the rest is, and the rest.
fn choice(data: &[u8]) -> Option<(u8, &[u8])> {
    let (choice, rest) = data.split_first()?;
    Some((*choice, rest))
}
