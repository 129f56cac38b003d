//! The chain that demonstrations and checks run on.

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
use serde_json::{Value, json};

/// A node behind JSON-RPC, embedded or given by URL.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where it listens.
    pub(crate) url: String,
    /// The client everything here uses.
    pub(crate) chain: RpcChain,
    /// The embedded node, for what only it can tell.
    pub(crate) embedded: Option<Devnet>,
    /// Seconds by which the chain's clock was moved ahead.
    ahead: AtomicU32,
    http: reqwest::Client,
    _server: Option<DevnetServer>,
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
        node.embedded = Some(devnet);
        node._server = Some(server);
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
            embedded: None,
            ahead: AtomicU32::new(0),
            http: reqwest::Client::new(),
            _server: None,
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
        self.call("evm_increaseTime", json!([seconds])).await?;
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
        self.call("evm_mine", json!([])).await?;
        Ok(())
    }

    /// Puts the chain's clock back to the present.
    pub(crate) async fn return_to_present(&self) -> anyhow::Result<()> {
        let now = crate::account::now().as_secs();
        self.call("anvil_setTime", json!([now])).await?;
        self.ahead.store(0, Ordering::SeqCst);
        Ok(())
    }

    /// The chain's time.
    pub(crate) fn now(&self) -> Timestamp {
        let ahead = Duration::from_secs(self.ahead.load(Ordering::SeqCst).into());
        let now = crate::account::now();
        now.checked_add(ahead).unwrap_or(now)
    }

    async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer: Value = self
            .http
            .post(&self.url)
            .json(&request)
            .send()
            .await?
            .json()
            .await?;
        match answer.get("error") {
            Some(error) => anyhow::bail!("{method}: {error}"),
            None => Ok(answer.get("result").cloned().unwrap_or_default()),
        }
    }
}
