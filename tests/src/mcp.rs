//! The binding to JSON-RPC and MCP (PROTOCOL 6).

mod client;
mod counter;
mod notices;
mod peers;
mod placement;
mod refusals;
mod results;
mod tools;

pub(crate) use self::tools::{Tools, catalog, over_http};
