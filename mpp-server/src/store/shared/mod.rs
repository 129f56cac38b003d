//! What stores on a server of their own have in common.

mod attempt;
mod backoff;
mod connect;
mod listen;
mod stamp;
#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "tests count in small numbers"
)]
pub(super) mod testing;
mod tls;
mod waiters;

use super::{ClaimKey, StoreFault};

#[cfg(feature = "redis")]
pub(super) use self::tls::{check_roots, ensure_provider};
pub(super) use self::{
    attempt::{Attempt, Fate, Stamped, Trouble, commit_once, persist, together, witness},
    backoff::Backoff,
    listen::{keep_listening, keep_reading, understood},
    stamp::{Author, KEPT_STAMPS, Stamp, Stamps, author},
    tls::Insecure,
    waiters::Waiters,
};
pub use self::{
    connect::{ConnectError, ConnectionString},
    tls::Distrust,
};
#[cfg(feature = "postgres")]
pub(super) use self::{
    listen::announcement,
    tls::{Roots, trusting_nobody},
};

/// How often waiting channels are read again when nothing was heard of them.
///
/// A wake-up is lost only when a node dies, or loses its connection, between
/// a commit and its announcement; this bounds how long that goes unnoticed.
pub(super) const REREAD_EVERY: std::time::Duration = std::time::Duration::from_millis(900);

/// The name of a claim in a shared key space.
pub(super) fn claim_name(key: &ClaimKey) -> String {
    match key {
        ClaimKey::Cosign(challenge) => format!("cosign:{}", challenge.as_str()),
        ClaimKey::CosignFor(challenge, signer) => {
            format!("cosign-for:{signer:#x}:{}", challenge.as_str())
        }
        ClaimKey::Proof(challenge) => format!("proof:{}", challenge.as_str()),
    }
}

/// A number as a database with signed integers keeps it.
pub(super) fn signed(number: u64) -> Result<i64, StoreFault> {
    i64::try_from(number)
        .map_err(|_| StoreFault::lasting("a number is too large for the channel store", None))
}
