//! The server half: a tower layer, extractors and metered responses.
//!
//! Put [`PaymentLayer`] on a route and take [`Paid`] or [`PaidSession`] in
//! its handler. The handler runs only after the payment is verified and
//! durable; management requests never reach it, whatever their method.

mod body;
mod encryption;
mod extract;
mod idempotency;
mod layer;
mod render;
mod request;
mod reserve;
#[cfg(feature = "ws")]
mod socket;
mod stream;
pub mod usage;

pub use self::{
    body::PaymentBody,
    encryption::{Encrypted, Encryption},
    extract::{NotPaid, Paid, PaidSession, VerifiedPayer},
    layer::{PaymentLayer, PaymentService},
    reserve::Unaffordable,
    stream::{Metered, SseBody},
};
