//! Tasks the server owns: work that must outlive the request that began it.

use std::future::Future;

use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// A set of background tasks with one shutdown signal.
///
/// On-chain effects run here and never inside a request future: a client that
/// hangs up can not leave a broadcast transaction without somebody waiting
/// for its receipt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Tasks {
    /// Runs `work` to its end, even through a shutdown, and returns its result.
    ///
    /// # Errors
    /// [`TaskLost`] when the task panicked or the runtime is going away.
    ///
    /// # Cancel safety
    /// Dropping the returned future leaves the task running.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, TaskLost> {
        self.tracker.spawn(work).await.map_err(|_| TaskLost)
    }

    /// Starts `work` and lets it run to its end, even through a shutdown.
    ///
    /// Without a runtime, as when a future is dropped after its runtime has
    /// ended, it does nothing.
    pub(crate) fn detach(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.tracker.spawn_on(work, &runtime);
        }
    }

    /// Starts a task that ends when `work` ends or the server stops.
    pub(crate) fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Stops periodic tasks when the guard is dropped; effects go on.
    pub(crate) fn stop_on_drop(&self) -> DropGuard {
        self.stopping.clone().drop_guard()
    }

    /// Stops periodic tasks and waits for effects that are under way.
    ///
    /// # Cancel safety
    /// The signal is given at once; dropping the future only stops waiting.
    pub(crate) async fn shutdown(&self) {
        self.stopping.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// The requests and streams that are being served, and the signal to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    served: TaskTracker,
    /// No new content request is taken.
    closed: CancellationToken,
    /// Streams end with what they have.
    ending: CancellationToken,
}

impl Service {
    /// Counts a request as being served for as long as this lives.
    pub(crate) fn enter(&self) -> TaskTrackerToken {
        self.served.token()
    }

    /// Whether new content requests are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Refuses new content requests from now on.
    pub(crate) fn close(&self) {
        self.closed.cancel();
        self.served.close();
    }

    /// Waits until nothing is being served any more; only after
    /// [`close`](Self::close).
    pub(crate) async fn idle(&self) {
        self.served.wait().await;
    }

    /// Has streams end with what they have.
    pub(crate) fn end_streams(&self) {
        self.ending.cancel();
    }

    /// Whether streams are to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_cancelled()
    }

    /// Waits until streams are to end.
    pub(crate) async fn ended(&self) {
        self.ending.cancelled().await;
    }
}

/// A task ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a background task ended without a result")]
pub struct TaskLost;
