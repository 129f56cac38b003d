//! Work that goes on as long as a store is there.

use std::{convert::Infallible, future::Future, time::Duration};

use mpp_tempo::channel::ChannelId;
use tokio::time::{Instant, sleep};

use super::Trouble;
use crate::store::{StoreFault, Version};

/// Between two attempts to listen, at first.
const SHORTEST: Duration = Duration::from_millis(200);
/// Between two attempts in a long outage. Re-reading goes on meanwhile.
const LONGEST: Duration = Duration::from_secs(5);

/// Listens to other nodes, and connects again whenever that ends.
pub(in crate::store) async fn keep_listening<F>(listen: impl Fn() -> F)
where
    F: Future<Output = Result<Infallible, Trouble>>,
{
    let mut pause = SHORTEST;
    loop {
        let began = Instant::now();
        let fault = match listen().await {
            Ok(never) => match never {},
            Err(trouble) => trouble.fault,
        };
        tracing::warn!(
            error = &fault as &dyn std::error::Error,
            "not listening to other nodes; connecting again"
        );
        if began.elapsed() > LONGEST {
            pause = SHORTEST;
        }
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(LONGEST);
    }
}

/// Reads waiting channels again now and then.
pub(in crate::store) async fn keep_reading<F>(every: Duration, read: impl Fn() -> F)
where
    F: Future<Output = Result<(), StoreFault>>,
{
    loop {
        sleep(every).await;
        if let Err(fault) = read().await {
            tracing::debug!(
                error = &fault as &dyn std::error::Error,
                "could not read waiting channels again"
            );
        }
    }
}

/// How a node tells others of a change.
#[cfg(feature = "postgres")]
pub(in crate::store) fn announcement(id: ChannelId, version: Version) -> String {
    format!("{id:x} {}", version.0)
}

/// What an announcement says; `None` for what is none.
pub(in crate::store) fn understood(announcement: &[u8]) -> Option<(ChannelId, Version)> {
    let (id, version) = std::str::from_utf8(announcement).ok()?.split_once(' ')?;
    Some((id.parse().ok()?, Version(version.parse().ok()?)))
}
