//! The server half: what is sold, and what becomes of a call.
//!
//! A [`Catalog`] names the paid operations. A [`Call`] goes in, an
//! [`Admission`] comes out; when that is a [`Sale`], the handler runs, and its
//! result leaves only after the sale was captured. [`Catalog::serve`] does all
//! of it for a server of plain JSON-RPC; for MCP servers there is
//! [`crate::rmcp`].

mod call;
mod catalog;
mod jsonrpc;
mod paid;
mod render;
mod sale;

pub use self::{
    call::Call,
    catalog::{Admission, Catalog},
    jsonrpc::Request,
    paid::{Paid, Unaffordable},
    sale::{Sale, Success},
};
