//! `cargo xtask interop`: deployed peers buy from us and sell to us.

mod flows;
mod leave;
mod matrix;
mod ours;
mod play;
mod scripts;

use std::time::Duration;

use mpp_devnet::DevnetConfig;

use self::{flows::FLOWS, matrix::Matrix, ours::Ours, scripts::Scripts};
use crate::node::Node;

/// Which flows to play, and what to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Play only flows whose name or peer contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Also print the table of the README.
    #[arg(long)]
    markdown: bool,
    /// Fail instead of saying that nothing was checked when Node, npm
    /// or Python is missing.
    #[arg(long)]
    required: bool,
}

/// What the flows need.
#[derive(Debug)]
pub(crate) struct Stage {
    node: Node,
    ours: Ours,
    scripts: Scripts,
}

/// Plays all flows, one after the other, on one local chain.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let installed = match Scripts::install().await {
        Ok(Some(scripts)) => Ok(scripts),
        Ok(None) => Err(anyhow::anyhow!("one of Node, npm and Python is missing")),
        Err(error) => Err(error),
    };
    let scripts = match installed {
        Ok(scripts) => scripts,
        Err(error) if options.required => return Err(error),
        Err(error) => {
            println!("NOT CHECKED with any peer: {error}");
            return Ok(());
        }
    };
    // Some peers sign for longer than the first networks allowed.
    let config = DevnetConfig {
        max_expiry: Duration::from_secs(300),
        ..DevnetConfig::default()
    };
    let node = Node::embedded_with(config).await?;
    let ours = Ours::open(&node, "the seller of the interoperability suite").await?;
    let stage = Stage {
        node,
        ours,
        scripts,
    };
    let mut matrix = Matrix::default();
    for flow in FLOWS {
        let only = options.only.as_deref().unwrap_or_default();
        if flow.name.contains(only) || flow.peer.contains(only) {
            let key = (flow.peer, flow.name, flow.direction());
            matrix.add(key, flow.deviation, flow.play(&stage).await);
        }
    }
    if options.markdown {
        matrix.print_markdown();
    }
    stage.ours.shop.server.shutdown().await;
    matrix.finish()
}
