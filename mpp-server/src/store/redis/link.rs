//! The connection that all operations share, and attempts over it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, FromRedisValue, RedisError, Script, ScriptInvocation,
    aio::MultiplexedConnection,
};

use super::{config::RedisConfig, keys::Keys, server};
use crate::store::{
    StoreFault,
    shared::{Fate, Trouble, persist},
};

/// One connection; commands of many callers follow each other on it.
pub(super) struct Link {
    server: redis::Client,
    patience: Duration,
    /// The key that a server has which keeps this store.
    form: String,
    current: Mutex<Current>,
    /// Held while connecting: one caller does it for all.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Counts the connections, so that a broken one is given up once.
    number: u64,
}

impl Link {
    /// Does not connect yet.
    pub(super) fn new(config: &RedisConfig) -> Self {
        Self {
            server: config.server.clone(),
            patience: config.patience,
            form: Keys::new(&config.prefix).form(),
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Runs a script once.
    ///
    /// # Cancel safety
    /// Dropped, the script runs whole or not at all.
    pub(super) async fn once<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Trouble> {
        let (mut connection, number) = self.connection().await?;
        let answer = script.invoke_async(&mut connection).await;
        answer.map_err(|error| self.failed(error, number))
    }

    /// Runs a script that may be repeated, until it succeeds or patience ends.
    ///
    /// # Cancel safety
    /// As [`once`](Self::once).
    pub(super) async fn again<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreFault> {
        persist(self.patience, || self.once(script)).await
    }

    /// Sends a command or pipeline that may be repeated.
    ///
    /// # Cancel safety
    /// As [`once`](Self::once).
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        commands: &redis::Pipeline,
    ) -> Result<T, StoreFault> {
        persist(self.patience, || async {
            let (mut connection, number) = self.connection().await?;
            let answer = commands.query_async(&mut connection).await;
            answer.map_err(|error| self.failed(error, number))
        })
        .await
    }

    /// The current connection, or a new one.
    ///
    /// # Cancel safety
    /// Dropped, the next caller connects.
    pub(super) async fn connection(&self) -> Result<(MultiplexedConnection, u64), Trouble> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        // Also the wait for others who could not connect is bounded.
        let connecting = tokio::time::timeout(self.patience, self.connect());
        connecting.await.map_err(|_| Trouble::unreachable())?
    }

    async fn connect(&self) -> Result<(MultiplexedConnection, u64), Trouble> {
        let _turn = self.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience))
            .set_response_timeout(Some(self.patience));
        let connected = self
            .server
            .get_multiplexed_async_connection_with_config(&config);
        let mut connection = connected.await.map_err(Trouble::connecting)?;
        let is_again = self.lock().number > 0;
        if is_again {
            server::look_again(&mut connection, &self.form).await?;
        }
        let mut current = self.lock();
        current.number = current.number.wrapping_add(1);
        current.connection = Some(connection.clone());
        Ok((connection, current.number))
    }

    fn current(&self) -> Option<(MultiplexedConnection, u64)> {
        let current = self.lock();
        let connection = current.connection.clone()?;
        Some((connection, current.number))
    }

    /// Gives a connection up unless the server itself refused.
    fn failed(&self, error: RedisError, number: u64) -> Trouble {
        let trouble = Trouble::from(error);
        if trouble.fate != Fate::Refused {
            let mut current = self.lock();
            if current.number == number {
                current.connection = None;
            }
        }
        trouble
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// The scripts, each known by its hash after its first run.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) commit: Script,
    pub(super) claim: Script,
    pub(super) documents: Script,
    pub(super) scan: Script,
    pub(super) ledger: Script,
    pub(super) oldest: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            commit: Script::new(include_str!("scripts/commit.lua")),
            claim: Script::new(include_str!("scripts/claim.lua")),
            documents: Script::new(include_str!("scripts/documents.lua")),
            scan: Script::new(include_str!("scripts/scan.lua")),
            ledger: Script::new(include_str!("scripts/ledger.lua")),
            oldest: Script::new(include_str!("scripts/oldest.lua")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ConnectionString;

    // A host that has vanished answers nobody: all are told so, and not one after the other.
    #[tokio::test]
    async fn many_who_wait_for_a_connection_wait_together() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("redis://{}", silent.local_addr().unwrap());
        let patience = Duration::from_millis(200);
        let config = RedisConfig::new(&ConnectionString::new(address)).unwrap();
        let link = Link::new(&config.patience(patience));
        let mut commands = redis::pipe();
        commands.cmd("GET").arg("x");
        let ask = || link.ask::<redis::Value>(&commands);
        let all = futures_util::future::join_all((0..20).map(|_| ask()));
        let told = tokio::time::timeout(patience * 5, all).await;
        let told = told.expect("the last has waited for all before it");
        assert!(told.iter().all(|answer| answer.is_err()));
    }
}
