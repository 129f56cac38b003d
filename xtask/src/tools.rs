//! A server of paid tools as a process of its own, over stdio.

use anyhow::Context as _;
use clap::Args;
use mpp_tempo::SessionProtocol;
use rmcp::{ServiceExt as _, transport::stdio};

use crate::{
    account,
    node::Node,
    shop::{self, Scratch},
};

/// The environment variable with what the account that is paid is for.
pub(crate) const ACCOUNT: &str = "MPP_XTASK_ACCOUNT";

/// What to serve.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The node.
    #[arg(long)]
    node: String,
    /// The protocol of its sessions.
    #[arg(long)]
    protocol: String,
}

/// Serves until the client is gone. Nothing else goes to the standard output.
pub(crate) async fn serve(options: &Options) -> anyhow::Result<()> {
    let node = Node::at(&options.node).await?;
    let scratch = Scratch::new()?;
    let purpose = std::env::var(ACCOUNT).context(ACCOUNT)?;
    let server = shop::configure(&node, account::signer_for(&purpose)?, &scratch)?.build()?;
    let protocol = match options.protocol.as_str() {
        "v1" => SessionProtocol::V1,
        "v2" => SessionProtocol::V2,
        other => anyhow::bail!("there is no protocol {other}"),
    };
    let offer = mpp_example_mcp_tool::offer(&server).protocol(protocol);
    let tools = mpp_example_mcp_tool::tools(&server, offer)?;
    tools.serve(stdio()).await?.waiting().await?;
    server.shutdown().await;
    Ok(())
}
