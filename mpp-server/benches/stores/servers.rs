//! Stores on servers that run on this machine, when they do.

use std::fmt::Display;

use mpp_server::store::{
    ChannelStore as _, ConnectionString, PostgresConfig, PostgresStore, RedisConfig, RedisStore,
};

/// Connections of the PostgreSQL store.
const CONNECTIONS: usize = 32;

/// A schema of its own in PostgreSQL.
pub(crate) struct Postgres {
    address: String,
    schema: String,
}

impl Postgres {
    /// The server of `MPP_TEST_POSTGRES`, and what it promises.
    pub(crate) async fn open(channels: usize) -> Option<(Self, PostgresStore)> {
        let default = "postgres://postgres@127.0.0.1:5432/test";
        let server = Self {
            address: address("MPP_TEST_POSTGRES", default),
            schema: format!("mpp_bench_{}_{channels}", std::process::id()),
        };
        let config = PostgresConfig::new(&ConnectionString::new(&server.address)).unwrap();
        let config = config.schema(&server.schema).unwrap();
        let config = config.connections(CONNECTIONS);
        if let Err(error) = PostgresStore::migrate(&config).await {
            return absent(error);
        }
        let store = PostgresStore::connect(&config).await.unwrap();
        Some((server, store))
    }

    /// Removes what the row has written.
    pub(crate) async fn clean(self) {
        let config = tokio_postgres::connect(&self.address, tokio_postgres::NoTls);
        let (client, connection) = config.await.unwrap();
        let drop = format!("DROP SCHEMA {} CASCADE", self.schema);
        tokio::select! {
            dropped = client.batch_execute(&drop) => dropped.unwrap(),
            ended = connection => ended.unwrap(),
        }
    }
}

/// A prefix of its own in Redis.
pub(crate) struct Redis {
    address: String,
    prefix: String,
}

impl Redis {
    /// The server of `MPP_TEST_REDIS`, and what it promises.
    pub(crate) async fn open(channels: usize) -> Option<(Self, RedisStore)> {
        let server = Self {
            address: address("MPP_TEST_REDIS", "redis://127.0.0.1:6379"),
            prefix: format!("mpp_bench_{}_{channels}:", std::process::id()),
        };
        let config = RedisConfig::new(&ConnectionString::new(&server.address)).unwrap();
        let config = config.prefix(&server.prefix).unwrap();
        match RedisStore::connect(&config).await {
            Ok(store) => {
                println!("({})", store.durability());
                Some((server, store))
            }
            Err(error) => absent(error),
        }
    }

    /// Removes what the row has written.
    pub(crate) async fn clean(self) {
        let client = redis::Client::open(self.address.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let delete = redis::Script::new(
            "for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
                redis.call('UNLINK', key)
            end",
        );
        let delete = delete.arg(self.prefix).invoke_async(&mut connection).await;
        let () = delete.unwrap();
    }
}

fn address(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| String::from(default))
}

fn absent<T>(error: impl Display) -> Option<T> {
    println!("no row: {error}");
    None
}
