//! Sells and buys explanations, on a local chain.
//!
//! ```sh
//! cargo run -p mpp-example-mcp-tool          # a client and its server, over stdio
//! cargo run -p mpp-example-mcp-tool -- http  # the same over Streamable HTTP
//! ```
//!
//! `serve` is the server alone, as an MCP client starts it. It is configured by
//! `MPP_RPC_URL`, `MPP_ACCOUNT_KEY`, `MPP_SECRET_KEY` and `MPP_STORE`. Its
//! standard output belongs to the protocol; what it has to say goes to the
//! standard error.

#![expect(clippy::print_stdout, reason = "the client talks to its terminal")]

use std::{net::SocketAddr, path::PathBuf, process::Stdio};

use anyhow::Context as _;
use mpp_client::{Origin, Payer, Policy};
use mpp_core::{Amount, Realm, SecretKey};
use mpp_devnet::{Devnet, DevnetConfig};
use mpp_mcp::rmcp::{PayingPeer, advertise};
use mpp_server::{EmbeddedStore, PaymentServer};
use mpp_tempo::{LocalSigner, Network, chain::rpc::RpcChain, network::PATH_USD};
use rmcp::{
    RoleClient, ServiceExt as _,
    model::{CallToolRequestParams, ClientConfig},
    service::RunningService,
    transport::{StreamableHttpClientTransport, stdio},
};
use tokio::process::Command;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match std::env::args().nth(1).as_deref() {
        None => over_stdio().await,
        Some("http") => over_http().await,
        Some("serve") => serve().await,
        Some(other) => anyhow::bail!("`{other}` is neither `http` nor `serve`"),
    }
}

/// Sells over stdio until the client is gone.
async fn serve() -> anyhow::Result<()> {
    let variable = |name: &'static str| std::env::var(name).context(name);
    let server = PaymentServer::builder()
        .realm(Realm::new("localhost")?)
        .secret_key(SecretKey::from_env("MPP_SECRET_KEY")?)
        .network(Network::MODERATO)
        .chain(RpcChain::connect(&variable("MPP_RPC_URL")?).await?)
        .account(LocalSigner::from_hex(&variable("MPP_ACCOUNT_KEY")?)?)
        .store(EmbeddedStore::open(variable("MPP_STORE")?)?)
        .production()
        .build()?;
    let tools = mpp_example_mcp_tool::tools(&server, mpp_example_mcp_tool::offer(&server))?;
    tools.serve(stdio()).await?.waiting().await?;
    server.shutdown().await;
    Ok(())
}

/// A client that starts its server.
async fn over_stdio() -> anyhow::Result<()> {
    let devnet = Devnet::new(DevnetConfig::default());
    let node = devnet.serve(([127, 0, 0, 1], 0).into()).await?;
    let store = Scratch::new();
    let mut child = Command::new(std::env::current_exe()?)
        .arg("serve")
        .env("MPP_RPC_URL", node.url())
        .env("MPP_ACCOUNT_KEY", key(&devnet, 0)?)
        .env(
            "MPP_SECRET_KEY",
            format!("{:032x}{:032x}", rand::random::<u128>(), 1),
        )
        .env("MPP_STORE", &store.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pipes = child.stdout.take().zip(child.stdin.take());
    let payer = payer(&devnet)?;
    let client = advertise(ClientConfig::default(), &payer);
    let client = client.serve(pipes.context("the server's pipes")?).await?;
    println!("a server over stdio, paid on chain {}", node.url());
    buy(&devnet, &client, payer, Origin::process("glossary")?).await?;
    client.cancel().await?;
    child.wait().await?;
    Ok(())
}

/// A client and a server on a socket.
async fn over_http() -> anyhow::Result<()> {
    let devnet = Devnet::new(DevnetConfig::default());
    let server = PaymentServer::builder()
        .realm(Realm::new("localhost")?)
        .secret_key(SecretKey::from_bytes(&rand::random::<[u8; 32]>())?)
        .network(Network::MODERATO)
        .chain(devnet.clone())
        .account(LocalSigner::from_hex(&key(&devnet, 0)?)?)
        .build()?;
    let app = mpp_example_mcp_tool::router(&server, mpp_example_mcp_tool::offer(&server))?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let buying = async {
        let payer = payer(&devnet)?;
        let client = advertise(ClientConfig::default(), &payer);
        let client = client
            .serve(StreamableHttpClientTransport::from_uri(url.clone()))
            .await?;
        println!("a server at {url}");
        let origin = Origin::of(&url.parse::<url::Url>()?)?;
        buy(&devnet, &client, payer, origin).await?;
        client.cancel().await?;
        anyhow::Ok(())
    };
    tokio::select! {
        served = axum::serve(listener, service) => served?,
        bought = buying => bought?,
    }
    server.shutdown().await;
    Ok(())
}

/// Asks for every word, and for one that nobody knows.
async fn buy(
    devnet: &Devnet,
    client: &RunningService<RoleClient, ClientConfig>,
    payer: Payer,
    origin: Origin,
) -> anyhow::Result<()> {
    let account = payer.address();
    let before = devnet.balance(PATH_USD, account);
    let tools = PayingPeer::new(client.peer().clone(), payer, origin);
    let known = mpp_example_mcp_tool::words();
    for word in known.chain(["blockchain"]) {
        let arguments = serde_json::json!({ "word": word });
        let call = CallToolRequestParams::new("explain")
            .with_arguments(arguments.as_object().cloned().unwrap_or_default());
        let answer = tools.call_tool(call).await?;
        let content = answer.result.content.first();
        let text = content.and_then(|block| block.as_text());
        let text = text.map_or("", |block| block.text.as_str());
        let paid = match &answer.receipt {
            Some(mpp_core::Receipt::Session(receipt)) => format!("{} spent", receipt.spent),
            Some(mpp_core::Receipt::Charge(_)) => String::from("paid"),
            None => String::from("not charged"),
        };
        println!("{word:>12}  {text:<50} {paid}");
    }
    let closed = tools.close().await?;
    let after = devnet.balance(PATH_USD, account);
    let cost = before.checked_sub(after).unwrap_or_default();
    println!(
        "channel {} closed in {}",
        closed.channel_id,
        closed.tx_hash.unwrap_or_default()
    );
    println!("it cost {cost} base units, fees included");
    Ok(())
}

fn payer(devnet: &Devnet) -> anyhow::Result<Payer> {
    Ok(Payer::builder()
        .signer(LocalSigner::from_hex(&key(devnet, 1)?)?)
        .chain(devnet.clone())
        // At most a dollar in a channel, at most a cent for a call.
        .policy(Policy::new(Amount::from_decimal("1", 6)?).max_unit_price(Amount::new(10_000)))
        .build()?)
}

fn key(devnet: &Devnet, account: usize) -> anyhow::Result<String> {
    let account = devnet.accounts().get(account).context("a dev account")?;
    Ok(account.private_key.clone())
}

/// A file of the server's, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("mpp-mcp-tool-{:032x}.store", rand::random::<u128>());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can not be removed, the system removes later.
        drop(std::fs::remove_file(&self.0));
    }
}
