//! Charges through the whole server, on an in-process chain.

mod books;
mod claimed;
mod faults;
mod once;
mod paying;
mod refund;
mod refused;
pub(crate) mod shop;
mod sponsor;
