//! The server in each of the two processes.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::{Router, routing::get};
use mpp_core::{Realm, SecretKey};
use mpp_http::server::{Paid, PaymentLayer};
use mpp_server::{PaymentServer, Route, store::PostgresStore};
use mpp_tempo::{LocalSigner, Network, chain::rpc::RpcChain};

use super::config;

/// What a process is told.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeOptions {
    /// The chain's JSON-RPC.
    #[arg(long)]
    pub(super) node: String,
    /// The tables in PostgreSQL.
    #[arg(long)]
    pub(super) schema: String,
}

/// Name of the variable with the secret that binds challenges.
pub(super) const SECRET: &str = "MPP_SECRET_KEY";
/// Name of the variable with the key of the account that is paid.
pub(super) const ACCOUNT: &str = "MPP_ACCOUNT_KEY";

/// Sells photos, a poem and prints until it is killed.
pub(crate) async fn serve(options: &ServeOptions) -> anyhow::Result<()> {
    let account = std::env::var(ACCOUNT).context(ACCOUNT)?;
    let server = PaymentServer::builder()
        .realm(Realm::new("nodes.example")?)
        .secret_key(SecretKey::from_env(SECRET)?)
        .network(Network::MODERATO)
        .chain(RpcChain::connect(&options.node).await?)
        .account(LocalSigner::from_hex(&account)?)
        .store(PostgresStore::connect(&config(&options.schema)?).await?)
        .build()?;
    let router = Router::new()
        .merge(mpp_example_photo::router(
            &server,
            mpp_example_photo::offer(&server),
        )?)
        .merge(mpp_example_poem::router(
            &server,
            mpp_example_poem::offer(&server),
        )?);
    let print = Route::new("/print", [server.charge().amount("0.01").build()?])?;
    let pay = PaymentLayer::new(server.clone(), print);
    let router = router.route("/print", get(print_photo).layer(pay));
    server.ready().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let app = router.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}

/// What a charge of a cent buys.
async fn print_photo(_paid: Paid) -> &'static str {
    "a print"
}
