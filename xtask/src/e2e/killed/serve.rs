//! The server that is killed, in a process of its own.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use mpp_core::{Realm, SecretKey, Timestamp};
use mpp_server::{
    EmbeddedStore, PaymentServer, SettlePolicy,
    clock::{Clock, SystemClock},
    settle::FeeLimits,
};
use mpp_tempo::{LocalSigner, Network, SessionProtocol, chain::rpc::RpcChain};

use crate::{
    account::ALPHA_USD,
    e2e::settle::{quick, router},
};

/// What the process is told.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeOptions {
    /// The chain's JSON-RPC.
    #[arg(long)]
    node: String,
    /// Where the store is.
    #[arg(long)]
    store: PathBuf,
    /// v1 or v2.
    #[arg(long)]
    protocol: SessionProtocol,
    /// Pause between two looks at the chain's events.
    #[arg(long)]
    watch_millis: u64,
    /// Seconds by which the chain's clock is ahead of the wall clock.
    #[arg(long)]
    ahead: u32,
}

/// Name of the variable with the secret that binds challenges.
pub(super) const SECRET: &str = "MPP_SECRET_KEY";
/// Name of the variable with the key of the account that is paid.
pub(super) const ACCOUNT: &str = "MPP_ACCOUNT_KEY";

/// Sells photos until it is killed.
pub(crate) async fn serve(options: &ServeOptions) -> anyhow::Result<()> {
    let account = std::env::var(ACCOUNT).context(ACCOUNT)?;
    let chain = RpcChain::connect(&options.node).await?;
    let network = mpp_tempo::chain::ChainClient::chain_id(&chain);
    let network = Network::by_chain_id(network).context("not a Tempo network")?;
    let mut policy = quick(SettlePolicy::on_demand());
    // So that fees do not touch what is earned.
    policy.fees = FeeLimits {
        token: Some(ALPHA_USD),
        ..policy.fees
    };
    let server = PaymentServer::builder()
        .realm(Realm::new("killed.example")?)
        .secret_key(SecretKey::from_env(SECRET)?)
        .network(network)
        .chain(chain)
        .account(LocalSigner::from_hex(&account)?)
        .store(EmbeddedStore::open(&options.store)?)
        .clock(Ahead(Duration::from_secs(options.ahead.into())))
        .watch_every(Duration::from_millis(options.watch_millis))
        .settlement(policy)
        .build()?;
    let router = router(&server, options.protocol)?;
    server.ready().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let app = router.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}

/// The wall clock, as much ahead as the chain's.
#[derive(Debug)]
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        let now = SystemClock.now();
        now.checked_add(self.0).unwrap_or(now)
    }
}
