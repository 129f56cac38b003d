//! Whole actions against the in-process chain.

mod close;
mod faults;
mod open;
mod sponsor;
mod top_up;
mod voucher;
mod watch;
