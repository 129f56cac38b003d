//! Serves photos on a Tempo network.
//!
//! Configured by environment variables: `MPP_RPC_URL`, `MPP_ACCOUNT_KEY` and
//! `MPP_SECRET_KEY` are required (the first may name several nodes, separated by
//! commas), and there are
//!
//! * `MPP_LISTEN`: the address to listen on, `127.0.0.1:3000` if not set,
//! * `MPP_STORE`: the store's file, `photo.store` if not set,
//! * `MPP_DURABILITY`: when a payment is acknowledged: on the disk with a wait
//!   of its own (`strict`), on the disk with a shared wait (`group`, if not
//!   set), or at once as long as a crash would lose no more than so many base
//!   units of a channel and of all channels (`relaxed:10000:50000`).

use anyhow::Context as _;
use mpp_core::{Amount, Realm, SecretKey};
use mpp_server::{EmbeddedStore, PaymentServer, SyncMode, store::LossCaps};
use mpp_tempo::{
    LocalSigner, Network,
    chain::{FailoverChain, rpc::RpcChain},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let variable = |name: &'static str| std::env::var(name).context(name);
    let or = |name, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.into());
    let mode = sync_mode(&or("MPP_DURABILITY", "group"))?;
    let store = EmbeddedStore::options().mode(mode);
    let server = PaymentServer::builder()
        .realm(Realm::new("localhost")?)
        .secret_key(SecretKey::from_env("MPP_SECRET_KEY")?)
        .network(Network::MODERATO)
        .chain(connect(&variable("MPP_RPC_URL")?).await?)
        .account(LocalSigner::from_hex(&variable("MPP_ACCOUNT_KEY")?)?)
        .store(store.open(or("MPP_STORE", "photo.store"))?)
        .production()
        .build()?;
    let app = mpp_example_photo::router(&server, mpp_example_photo::offer(&server))?;
    server.ready().await?;
    let address = or("MPP_LISTEN", "127.0.0.1:3000");
    let listener = tokio::net::TcpListener::bind(&address)
        .await
        .with_context(|| format!("can not listen on {address}"))?;
    tracing::info!("selling photos at http://{}/photos", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            drop(tokio::signal::ctrl_c().await);
        })
        .await?;
    server.shutdown().await;
    Ok(())
}

/// One or several nodes, separated by commas; those that answer are used.
async fn connect(urls: &str) -> anyhow::Result<FailoverChain<RpcChain>> {
    let mut nodes = Vec::new();
    for (number, url) in urls.split(',').enumerate() {
        match RpcChain::connect(url.trim()).await {
            Ok(node) => nodes.push(node),
            Err(error) => tracing::warn!(number, %error, "a node does not answer"),
        }
    }
    Ok(FailoverChain::new(nodes)?)
}

fn sync_mode(text: &str) -> anyhow::Result<SyncMode> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        ["strict"] => Ok(SyncMode::Strict),
        ["group"] => Ok(SyncMode::Group),
        ["relaxed", per_channel, total] => Ok(SyncMode::Relaxed(LossCaps {
            per_channel: Amount::new(per_channel.parse()?),
            total: Amount::new(total.parse()?),
        })),
        _ => anyhow::bail!("MPP_DURABILITY: {text}"),
    }
}
