//! The one place that spawns.

use core::future::Future;
use tokio::task::JoinHandle;

/// Spawns a task its owner keeps and awaits at shutdown.
#[expect(clippy::disallowed_methods, reason = "the caller owns the handle")]
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    tokio::spawn(future)
}
