//! `cargo xtask nodes`: two server processes over one PostgreSQL.
//!
//! One charge is shown to both at once, a hundred times: it is served once. Many
//! clients buy from the same channels at both, more than there is: every unit is
//! sold once. Then a stream waits at one node for vouchers that come
//! to the other, and the time until it goes on is measured.

mod copies;
mod resume;
mod rush;
mod serve;

use alloy_primitives::B256;
use anyhow::Context as _;
use mpp_server::store::{ConnectionString, PostgresConfig, PostgresStore};
use mpp_tempo::Signer as _;

pub(crate) use self::serve::{ServeOptions, serve};
use crate::{account, e2e::dollars, node::Node, process::ServerProcess};

/// Where PostgreSQL answers unless `MPP_TEST_POSTGRES` says otherwise.
const DEFAULT_SERVER: &str = "postgres://postgres@127.0.0.1:5432/test";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many clients buy at once.
    #[arg(long, default_value_t = 64)]
    clients: u32,
}

/// What both processes have in common.
#[derive(Debug)]
struct Setup {
    node: Node,
    schema: Schema,
    secret: String,
    account: B256,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let node = Node::embedded().await?;
    let account = B256::random();
    let payee = mpp_tempo::LocalSigner::from_bytes(&account.0)?;
    account::fund(&node, payee.address(), dollars(10)).await?;
    let setup = Setup {
        node,
        schema: Schema::create().await?,
        secret: format!("{:#x}", B256::random()),
        account,
    };
    let checked = check(&setup, options).await;
    setup.schema.drop().await?;
    checked
}

async fn check(setup: &Setup, options: &Options) -> anyhow::Result<()> {
    let nodes = [start(setup).await?, start(setup).await?];
    println!("nodes {} and {}", nodes[0].url, nodes[1].url);
    let store = PostgresStore::connect(&setup.schema.config()?).await?;
    copies::run(setup, &nodes).await?;
    rush::run(setup, &nodes, &store, options.clients).await?;
    resume::run(setup, &nodes, &store).await
}

/// Starts one of the servers.
async fn start(setup: &Setup) -> anyhow::Result<ServerProcess> {
    let arguments = [
        "serve-node",
        "--node",
        &setup.node.url,
        "--schema",
        &setup.schema.0,
    ];
    let account = format!("{:#x}", setup.account);
    let environment = [(serve::SECRET, &*setup.secret), (serve::ACCOUNT, &*account)];
    ServerProcess::start(&arguments, &environment).await
}

/// Tables of this run's own.
#[derive(Debug)]
struct Schema(String);

impl Schema {
    async fn create() -> anyhow::Result<Self> {
        let schema = Self(format!("mpp_nodes_{}", std::process::id()));
        PostgresStore::migrate(&schema.config()?)
            .await
            .context("PostgreSQL; the README says how to start one")?;
        Ok(schema)
    }

    fn config(&self) -> anyhow::Result<PostgresConfig> {
        config(&self.0)
    }

    async fn drop(self) -> anyhow::Result<()> {
        let (client, connection) =
            tokio_postgres::connect(&server(), tokio_postgres::NoTls).await?;
        let drop = format!("DROP SCHEMA {} CASCADE", self.0);
        // The connection ends when the client is dropped.
        let work = async move { client.batch_execute(&drop).await };
        let (dropped, ended) = tokio::join!(work, connection);
        ended?;
        Ok(dropped?)
    }
}

fn config(schema: &str) -> anyhow::Result<PostgresConfig> {
    let server = ConnectionString::new(server());
    Ok(PostgresConfig::new(&server)?.schema(schema)?)
}

fn server() -> String {
    std::env::var("MPP_TEST_POSTGRES").unwrap_or_else(|_| DEFAULT_SERVER.to_owned())
}
