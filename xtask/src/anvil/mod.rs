//! Foundry's anvil in Tempo mode: a real EVM with Tempo's real precompiles.
//!
//! It knows the network up to the fork before the channel reserve, and no contract is deployed
//! on it. So both escrows are put there, and a proxy in front of it does what only a precompile
//! could do.

mod genesis;
mod opening;
mod process;
mod proxy;

use std::path::PathBuf;

use alloy_primitives::Address;
use anyhow::Context as _;
use serde_json::json;

pub(crate) use self::process::Mining;
use self::{process::Process, proxy::Proxy};
use crate::{npm::Package, rpc::Rpc};

/// Where the binary comes from.
const PACKAGE: Package = Package {
    name: "@foundry-rs/anvil",
    version: "1.7.1",
    folder: "anvil",
};

/// The newest it knows. Without one it would silently take the first, which has no expiring
/// nonces.
const FORK: &str = "T4";

/// Gets the binary.
///
/// # Errors
/// Without npm, or when the package can not be had, as without a network.
pub(crate) async fn install() -> anyhow::Result<PathBuf> {
    PACKAGE.install().await
}

/// Whether it can be started at this fork of the network.
///
/// # Errors
/// When it can not be installed or run.
pub(crate) async fn knows_fork(fork: &str) -> anyhow::Result<bool> {
    let packages = install().await?;
    let started = Process::start(&packages, fork, Mining::Automatic).await;
    Ok(started.is_ok())
}

/// A running node; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Anvil {
    proxy: Proxy,
    /// Past the proxy.
    rpc: Rpc,
    _process: Process,
}

impl Anvil {
    /// Starts a node on a free port, with both escrows on it.
    ///
    /// # Errors
    /// When it can not be installed, started or prepared.
    pub(crate) async fn start(mining: Mining) -> anyhow::Result<Self> {
        let packages = install().await?;
        let process = Process::start(&packages, FORK, mining).await?;
        let rpc = Rpc::new(&process.url);
        genesis::prepare(&rpc).await?;
        let proxy = Proxy::start(rpc.clone(), mining).await?;
        Ok(Self {
            proxy,
            rpc,
            _process: process,
        })
    }

    /// Where clients find it.
    pub(crate) fn url(&self) -> &str {
        &self.proxy.url
    }

    /// Requests of clients so far.
    pub(crate) fn requests(&self) -> u64 {
        self.proxy.requests()
    }

    /// Transactions that clients have sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.proxy.sent()
    }

    /// Answers clients with an error, or serves them again.
    pub(crate) fn set_outage(&self, out: bool) {
        self.proxy.set_outage(out);
    }

    /// The next transaction is taken and then forgotten.
    pub(crate) fn drop_next(&self) {
        self.proxy.faults().drop_next();
    }

    /// The next transaction with a call of this selector is mined and fails.
    pub(crate) fn revert_next(&self, selector: [u8; 4]) {
        self.proxy.faults().revert_next(selector);
    }

    /// Puts an account on the blacklist of all tokens, or takes it off.
    pub(crate) async fn set_frozen(&self, account: Address, frozen: bool) -> anyhow::Result<()> {
        genesis::set_frozen(&self.rpc, account, frozen).await
    }

    /// Takes the newest transaction back: empty blocks replace its own and those after it.
    pub(crate) async fn reorganize(&self) -> anyhow::Result<()> {
        let newest = self.rpc.call("eth_blockNumber", json!([])).await?;
        let newest = newest.as_str().and_then(|text| text.strip_prefix("0x"));
        let newest = u64::from_str_radix(newest.context("no block number")?, 16)?;
        for (depth, number) in (1_u64..).zip((1..=newest).rev()) {
            let block = json!([format!("{number:#x}"), false]);
            let block = self.rpc.call("eth_getBlockByNumber", block).await?;
            if block.pointer("/transactions/0").is_some() {
                let without_transactions = json!([depth, []]);
                self.rpc.call("anvil_reorg", without_transactions).await?;
                return Ok(());
            }
        }
        anyhow::bail!("there is no transaction to take back")
    }
}
