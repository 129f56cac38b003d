//! The keys of `_meta`.
//!
//! MCP nests `_meta` in `params` and `result`; plain JSON-RPC has it at the
//! root of the message. Servers look at both places
//! (draft-payment-transport-mcp-00, Metadata Placement).

use serde_json::{Map, Value};

/// The members of a JSON object.
pub type Members = Map<String, Value>;

/// The member that holds metadata, at the root or nested.
pub const META: &str = "_meta";

/// A request's credential.
pub const CREDENTIAL: &str = "org.paymentauth/credential";

/// A paid result's receipt.
pub const RECEIPT: &str = "org.paymentauth/receipt";

/// Challenges in the place of a result, as some servers send them.
pub const PAYMENT_REQUIRED: &str = "org.paymentauth/payment-required";

/// What makes a request idempotent, as the header `Idempotency-Key` does.
///
/// The draft has no such key. Peers that do not know it ignore it.
pub const IDEMPOTENCY_KEY: &str = "org.paymentauth/idempotency-key";

/// Whether a request under the same key was carried out before, as the header
/// `Idempotent-Replayed` says: `true` with its result, [`DELIVERED`] without
/// it, `false` when it was not.
pub const REPLAYED: &str = "org.paymentauth/idempotent-replayed";

/// The result of an earlier request was not kept; it was delivered then.
pub const DELIVERED: &str = "delivered";

/// Marks a request that buys nothing and only asks about a channel, as `HEAD`
/// does (PROTOCOL 5.5). The draft has no such key.
pub const MANAGEMENT: &str = "org.paymentauth/management";

/// What the client can pay with, as the header `Accept-Payment` says.
pub const ACCEPT_PAYMENT: &str = "org.paymentauth/accept-payment";

/// The channel of a payer who has proven who it is, as the header
/// `Payment-Session-Snapshot` tells (PROTOCOL 5.8).
pub const SESSION_SNAPSHOT: &str = "org.paymentauth/session-snapshot";

/// Whether a key belongs to the payment, and is for no handler's eyes.
#[must_use]
pub fn is_ours(key: &str) -> bool {
    key.starts_with("org.paymentauth/")
}

/// Removes everything about payment, as from what a handler got from another
/// server: nobody but the binding speaks of payments.
pub fn strip(meta: &mut Members) {
    meta.retain(|key, _| !is_ours(key));
}

/// The nested `_meta` of `params` or a result, for reading.
#[must_use]
pub fn of(value: &Value) -> Option<&Members> {
    value.get(META)?.as_object()
}

/// Puts members into the nested `_meta` of a result.
///
/// A result that is no object has no place for them; MCP has none of these.
pub fn add(result: &mut Value, members: Members) {
    let Some(object) = result.as_object_mut() else {
        return;
    };
    let place = object
        .entry(META)
        .or_insert_with(|| Value::Object(Members::new()));
    match place {
        Value::Object(meta) => meta.extend(members),
        other => *other = Value::Object(members),
    }
}
