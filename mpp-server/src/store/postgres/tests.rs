//! Against a real server; see [`server`].

mod behavior;
mod encryption;
mod operators;
mod outages;
mod private;

use std::{net::SocketAddr, time::Duration};

use tokio_postgres::{Client, NoTls};

use super::*;
use crate::store::{
    ConnectionString,
    conformance::{self, Backend},
    shared::testing::{address, skip, unique},
};

/// A schema of its own on the server of `MPP_TEST_POSTGRES`.
#[derive(Clone)]
struct Server {
    address: String,
    names: Arc<std::sync::Mutex<Vec<String>>>,
    options: &'static str,
}

/// The server, unless it is absent; then the test is skipped.
async fn server() -> Option<Server> {
    let default = "postgres://postgres@127.0.0.1:5432/test";
    let address = address("MPP_TEST_POSTGRES", default);
    match tokio_postgres::connect(&address, NoTls).await {
        Ok(_) => Some(Server {
            address,
            names: Arc::default(),
            options: "",
        }),
        Err(error) => {
            skip("PostgreSQL", &error);
            None
        }
    }
}

impl Server {
    /// The connection string, with a name by which its connections are known.
    fn address(&self, name: &str) -> String {
        let joint = if self.address.contains('?') { '&' } else { '?' };
        let (address, options) = (&self.address, self.options);
        format!("{address}{joint}application_name={name}{options}")
    }

    fn config_of(&self, name: &str, address: &str) -> PostgresConfig {
        let config = PostgresConfig::new(&ConnectionString::new(address)).unwrap();
        self.names.lock().unwrap().push(name.into());
        config
            .schema(name)
            .unwrap()
            .connections(4)
            .patience(Duration::from_secs(30))
    }

    /// The configuration of a new schema, without tables.
    fn empty(&self) -> PostgresConfig {
        let name = unique("mpp_test");
        self.config_of(&name, &self.address(&name))
    }

    /// The configuration of a new schema with tables.
    async fn fresh(&self) -> PostgresConfig {
        let config = self.empty();
        PostgresStore::migrate(&config).await.unwrap();
        config
    }

    async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.address, NoTls).await.unwrap();
        // It ends with the client.
        Tasks::default().start(async move { drop(connection.await) });
        client
    }

    /// Ends the connections of a schema's stores, as a failover does.
    async fn terminate(&self, schema: &str) -> i64 {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name = $1 AND pid <> pg_backend_pid()";
        let client = self.client().await;
        client.query_one(sql, &[&schema]).await.unwrap().get(0)
    }

    /// Drops the schemas, also when the test has failed.
    async fn clean<T>(self, test: impl Future<Output = T>) -> T {
        use futures_util::FutureExt as _;
        let result = std::panic::AssertUnwindSafe(test).catch_unwind().await;
        let names = std::mem::take(&mut *self.names.lock().unwrap());
        let client = self.client().await;
        for name in names {
            let drop = format!("DROP SCHEMA IF EXISTS {name} CASCADE");
            client.batch_execute(&drop).await.unwrap();
        }
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Host and port, for a proxy.
    fn socket(&self) -> SocketAddr {
        let config: tokio_postgres::Config = self.address.parse().unwrap();
        let host = match config.get_hosts() {
            [tokio_postgres::config::Host::Tcp(host), ..] => host.clone(),
            other => panic!("no TCP address: {other:?}"),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        format!("{host}:{port}").parse().unwrap()
    }
}

impl Backend for Server {
    type Store = PostgresStore;

    async fn create(&self) -> PostgresStore {
        PostgresStore::connect(&self.fresh().await).await.unwrap()
    }

    async fn another(&self, store: &PostgresStore) -> PostgresStore {
        let name = schema(store);
        let config = self.config_of(name, &self.address(name));
        PostgresStore::connect(&config).await.unwrap()
    }

    async fn reopen(&self, store: PostgresStore) -> Option<PostgresStore> {
        self.terminate(schema(&store)).await;
        let again = self.another(&store).await;
        drop(store);
        Some(again)
    }

    fn model_cases(&self) -> u32 {
        16
    }
}

fn schema(store: &PostgresStore) -> &str {
    store.core.sql.channel.strip_prefix("mpp_").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_every_promise() {
    let Some(server) = server().await else { return };
    let test = conformance::run_all(&server);
    server.clone().clean(test).await;
}

// Every statement is one transaction, whatever the isolation: conflicts that
// the server reports are tried again and none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn serialization_failures_are_tried_again() {
    let Some(mut server) = server().await else {
        return;
    };
    server.options = "&options=-c%20default_transaction_isolation%3Dserializable";
    let test = async {
        conformance::no_update_is_lost(&server).await;
        conformance::histories_are_serial(&server).await;
        conformance::the_newest_outcomes_are_kept(&server).await;
        conformance::claims_race(&server).await;
    };
    server.clone().clean(test).await;
}
