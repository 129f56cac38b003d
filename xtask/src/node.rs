//! The chain that demonstrations and checks run on.

pub(crate) mod control;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use mpp_core::{Amount, Timestamp};
use mpp_devnet::{Devnet, DevnetConfig, DevnetServer};
use mpp_tempo::{
    Network,
    chain::{ChainClient as _, rpc::RpcChain},
    network::PATH_USD,
};
use serde_json::json;

use crate::{
    anvil::{Anvil, Mining},
    rpc::Rpc,
};

/// A node behind JSON-RPC, started here or given by URL.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where it listens.
    pub(crate) url: String,
    /// The client everything here uses.
    pub(crate) chain: RpcChain,
    /// Seconds by which the chain's clock was moved ahead.
    ahead: AtomicU32,
    rpc: Rpc,
    backing: Backing,
}

/// Who runs a node.
#[derive(Debug)]
enum Backing {
    Devnet {
        devnet: Devnet,
        _server: DevnetServer,
    },
    Anvil(Box<Anvil>),
    Elsewhere,
}

impl Node {
    /// Starts the embedded node on a free port.
    pub(crate) async fn embedded() -> anyhow::Result<Self> {
        Self::embedded_with(DevnetConfig::default()).await
    }

    /// The same with other rules.
    pub(crate) async fn embedded_with(config: DevnetConfig) -> anyhow::Result<Self> {
        let devnet = Devnet::new(config);
        let server = devnet.serve(([127, 0, 0, 1], 0).into()).await?;
        let mut node = Self::at(&server.url()).await?;
        node.backing = Backing::Devnet {
            devnet,
            _server: server,
        };
        Ok(node)
    }

    /// Starts anvil on a free port.
    ///
    /// # Errors
    /// When it can not be installed or started.
    pub(crate) async fn anvil(mining: Mining) -> anyhow::Result<Self> {
        let anvil = Anvil::start(mining).await?;
        let mut node = Self::at(anvil.url()).await?;
        node.backing = Backing::Anvil(Box::new(anvil));
        Ok(node)
    }

    /// Uses the node at `url`.
    pub(crate) async fn at(url: &str) -> anyhow::Result<Self> {
        let chain = RpcChain::connect(url)
            .await
            .with_context(|| format!("no Tempo node answers at {url}"))?;
        Ok(Self {
            url: url.to_owned(),
            chain,
            ahead: AtomicU32::new(0),
            rpc: Rpc::new(url),
            backing: Backing::Elsewhere,
        })
    }

    /// Its network's addresses.
    pub(crate) fn network(&self) -> anyhow::Result<Network> {
        Network::by_chain_id(self.chain.chain_id()).context("the chain is not a Tempo network")
    }

    /// Balance in pathUSD base units.
    pub(crate) async fn balance(&self, owner: alloy_primitives::Address) -> anyhow::Result<Amount> {
        Ok(self.chain.token_balance(PATH_USD, owner).await?)
    }

    /// Lets time pass on the chain.
    pub(crate) async fn advance(&self, seconds: u32) -> anyhow::Result<()> {
        self.rpc.call("evm_increaseTime", json!([seconds])).await?;
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
        self.rpc.call("evm_mine", json!([])).await?;
        Ok(())
    }

    /// Puts the chain's clock back to the present.
    pub(crate) async fn return_to_present(&self) -> anyhow::Result<()> {
        let now = crate::account::now().as_secs();
        self.rpc.call("anvil_setTime", json!([now])).await?;
        self.ahead.store(0, Ordering::SeqCst);
        Ok(())
    }

    /// Seconds by which the chain's clock was moved ahead.
    pub(crate) fn ahead(&self) -> u32 {
        self.ahead.load(Ordering::SeqCst)
    }

    /// The chain's time.
    pub(crate) fn now(&self) -> Timestamp {
        let ahead = Duration::from_secs(self.ahead().into());
        let now = crate::account::now();
        now.checked_add(ahead).unwrap_or(now)
    }
}
