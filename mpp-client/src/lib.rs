//! Payment policy, signing and channel sessions of a Machine Payments Protocol client.
//!
//! This is the paying side without a transport and without a runtime: what may be paid
//! ([`policy`]), which offer is paid ([`choice`]), what an answer means ([`flow`]), what was signed
//! and what it was for ([`session`], [`charge`]). Bindings such as `mpp-http` send the requests.
//!
//! * [`Payer`] holds key, policy, book and chain client.
//! * [`Policy`] is asked before every signature.
//! * [`session::book`] remembers every channel that may hold money.
//! * [`ClientError::Indeterminate`] and [`ClientError::ChargeIndeterminate`] are the errors after
//!   which money may have moved.
//! * [`ClientMethod`] is a way to pay of one's own.
#![forbid(unsafe_code)]

pub mod charge;
pub mod choice;
pub mod clock;
pub mod credential;
pub mod error;
pub mod event;
pub mod exchange;
pub mod flow;
pub mod method;
pub mod offer;
pub mod once;
pub mod origin;
pub mod payer;
pub mod policy;
#[cfg(feature = "reproducible")]
pub mod reproducible;
pub mod session;
pub mod text;

mod key;
mod random;
mod sync;

pub use charge::{ChargeId, ChargeOffer, ChargeState, ChargeSummary, Wallet, WalletError};
pub use choice::Choice;
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{ClientError, TransportError};
pub use event::{ClientEvent, Subscription};
pub use key::new_idempotency_key;
pub use method::{ClientMethod, MethodError};
pub use offer::Offer;
pub use once::Once;
pub use origin::{Origin, Site};
pub use payer::{BuildError, Payer, PayerBuilder};
pub use policy::{IntentPolicy, Policy, PolicyViolation, ResumePolicy, TopUpPolicy};
#[cfg(feature = "durable-book")]
pub use session::book::DurableBook;
pub use session::book::{ChannelBook, ChannelSummary, MemoryBook, Phase};

/// The hash of a transaction.
pub type TxHash = alloy_primitives::B256;

#[cfg(test)]
mod testing;
