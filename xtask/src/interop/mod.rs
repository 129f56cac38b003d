//! `cargo xtask interop`: deployed peers buy from us and sell to us.

mod flows;
mod leave;
mod matrix;
mod ours;
mod play;
mod scripts;

use std::time::Duration;

use mpp_devnet::DevnetConfig;
use mpp_tempo::{SessionProtocol, tx::gas};
use serde_json::json;
use tokio::task::JoinSet;

use self::{flows::FLOWS, matrix::Matrix, ours::Ours, scripts::Scripts};
use crate::{
    anvil::{self, Mining},
    node::Node,
    rpc::Rpc,
};

/// Which flows to play, and what to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Play on this node instead of the embedded one; it needs npm.
    #[arg(long)]
    node: Option<Other>,
    /// Play only flows whose name or peer contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Also print the table of the README.
    #[arg(long)]
    markdown: bool,
    /// Fail instead of saying that nothing was checked when Node, npm,
    /// Python or anvil is missing.
    #[arg(long)]
    required: bool,
}

/// A node other than the embedded one.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Other {
    Anvil,
}

/// What the flows need.
#[derive(Debug)]
pub(crate) struct Stage {
    node: Node,
    ours: Ours,
    /// Where pympp buys, which signs for a minute if nobody stops it.
    hasty: Option<Ours>,
    /// Gas for transactions with several calls, if the node estimates too little.
    batch_gas: Option<u64>,
    scripts: Scripts,
    /// Mines, where the chain's clock only moves with its blocks.
    _ticking: JoinSet<()>,
}

/// Plays all flows, one after the other, on one local chain.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let scripts = match install(options.node).await {
        Ok(scripts) => scripts,
        Err(error) if options.required => return Err(error),
        Err(error) => {
            println!("NOT CHECKED with any peer: {error:#}");
            return Ok(());
        }
    };
    let stage = Stage::set(options.node, scripts).await?;
    let mut matrix = Matrix::default();
    for flow in FLOWS {
        let only = options.only.as_deref().unwrap_or_default();
        if flow.name.contains(only) || flow.peer.contains(only) {
            let key = (flow.peer, flow.name, flow.direction());
            let known = flow.known(options.node);
            matrix.add(key, known, flow.play(&stage).await);
        }
    }
    if options.markdown {
        matrix.print_markdown();
    }
    for ours in [Some(stage.ours), stage.hasty].into_iter().flatten() {
        ours.shop.server.shutdown().await;
    }
    matrix.finish()
}

/// Gets the peers and the node.
///
/// # Errors
/// When something they need is missing, as without a network.
async fn install(node: Option<Other>) -> anyhow::Result<Scripts> {
    if let Some(Other::Anvil) = node {
        anvil::install().await?;
    }
    Scripts::install().await
}

impl Stage {
    /// Starts the node and our server.
    async fn set(node: Option<Other>, scripts: Scripts) -> anyhow::Result<Self> {
        const SELLER: &str = "the seller of the interoperability suite";
        match node {
            // Some peers sign for longer than the first networks allowed.
            None => {
                let config = DevnetConfig {
                    max_expiry: Duration::from_secs(300),
                    ..DevnetConfig::default()
                };
                let node = Node::embedded_with(config).await?;
                Ok(Self {
                    ours: Ours::open(&node, SELLER).await?,
                    hasty: None,
                    batch_gas: None,
                    node,
                    scripts,
                    _ticking: JoinSet::new(),
                })
            }
            Some(Other::Anvil) => {
                let node = Node::anvil(Mining::Automatic).await?;
                Ok(Self {
                    ours: Ours::open(&node, SELLER).await?,
                    hasty: Some(Ours::hasty(&node).await?),
                    batch_gas: Some(gas::open(SessionProtocol::V1)),
                    _ticking: ticking(&node),
                    node,
                    scripts,
                })
            }
        }
    }
}

/// Keeps anvil's newest block young. Otherwise its time stands still while
/// nobody sends, and what peers sign for half a minute from now is too far in
/// its future.
fn ticking(node: &Node) -> JoinSet<()> {
    const EVERY: Duration = Duration::from_secs(2);
    let rpc = Rpc::new(&node.url);
    let mut ticking = JoinSet::new();
    ticking.spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            // A node that does not answer fails the flows.
            drop(rpc.call("evm_mine", json!([])).await);
        }
    });
    ticking
}
