//! Names of the header fields, in lower case as HTTP/2 writes them.

/// Challenges, in a 402 answer.
pub const WWW_AUTHENTICATE: &str = "www-authenticate";
/// The credential, beside credentials of other schemes.
pub const AUTHORIZATION: &str = "authorization";
/// The credential, when the challenge asks for this field.
pub const PAYMENT_AUTHORIZATION: &str = "payment-authorization";
/// The receipt, in a successful answer.
pub const PAYMENT_RECEIPT: &str = "payment-receipt";
/// The client's preferences among methods and intents.
pub const ACCEPT_PAYMENT: &str = "accept-payment";
/// The channel id: hint of the client, answer of the server.
pub const PAYMENT_SESSION: &str = "payment-session";
/// The state of a channel, for a client that resumes it.
pub const PAYMENT_SESSION_SNAPSHOT: &str = "payment-session-snapshot";
/// The client's key for a request that must not be charged twice.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Says that an answer is the stored one of an earlier request.
pub const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";
