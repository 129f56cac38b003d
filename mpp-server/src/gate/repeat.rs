//! Requests that must not be charged twice.

use std::fmt;

use alloy_primitives::{Address, B256, Keccak256};
use mpp_core::header::idempotency_key::IdempotencyKey;
use mpp_tempo::channel::ChannelId;

use crate::{session::record::Idempotency, store::OutcomeKey};

/// Tells the hashes here from any others over the same bytes.
const KEY_DOMAIN: &[u8] = b"mpp idempotency key v1";
const REQUEST_DOMAIN: &[u8] = b"mpp idempotent request v1";

/// An idempotent request: the client's key, and a hash over what it asks for.
///
/// Holds no text of the client, so it can be logged and stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Repeatable {
    key: B256,
    request: B256,
}

impl Repeatable {
    /// A request with this key. `parts` are everything that tells it from
    /// another: for HTTP the method, the target and the body.
    #[must_use]
    pub fn new(key: &IdempotencyKey, parts: &[&[u8]]) -> Self {
        Self {
            key: hash(KEY_DOMAIN, &[key.as_str().as_bytes()]),
            request: hash(REQUEST_DOMAIN, parts),
        }
    }

    /// Binds it to a route: one key on two routes is two keys.
    pub(super) fn on_route(self, scope: &str) -> Self {
        Self {
            key: hash(KEY_DOMAIN, &[self.key.as_slice(), scope.as_bytes()]),
            request: self.request,
        }
    }

    /// Binds it to a channel: nobody finds the outcome of another payer
    /// (SECURITY-CASES A16).
    pub(crate) fn on_channel(self, channel: ChannelId) -> Idempotency {
        let channel = channel.as_ref();
        Idempotency {
            key: OutcomeKey(hash(KEY_DOMAIN, &[self.key.as_slice(), channel])),
            request: self.request,
        }
    }
}

impl Repeatable {
    /// Binds it to who pays by a charge, as [`on_channel`](Self::on_channel).
    pub(crate) fn of_payer(self, payer: Address) -> Idempotency {
        Idempotency {
            key: OutcomeKey(hash(KEY_DOMAIN, &[self.key.as_slice(), payer.as_slice()])),
            request: self.request,
        }
    }

    /// As [`of_payer`](Self::of_payer), for a key that claims to act for the
    /// payer: it finds what itself has paid.
    pub(crate) fn of_access_key(self, key: Address, payer: Address) -> Idempotency {
        let parts = [self.key.as_slice(), payer.as_slice(), key.as_slice()];
        Idempotency {
            key: OutcomeKey(hash(KEY_DOMAIN, &parts)),
            request: self.request,
        }
    }
}

impl fmt::Debug for Repeatable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Repeatable(..)")
    }
}

/// Each part with its length before it, so that no two lists of parts are the
/// same bytes.
fn hash(domain: &[u8], parts: &[&[u8]]) -> B256 {
    let mut hasher = Keccak256::new();
    for part in std::iter::once(&domain).chain(parts) {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeatable(key: &str, parts: &[&str]) -> Repeatable {
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        Repeatable::new(&IdempotencyKey::parse(key).unwrap(), &parts)
    }

    // SECURITY-CASES A16: scope is channel, route and key.
    #[test]
    fn key_route_and_channel_tell_outcomes_apart() {
        let channel = ChannelId::repeat_byte(1);
        let outcome = |key: &str, scope: &str, channel| {
            repeatable(key, &["GET"])
                .on_route(scope)
                .on_channel(channel)
                .key
        };
        let one = outcome("a", "/x", channel);
        assert_eq!(one, outcome("\"a\"", "/x", channel));
        assert_ne!(one, outcome("b", "/x", channel));
        assert_ne!(one, outcome("a", "/y", channel));
        assert_ne!(one, outcome("a", "/x", ChannelId::repeat_byte(2)));
    }

    // SECURITY-CASES A16: of a charge, scope is payer, route and key.
    #[test]
    fn key_route_and_payer_tell_outcomes_of_charges_apart() {
        let payer = Address::repeat_byte(1);
        let outcome = |key: &str, scope: &str, payer| {
            let asked = repeatable(key, &["GET"]).on_route(scope);
            asked.of_payer(payer).key
        };
        let one = outcome("a", "/x", payer);
        assert_eq!(one, outcome("a", "/x", payer));
        assert_ne!(one, outcome("b", "/x", payer));
        assert_ne!(one, outcome("a", "/y", payer));
        assert_ne!(one, outcome("a", "/x", Address::repeat_byte(2)));
        let claimed = |key| {
            let asked = repeatable("a", &[]).on_route("/x");
            asked.of_access_key(Address::repeat_byte(key), payer).key
        };
        assert_ne!(one, claimed(3));
        assert_ne!(claimed(3), claimed(4));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let request = |parts: &[&str]| repeatable("a", parts).request;
        assert_eq!(request(&["GET", "/x", ""]), request(&["GET", "/x", ""]));
        assert_ne!(request(&["GET", "/x", "y"]), request(&["GET", "/xy", ""]));
        assert_ne!(request(&["GET"]), request(&["GET", ""]));
    }
}
