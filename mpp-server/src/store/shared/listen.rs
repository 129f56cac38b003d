//! Work that goes on as long as a store is there.

use std::{convert::Infallible, future::Future, time::Duration};

use tokio::time::sleep;

use super::Trouble;
use crate::store::StoreFault;

/// Between two attempts to listen.
const PAUSE: Duration = Duration::from_millis(200);

/// Listens to other nodes, and connects again whenever that ends.
pub(in crate::store) async fn keep_listening<F>(listen: impl Fn() -> F)
where
    F: Future<Output = Result<Infallible, Trouble>>,
{
    loop {
        let fault = match listen().await {
            Ok(never) => match never {},
            Err(trouble) => trouble.fault,
        };
        tracing::warn!(
            error = &fault as &dyn std::error::Error,
            "not listening to other nodes; connecting again"
        );
        sleep(PAUSE).await;
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
