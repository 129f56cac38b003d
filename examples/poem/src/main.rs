//! Serves the poem on a Tempo network.

use anyhow::Context as _;
use mpp_core::{Realm, SecretKey};
use mpp_server::{EmbeddedStore, PaymentServer};
use mpp_tempo::{LocalSigner, Network, chain::rpc::RpcChain};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let variable = |name: &'static str| std::env::var(name).context(name);
    let path = std::env::var("MPP_STORE").unwrap_or_else(|_| "poem.store".into());
    let server = PaymentServer::builder()
        .realm(Realm::new("localhost")?)
        .secret_key(SecretKey::from_env("MPP_SECRET_KEY")?)
        .network(Network::MODERATO)
        .chain(RpcChain::connect(&variable("MPP_RPC_URL")?).await?)
        .account(LocalSigner::from_hex(&variable("MPP_ACCOUNT_KEY")?)?)
        .store(EmbeddedStore::open(path)?)
        .production()
        .build()?;
    let app = mpp_example_poem::router(&server, mpp_example_poem::offer(&server))?;
    server.ready().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    tracing::info!("selling a poem at http://{}/poem", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            drop(tokio::signal::ctrl_c().await);
        })
        .await?;
    server.shutdown().await;
    Ok(())
}
