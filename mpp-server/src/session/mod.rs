//! Sessions: deposit once, then pay by cumulative vouchers.
//!
//! Data flows one way: an action is checked and its voucher verified, becomes
//! a [`command`], the [`machine`] turns it into the next [`record`], the
//! [`driver`] makes that durable, and only then is anything served, sent to
//! the chain or receipted.

pub mod command;
pub mod driver;
pub mod machine;
pub mod meter;
pub mod record;
pub mod reserve;
pub mod restart;
pub mod tab;

mod close;
mod context;
mod engine;
mod keeper;
mod limit;
mod method;
mod offer;
mod open;
mod prepare;
mod queue;
mod receipt;
mod till;
mod top_up;
mod voucher;

pub(crate) use self::{
    context::{SessionContext, SessionParts},
    engine::Engine,
    keeper::keep,
    limit::BadSignatures,
    method::SessionMethod,
    offer::SessionTerms,
    open::OpenFate,
};
pub use self::{
    limit::BadSignatureLimit,
    offer::{SessionOffer, StreamOptions},
    queue::{InProgress, VoucherQueue},
};

#[cfg(test)]
mod tests;
