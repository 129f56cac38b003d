//! Wire types, header codecs and challenge binding of the Machine Payments Protocol.
//!
//! This is layer 0 of the workspace: `no_std` with `alloc`, no async, no
//! sockets, no clock and no chain. Time is an argument, and everything here is
//! a pure function of its input, so that servers, clients and proxies share
//! exactly one reading of the protocol.
//!
//! * [`Challenge`], [`Credential`], [`Receipt`] and [`Problem`] are the messages.
//! * [`header`] holds one codec per HTTP header field.
//! * [`KeyRing`] binds challenges to a server secret and verifies the binding.
//! * [`Amount`], [`Timestamp`] and the names in [`ids`] are the values inside.
//! * [`intent`] holds the method-neutral requests of charges and sessions.
//!
//! # Examples
//!
//! A server issues a challenge, a client reads it from the header:
//!
//! ```
//! use mpp_core::intent::ChargeIntent;
//! use mpp_core::{Amount, ChallengeDraft, EncodedJson, IntentName, KeyRing};
//! use mpp_core::{MethodName, Realm, SecretKey, header};
//!
//! let request: ChargeIntent = ChargeIntent::new(Amount::from_decimal("0.01", 6)?, "usd");
//! let draft = ChallengeDraft::new(
//!     Realm::new("api.example.com")?,
//!     MethodName::tempo(),
//!     IntentName::charge(),
//!     EncodedJson::from_value(&request)?,
//! );
//! let keys = KeyRing::new(SecretKey::from_bytes(b"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(")?);
//! let value = header::challenge::encode(&keys.bind(draft));
//!
//! let read = header::challenge::parse_all([value.as_str()]).remove(0)?;
//! assert_eq!(read.request.decode::<ChargeIntent>()?, request);
//! keys.verify(&read)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod amount;
pub mod challenge;
pub mod credential;
pub mod digest;
pub mod encoding;
pub mod header;
pub mod ids;
pub mod intent;
pub mod problem;
pub mod receipt;
pub mod source;
pub mod time;

#[cfg(test)]
mod testing;

pub use amount::{Amount, AmountError};
pub use challenge::{
    BindingError, Challenge, ChallengeDraft, ChallengeForm, ChallengeTemplate, ChallengeText,
    CredentialHeader, EncodedJson, EncodedJsonError, ExpiryError, IssuedChallenge, KeyRing,
    KnownChallenge, SecretKey, SecretKeyError,
};
pub use credential::{
    Credential, CredentialError, CredentialReader, CredentialText, FormedText, KnownText, Proof,
};
pub use digest::{BodyDigest, DigestMismatch, DigestParseError};
pub use ids::{ChallengeId, IdError, IntentName, MethodName, Realm};
pub use intent::{ChargeIntent, SessionIntent};
pub use problem::{ForeignProblem, Problem, ProblemKind};
pub use receipt::{
    ChargeReceipt, Receipt, ReceiptError, ReceiptStatus, SessionReceipt, SessionReceiptText,
};
pub use source::{DidPkh, SourceError};
pub use time::{Timestamp, TimestampError};
