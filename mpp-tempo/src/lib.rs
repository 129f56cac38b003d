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
//!
//! # Examples
//!
//! The payer signs a voucher for 25 base units, the payee verifies it:
//!
//! ```
//! use mpp_core::Amount;
//! use mpp_tempo::network::{CHANNEL_RESERVE, PATH_USD};
//! use mpp_tempo::voucher::{VoucherDomain, VoucherVerifier};
//! use mpp_tempo::{ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol};
//! use mpp_tempo::{SignedVoucher, Signer, Voucher};
//!
//! let payer = LocalSigner::from_bytes(&[7; 32])?;
//! let terms = ChannelTerms {
//!     protocol: SessionProtocol::V2,
//!     chain_id: 42431,
//!     escrow: CHANNEL_RESERVE,
//!     descriptor: ChannelDescriptor {
//!         payer: payer.address(),
//!         token: PATH_USD,
//!         ..ChannelDescriptor::default()
//!     },
//! };
//!
//! let cumulative = Amount::new(25);
//! let digest = VoucherDomain::new(&terms).digest(cumulative);
//! let signed = SignedVoucher {
//!     voucher: Voucher { channel_id: terms.id(), cumulative },
//!     signature: payer.sign_digest_sync(&digest).into(),
//! };
//!
//! let verified = VoucherVerifier::new(&terms).verify(&signed)?;
//! assert_eq!(verified.cumulative(), cumulative);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]
#![deny(unsafe_code)]

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
