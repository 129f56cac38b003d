//! JSON-RPC and MCP bindings of the Machine Payments Protocol.
//!
//! They translate and never decide: the server half turns calls into attempts
//! for `mpp-server` and renders its decisions; the client half lets
//! `mpp-client` pay while somebody else moves messages. Neither knows a
//! transport: stdio, HTTP or WebSocket carry the same messages.
//!
//! | feature | what it brings |
//! |---|---|
//! | `server` | [`server::Catalog`]: paid operations of a JSON-RPC or MCP server |
//! | `client` | [`client::PayingClient`]: calls that pay when they must |
//! | `rmcp` | both for rmcp, the official MCP SDK: see [`rmcp`] |
//!
//! The draft is draft-payment-transport-mcp-00 (PROTOCOL 6).

#![forbid(unsafe_code)]

pub mod capability;
#[cfg(feature = "client")]
pub mod client;
pub mod error;
pub mod meta;
pub mod native;
pub mod operation;
#[cfg(feature = "rmcp")]
pub mod rmcp;
#[cfg(feature = "server")]
pub mod server;

pub use self::{capability::Capability, error::RpcError, operation::Operation};
