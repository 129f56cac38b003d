//! The charge method: the transfers a charge asks for, whether a transaction makes them and a
//! receipt shows them, the attribution memo, and the proof of identity.

#[cfg(feature = "tx")]
mod check;
mod logs;
mod memo;
mod proof;
mod transfers;

#[cfg(feature = "tx")]
pub use check::{ChargeCheckError, check};
pub use logs::{ChargeUnpaid, check_receipt, payment_logs};
pub use memo::{AttributionMemo, MemoMismatch};
pub use proof::{ProofError, ProofTerms};
pub use transfers::{
    ChargeBinding, ChargeTransfer, InvalidCharge, MAX_SPLITS, Matched, TransferMismatch, Transfers,
};
