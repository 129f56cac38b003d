//! JSON-RPC over HTTP, as alloy and viem speak it.

mod call;
mod control;
mod dispatch;
mod error;
mod params;
mod query;
mod render;
mod send;
pub(crate) mod server;
