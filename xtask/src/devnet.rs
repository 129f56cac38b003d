//! `cargo xtask devnet`: a local Tempo node on a port.

use std::net::SocketAddr;

use anyhow::Context as _;
use mpp_devnet::{Devnet, DevnetConfig};
use mpp_tempo::network::CHANNEL_RESERVE;

/// Serves a node until Ctrl-C and prints what one needs to use it.
pub(crate) async fn run(listen: SocketAddr) -> anyhow::Result<()> {
    let node = Devnet::new(DevnetConfig::default());
    let server = node
        .serve(listen)
        .await
        .with_context(|| format!("can not listen on {listen}"))?;
    let config = node.config();
    let token = config.tokens.first().context("the chain has no token")?;
    println!("RPC URL     {}", server.url());
    println!("chain id    {}", config.chain_id);
    println!("token       {} ({})", lower(&token.address), token.symbol);
    println!("v1 escrow   {}", lower(&config.stream_channel));
    println!("v2 reserve  {}", lower(&CHANNEL_RESERVE));
    println!();
    println!("Ten funded accounts; their keys are public, never send them real money:");
    for account in node.accounts() {
        println!("  {}", lower(&account.address));
        println!("    {}", account.private_key);
    }
    println!();
    println!("Everything is in memory and gone at the end. Stop with Ctrl-C.");
    tokio::signal::ctrl_c().await?;
    server.shutdown().await?;
    Ok(())
}

fn lower(address: &alloy_primitives::Address) -> String {
    format!("{address:#x}")
}
