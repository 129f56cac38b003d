//! Charges through the whole server, on an in-process chain.

mod faults;
mod once;
mod paying;
mod refund;
mod refused;
mod shop;
mod sponsor;
