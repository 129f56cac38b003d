//! Wake-ups between nodes: what is heard, and what is told.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use futures_util::{StreamExt, stream};
use mpp_tempo::channel::ChannelId;
use tokio::{sync::Notify, time::timeout};
use tokio_postgres::{AsyncMessage, Client};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Core, config::PostgresConfig, fault};
use crate::store::{
    Version,
    shared::{Trouble, announcement, understood},
};

/// Changes that other nodes were not told of yet, one per channel.
///
/// They are told outside of the commit: PostgreSQL lets only one transaction
/// that notifies commit at a time, so that commits which notify could not
/// share a flush of the log. What is lost here, is found by re-reading.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    changes: Mutex<HashMap<ChannelId, Version>>,
    filled: Notify,
}

impl Outbox {
    pub(super) fn put(&self, id: ChannelId, version: Version) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = changes.entry(id).or_insert(version);
        *newest = version.max(*newest);
        drop(changes);
        self.filled.notify_one();
    }

    /// Waits for changes and takes all of them.
    async fn take(&self) -> Vec<String> {
        loop {
            let taken =
                std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken
                    .into_iter()
                    .map(|(id, version)| announcement(id, version))
                    .collect();
            }
            self.filled.notified().await;
        }
    }
}

/// Listens and tells over a connection of its own, until that ends.
pub(super) async fn converse(
    core: &Core,
    config: &PostgresConfig,
    tls: MakeRustlsConnect,
) -> Result<Infallible, Trouble> {
    let connected = timeout(config.patience, config.server.connect(tls)).await;
    let connected = connected.map_err(|_| Trouble::timeout())?;
    let (client, mut connection) = connected.map_err(fault::connecting)?;
    let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
    let hear = async {
        while let Some(message) = messages.next().await {
            if let AsyncMessage::Notification(told) = message?
                && let Some((id, version)) = understood(told.payload().as_bytes())
            {
                core.waiters.saw(id, version);
            }
        }
        Err(Trouble::closed())
    };
    // Hearing drives the connection; telling only queues its statements.
    tokio::select! {
        end = hear => end,
        end = tell(core, &client) => end,
    }
}

async fn tell(core: &Core, client: &Client) -> Result<Infallible, Trouble> {
    // An announcement is not worth a flush: it only says what is durable.
    let listen = format!("SET synchronous_commit = off; LISTEN {}", core.sql.channel);
    client.batch_execute(&listen).await?;
    // What happened before is found by reading, what follows is heard.
    core.reread().await?;
    let notify = client
        .prepare("SELECT pg_notify($1, change) FROM unnest($2::text[]) AS change")
        .await?;
    loop {
        let changes = core.outbox.take().await;
        client
            .query(&notify, &[&core.sql.channel, &changes])
            .await?;
    }
}
