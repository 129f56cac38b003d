//! Wake-ups between nodes.

use std::{convert::Infallible, time::Duration};

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::time::{sleep, timeout};

use super::Core;
use crate::store::shared::{Trouble, understood};

/// How often a silent connection is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Listens over a connection of its own, until that ends.
pub(super) async fn converse(core: &Core, server: &redis::Client) -> Result<Infallible, Trouble> {
    let patience = core.link.patience();
    let connected = timeout(patience, server.get_async_pubsub()).await;
    let connected = connected.map_err(|_| Trouble::timeout())?;
    let mut connection = connected.map_err(Trouble::connecting)?;
    let subscribed = timeout(patience, connection.subscribe(core.keys.changed())).await;
    subscribed.map_err(|_| Trouble::timeout())??;
    // What happened before is found by reading, what follows is heard.
    core.reread().await?;
    let (sink, messages) = connection.split();
    tokio::select! {
        end = hear(core, messages) => end,
        end = ping(sink, patience) => end,
    }
}

async fn hear(core: &Core, mut messages: PubSubStream) -> Result<Infallible, Trouble> {
    while let Some(message) = messages.next().await {
        if let Some((id, version)) = understood(message.get_payload_bytes()) {
            core.waiters.saw(id, version);
        }
    }
    Err(Trouble::closed())
}

async fn ping(mut sink: PubSubSink, patience: Duration) -> Result<Infallible, Trouble> {
    loop {
        sleep(PING_EVERY).await;
        let answer = timeout(patience, sink.ping::<redis::Value>()).await;
        answer.map_err(|_| Trouble::timeout())??;
    }
}
