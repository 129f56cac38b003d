//! How long a process lives, counted in its calls to store and chain.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;

use tokio::sync::Notify;

/// The life of one process. Once it is over, none of its calls is answered.
#[derive(Clone, Debug)]
pub(crate) struct Life(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Half calls that are left: at an odd number the last call still has its
    /// effect.
    halves: AtomicI64,
    died: Notify,
}

impl Life {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            halves: AtomicI64::new(i64::MAX),
            died: Notify::new(),
        }))
    }

    /// Ends so many half calls from now.
    pub(crate) fn end_after(&self, halves: u8) {
        self.0.halves.store(halves.into(), Ordering::SeqCst);
        if halves == 0 {
            self.0.died.notify_waiters();
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.halves.load(Ordering::SeqCst) <= 0
    }

    /// Returns when it is over.
    pub(crate) async fn over(&self) {
        let died = self.0.died.notified();
        if !self.is_over() {
            died.await;
        }
    }

    /// A call of this process, which others may overtake.
    pub(crate) async fn live<T>(&self, call: impl Future<Output = T>) -> T {
        step().await;
        let before = self.0.halves.fetch_sub(2, Ordering::SeqCst);
        if before >= 2 {
            return call.await;
        }
        if before == 1 {
            drop(call.await);
        }
        self.0.halves.store(0, Ordering::SeqCst);
        self.0.died.notify_waiters();
        std::future::pending().await
    }
}

/// Pending once.
pub(crate) async fn step() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
