//! Whole actions against the in-process chain.

mod close;
mod collect;
mod credit;
mod faults;
mod holds;
mod limits;
mod open;
mod sponsor;
mod top_up;
mod voucher;
mod watch;
