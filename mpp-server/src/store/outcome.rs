//! What became of idempotent requests, kept so that a retry is not charged.

use alloy_primitives::B256;
use bytes::Bytes;
use mpp_core::{Timestamp, receipt::SessionReceipt};
use mpp_tempo::channel::ChannelId;

/// Where the outcome of one idempotent request is found.
///
/// A hash over channel, route and the client's `Idempotency-Key`, so that no
/// payer finds the outcome of another (SECURITY-CASES A16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutcomeKey(pub B256);

/// A request that was served and charged, as a retry finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOutcome {
    /// Its key.
    pub key: OutcomeKey,
    /// The channel that paid.
    pub channel_id: ChannelId,
    /// Counts the outcomes of the channel, from 1.
    pub number: u64,
    /// Hash over what was asked; a retry must ask for the same.
    pub request: B256,
    /// The receipt that was given.
    pub receipt: SessionReceipt,
    /// The response, unless it was too large to keep or was a stream.
    pub response: Option<StoredResponse>,
    /// When it may be forgotten.
    pub expires: Timestamp,
}

/// A response as a transport can give it again. Holds no payment headers.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// The status; for transports without one, 200.
    pub status: u16,
    /// Names and values of the headers.
    pub headers: Vec<(String, Bytes)>,
    /// The body.
    pub body: Bytes,
}

/// Shows sizes only: a response is what somebody has paid for.
impl std::fmt::Debug for StoredResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredResponse")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .field("body", &self.body.len())
            .finish()
    }
}
