//! Charges through the whole server, on an in-process chain.

mod once;
mod paying;
mod shop;
