//! Charges: one payment for one request.
//!
//! ```text
//! BoundCredential -> Shown        pull.rs, push.rs   what it pays with, checked against the offer
//!                 -> ChargeRecord machine.rs         claimed in the store before anything is sent
//!                 -> Sent         broadcast on a task of the server
//!                 -> Paid         the chain's receipt shows the transfers
//!                 -> Serving      one grant, with a lease
//!                 -> Served       captured; never granted again
//! ```
//!
//! Every arrow is durable before the next step begins. A payment whose handler
//! failed, or whose process died, goes back to paid: the same credential is
//! granted again until it was served once.

pub mod export;
pub mod machine;
pub mod record;

mod claim;
mod context;
pub(crate) mod desk;
mod errand;
mod forget;
mod grant;
mod method;
mod offer;
mod proof;
mod pull;
mod push;
pub mod refund;
mod unpaid;

pub(crate) use self::{
    context::{ChargeContext, ChargeEngine, ChargeParts, keep},
    forget::forget_ended,
    grant::ChargeGuard,
    method::ChargeMethod,
    offer::ChargeTerms,
    proof::ProofDesk,
    refund::finish_refunds,
};
pub use self::{
    offer::ChargeOffer,
    refund::{Refund, RefundError},
};

#[cfg(test)]
pub(crate) mod tests;
