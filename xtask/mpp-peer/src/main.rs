//! The crate `mpp` as a peer of `cargo xtask interop`.
//!
//! `mpp-peer client` buys from the server at `URL` and prints one line of JSON;
//! `mpp-peer server` sells, and prints its address first.

#![forbid(unsafe_code)]

mod client;
mod leave;
mod server;

use anyhow::Context as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("client") => client::run().await,
        Some("server") => server::run().await,
        _ => anyhow::bail!("`client` or `server`"),
    }
}

/// What the suite has put into the environment.
fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| name.to_owned())
}
