//! One attempt at one statement, and the attempts that follow.

use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolConfig, RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres::{Row, types::ToSql};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::PostgresConfig;
use crate::store::{
    StoreFault,
    shared::{Trouble, persist},
};

/// What a statement is given.
pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The connections of one store.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pool: Pool,
    patience: Duration,
}

impl Link {
    /// Opens no connection yet.
    pub(super) fn new(config: &PostgresConfig, tls: MakeRustlsConnect) -> Result<Self, StoreFault> {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(config.server.clone(), tls, recycling);
        let patience = Some(config.patience);
        let pool = Pool::builder(manager)
            .config(PoolConfig::new(config.connections))
            .timeouts(Timeouts {
                wait: patience,
                create: patience,
                recycle: patience,
            })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| {
                StoreFault::lasting("no pool of connections", Some(Box::new(error)))
            })?;
        Ok(Self {
            pool,
            patience: config.patience,
        })
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// A connection of one's own for several statements.
    pub(super) async fn connection(&self) -> Result<Object, Trouble> {
        Ok(self.pool.get().await?)
    }

    /// Sends a statement once.
    ///
    /// # Cancel safety
    /// Dropped, the statement happens whole or not at all.
    pub(super) async fn once(&self, sql: &str, with: Parameters<'_>) -> Result<Vec<Row>, Trouble> {
        let client = self.connection().await?;
        let answer = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, with).await
        };
        let trouble = match tokio::time::timeout(self.patience, answer).await {
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(error)) => Trouble::from(error),
            Err(_) => Trouble::timeout(),
        };
        // The next one shall not wait behind it, or meet the same replica.
        drop(Object::take(client));
        Err(trouble)
    }

    /// Sends a statement that may be repeated, until it succeeds or patience
    /// ends.
    ///
    /// # Cancel safety
    /// As [`once`](Self::once).
    pub(super) async fn again(
        &self,
        sql: &str,
        with: Parameters<'_>,
    ) -> Result<Vec<Row>, StoreFault> {
        persist(self.patience, || self.once(sql, with)).await
    }
}

/// A column of a row, as the type that it was declared with.
pub(super) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    at: usize,
) -> Result<T, StoreFault> {
    row.try_get(at).map_err(|error| {
        StoreFault::lasting(
            "a column of PostgreSQL has another type",
            Some(error.into()),
        )
    })
}

/// A number that was kept as a signed one.
pub(super) fn unsigned(number: i64) -> Result<u64, StoreFault> {
    u64::try_from(number)
        .map_err(|_| StoreFault::lasting("the channel store holds a negative number", None))
}
