//! Tempo payment channels: ids, vouchers, transactions and the chain port.
//!
//! The crate is `no_std` with `alloc`: time and randomness are arguments, the chain is a trait.
//! It is useful alone: whoever only verifies vouchers depends on it without features and gets no
//! runtime, no provider and no HTTP client.
//!
//! | feature | adds |
//! |---|---|
//! | (none) | networks, channel ids, vouchers, wire types, escrow events, [`chain::ChainClient`] |
//! | `std` | precomputed curve tables |
//! | `tx` | building, signing and checking 0x76 and 0x78 transactions |
//! | `rpc` | [`chain::ChainClient`] over JSON-RPC with alloy |
//!
//! Amounts are base units of a TIP-20 token (10^6 units are one token) everywhere.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod chain;
pub mod channel;
pub mod charge;
pub mod escrow;
pub mod network;
pub mod signer;
#[cfg(feature = "tx")]
pub mod tx;
pub mod voucher;
pub mod wire;

pub use channel::{
    ChannelDescriptor, ChannelId, ChannelTerms, ChannelView, Existence, SessionProtocol,
};
pub use network::Network;
pub use signer::{DynSigner, LocalSigner, Signature65, Signer, SignerError};
pub use voucher::{
    SignedVoucher, VerifiedVoucher, Voucher, VoucherError, VoucherSignature, VoucherVerifier,
};

#[cfg(test)]
mod testing;
