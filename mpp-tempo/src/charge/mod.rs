//! Pieces of the charge method: the attribution memo and the proof of identity.

mod memo;
mod proof;

pub use memo::{AttributionMemo, MemoMismatch};
pub use proof::{ProofError, ProofTerms};
