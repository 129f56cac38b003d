//! Sessions across restarts, nodes, keys and faults.

mod faults;
mod keys;
mod lost;
mod nodes;
mod restart;
mod resume;
