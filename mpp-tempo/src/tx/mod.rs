//! Building, signing and checking of Tempo transactions (type 0x76, fee-payer envelope 0x78).
//!
//! Everything here is pure: time is an argument, nothing is sent. A client [`build`]s and signs;
//! a server decodes a [`SignedTx`], [`check`]s that it does exactly what the protocol expects,
//! applies its [`SponsorPolicy`] and [`cosign`]s; then a [`crate::chain::ChainClient`] sends it.

pub mod build;
mod calls;
pub mod check;
mod context;
mod cosign;
mod envelope;
mod error;
mod fee_payer;
pub mod gas;
mod policy;
mod signed;
mod unsigned;

pub use check::{OpenCall, TopUpCall, TxCheckError};
pub use context::{FeeMode, TxContext, TxFees};
pub use cosign::cosign;
pub use error::{BuildError, CosignError, TxError};
pub use fee_payer::{DynFeePayer, FeePayer, SigningFeePayer, verify_cosigned};
pub use policy::{PolicyViolation, SponsorPolicy};
pub use signed::{SignedTx, Sponsorship, TxCall};
pub use unsigned::UnsignedTx;

#[cfg(test)]
mod tests;
