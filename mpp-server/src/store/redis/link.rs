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
        let turn = tokio::time::timeout(self.patience, self.connecting.lock());
        let _turn = turn.await.map_err(|_| Trouble::unreachable())?;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        // However long this caller has waited, it connects for all who wait now:
        // cut short each time, nobody would ever get through.
        let connecting = tokio::time::timeout(self.patience, self.connect());
        connecting.await.map_err(|_| Trouble::unreachable())?
    }

    /// Connects; for whoever has the turn.
    async fn connect(&self) -> Result<(MultiplexedConnection, u64), Trouble> {
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
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        task::JoinSet,
    };

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

    /// Answers nobody for a while, and whoever connects later after a moment.
    async fn silent_for(pause: Duration) -> (String, JoinSet<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("redis://{}", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move {
            let begun = tokio::time::Instant::now();
            let (mut silent, mut served) = (Vec::new(), JoinSet::new());
            while let Ok((stream, _)) = listener.accept().await {
                match begun.elapsed() < pause {
                    true => silent.push(stream),
                    false => drop(served.spawn(slow_server(stream))),
                }
            }
        });
        (address, server)
    }

    async fn slow_server(mut stream: tokio::net::TcpStream) {
        let mut buffer = [0; 4_096];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
            // No argument of these commands holds an asterisk.
            let commands = buffer.iter().take(read).filter(|byte| **byte == b'*');
            let answer = b"+OK\r\n".repeat(commands.count());
            if stream.write_all(&answer).await.is_err() {
                break;
            }
        }
    }

    // After a silent outage many wait, and each has waited for almost as long as it can: whoever
    // connects for them must not be cut short for that.
    #[tokio::test]
    async fn a_server_that_answers_again_is_reached_however_many_wait() {
        let patience = Duration::from_millis(200);
        let (address, _server) = silent_for(patience * 2).await;
        let config = RedisConfig::new(&ConnectionString::new(address)).unwrap();
        let link = Arc::new(Link::new(&config.patience(patience)));
        let mut asked = JoinSet::new();
        for _ in 0..1_200 {
            let link = Arc::clone(&link);
            asked.spawn(async move {
                let mut commands = redis::pipe();
                commands.cmd("GET").arg("x");
                link.ask::<redis::Value>(&commands).await.is_ok()
            });
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(asked.join_all().await.contains(&true));
    }
}
