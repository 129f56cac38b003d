//! Against a real server; see [`server`].

mod behavior;
mod encryption;
mod operators;
mod private;

use std::{net::SocketAddr, time::Duration};

use super::*;
use crate::store::{
    ConnectionString,
    conformance::{self, Backend},
    shared::testing::{address, skip, unique},
};

/// A prefix of its own on the server of `MPP_TEST_REDIS`.
#[derive(Clone)]
struct Server {
    address: String,
    prefixes: Arc<std::sync::Mutex<Vec<String>>>,
}

/// The server, unless it is absent; then the test is skipped.
async fn server() -> Option<Server> {
    let server = Server::at(address("MPP_TEST_REDIS", "redis://127.0.0.1:6379"));
    let client = redis::Client::open(server.address.as_str()).unwrap();
    match client.get_multiplexed_async_connection().await {
        Ok(_) => Some(server),
        Err(error) => {
            skip("Redis", &error);
            None
        }
    }
}

impl Server {
    fn at(address: String) -> Self {
        Self {
            address,
            prefixes: Arc::default(),
        }
    }

    fn config_of(&self, prefix: &str, address: &str) -> RedisConfig {
        let config = RedisConfig::new(&ConnectionString::new(address)).unwrap();
        self.prefixes.lock().unwrap().push(prefix.into());
        config
            .prefix(prefix)
            .unwrap()
            .patience(Duration::from_secs(30))
    }

    /// The configuration of a new prefix.
    fn fresh(&self) -> RedisConfig {
        self.config_of(&format!("{}:", unique("mpp_test")), &self.address)
    }

    async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.address.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    async fn run(&self, command: &[&[u8]]) -> redis::Value {
        let mut cmd = redis::Cmd::new();
        cmd.arg(command);
        cmd.query_async(&mut self.connection().await).await.unwrap()
    }

    /// Deletes the prefixes, also when the test has failed.
    async fn clean<T>(self, test: impl Future<Output = T>) -> T {
        use futures_util::FutureExt as _;
        let result = std::panic::AssertUnwindSafe(test).catch_unwind().await;
        let prefixes = std::mem::take(&mut *self.prefixes.lock().unwrap());
        // As text, since other tests empty the server's cache of scripts.
        let delete = "for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
                redis.call('UNLINK', key)
            end";
        let mut connection = self.connection().await;
        for prefix in prefixes {
            let () = redis::cmd("EVAL")
                .arg((delete, 0, prefix))
                .query_async(&mut connection)
                .await
                .unwrap();
        }
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Host and port, for a proxy.
    fn socket(&self) -> SocketAddr {
        let (_, rest) = self.address.split_once("://").unwrap();
        let host = rest.rsplit('@').next().unwrap();
        host.split('/').next().unwrap().parse().unwrap()
    }
}

impl Backend for Server {
    type Store = RedisStore;

    async fn create(&self) -> RedisStore {
        RedisStore::connect(&self.fresh()).await.unwrap()
    }

    async fn another(&self, store: &RedisStore) -> RedisStore {
        let config = self.config_of(&prefix(store), &self.address);
        RedisStore::connect(&config).await.unwrap()
    }

    async fn reopen(&self, store: RedisStore) -> Option<RedisStore> {
        let prefix = prefix(&store);
        drop(store);
        let config = self.config_of(&prefix, &self.address);
        Some(RedisStore::connect(&config).await.unwrap())
    }

    fn model_cases(&self) -> u32 {
        32
    }
}

fn prefix(store: &RedisStore) -> String {
    let form = store.core.keys.form();
    form.strip_suffix("form").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_every_promise() {
    let Some(server) = server().await else { return };
    let test = conformance::run_all(&server);
    server.clone().clean(test).await;
}
