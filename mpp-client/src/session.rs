//! Payment channels of a client: opening, paying, refilling, closing, and what to do when any of
//! that is interrupted.
//!
//! [`ledger`] is the arithmetic, [`book`] the memory. The other modules make credentials from both:
//! they sign, ask the chain and write the book, but send nothing. A binding sends.

pub mod book;
pub mod close;
pub mod exit;
pub mod ledger;
pub mod open;
pub mod payment;
pub mod recover;
pub mod rescue;
pub mod resume;
pub mod top_up;

mod locked;
mod transact;
mod wire;

#[cfg(test)]
mod tests;
