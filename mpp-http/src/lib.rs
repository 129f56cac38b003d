//! HTTP bindings of the Machine Payments Protocol.
//!
//! They translate and never decide: the server half turns requests into
//! attempts for `mpp-server` and renders its decisions; the client half lets
//! `mpp-client` pay while `reqwest` talks.
//!
//! | feature | what it brings |
//! |---|---|
//! | `server` | tower layer, axum extractors, metered SSE responses |
//! | `client` | a reqwest client that pays |
//! | `ws` | the same streams over WebSocket, on whichever side is there |

#![forbid(unsafe_code)]

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod server;
pub mod sse;
#[cfg(feature = "ws")]
pub mod ws;
