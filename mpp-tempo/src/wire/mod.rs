//! Typed JSON of Tempo sessions and charges (PROTOCOL 4 and 5).
//!
//! Parse once: behind these types there are no strings. Addresses and hashes are written in
//! lower case and read in any case; amounts are decimal strings; unknown members are ignored.

mod charge;
mod payload;
mod session;
mod snapshot;

pub use charge::{ChargeDetails, ChargeMode, ChargePayload, ChargeRequest, Split};
pub use payload::{PayloadError, SessionPayload, VoucherForm};
pub use session::{NeedVoucher, SessionDetails, SessionRequest};
pub use snapshot::{HighestVoucher, SessionSnapshot, SnapshotError};

/// Chain id of requests that do not name one (draft-tempo-session-00, Method Details).
fn default_chain_id() -> u64 {
    crate::network::Network::MAINNET.chain_id
}
