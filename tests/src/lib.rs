//! Tests of client, server and chain together, and of the workspace itself.
//!
//! Everything runs in one process on an embedded Tempo node. The tests are in
//! one binary, so that they link once; sockets are opened only where a test
//! is about HTTP or needs the paying HTTP client.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    expect(
        clippy::arithmetic_side_effects,
        clippy::string_slice,
        reason = "a test that overflows or cuts a character fails, as it should"
    )
)]

/// What the README shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub mod readme {}

#[cfg(test)]
mod budget;
#[cfg(test)]
mod conservation;
#[cfg(test)]
mod folder;
#[cfg(test)]
mod fragile;
#[cfg(test)]
mod http;
#[cfg(test)]
mod link;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod mcp;
#[cfg(test)]
mod pair;
#[cfg(test)]
mod requirements;
#[cfg(test)]
mod security;
#[cfg(test)]
mod session;
#[cfg(test)]
mod shop;
#[cfg(test)]
mod socket;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod wallet;
#[cfg(test)]
mod withheld;
