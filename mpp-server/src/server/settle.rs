//! Collecting on demand, and the end of a server.

use std::time::Duration;

use super::PaymentServer;
use crate::{
    error::Fault,
    settle::{Collected, Deadlines, Reason},
};

/// Pause between two looks while the last settlements are followed.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long requests and streams that are being served may go on. Default:
    /// 10 s.
    pub finish: Duration,
    /// How long streams that are still open then may take to end with a
    /// receipt. Default: 5 s.
    pub checkpoint: Duration,
    /// How long settlements may take, if the policy asks for them. Default:
    /// 60 s.
    pub settle: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            finish: Duration::from_secs(10),
            checkpoint: Duration::from_secs(5),
            settle: Duration::from_secs(60),
        }
    }
}

impl PaymentServer {
    /// Settles every channel that brings more than its fee, now.
    ///
    /// Of several processes over one store only one collects. When it is not
    /// this one ([`Collected::leading`] tells), the demand is recorded in the
    /// store, the one that collects meets it at its next look
    /// ([`SettlePolicy::every`](crate::SettlePolicy::every)), and what it has
    /// done is returned here. When it is gone, another takes its place after
    /// [`SettlePolicy::lease`](crate::SettlePolicy::lease), perhaps this one.
    ///
    /// # Errors
    /// When chain or store fail; what was begun is taken on later.
    /// [`Fault::DemandPending`] when no process has met the demand a minute after
    /// that, as while the chain can not be reached: it is met later.
    ///
    /// # Cancel safety
    /// Dropped, what was begun is taken on later, and a demand that was
    /// recorded is met.
    pub async fn settle(&self) -> Result<Collected, Fault> {
        self.0.engine.settle().await
    }

    /// Collects what is due now, as the server does every few seconds.
    ///
    /// # Errors
    /// When chain or store fail; what was begun is taken on later.
    ///
    /// # Cancel safety
    /// Dropped, what was begun is taken on later.
    pub async fn collect(&self) -> Result<Collected, Fault> {
        self.0.engine.collect().await
    }

    /// What may be lost when payers' close requests run out: meant for a
    /// metric. Only the process that collects knows of any.
    #[must_use]
    pub fn deadlines(&self) -> Deadlines {
        self.0.engine.deadlines()
    }

    /// Ends the server as [`Shutdown::default`] says.
    ///
    /// # Cancel safety
    /// As [`shutdown_with`](Self::shutdown_with).
    pub async fn shutdown(&self) {
        self.shutdown_with(Shutdown::default()).await;
    }

    /// Ends the server in order: new content requests are refused, those that
    /// are being served may finish, streams end with a receipt, what the
    /// policy asks for is settled, and transactions that are under way are
    /// followed to an answer.
    ///
    /// A transaction without an answer, and everything else that is recorded,
    /// is taken on by the next process. A charge whose handler still runs at
    /// the end of the time stays granted until its lease lapses
    /// ([`Builder::hold_lease`](super::Builder::hold_lease)): until then a retry
    /// hears that it is in progress, after that it is served, and what the old
    /// handler brings then is refused.
    ///
    /// # Cancel safety
    /// Dropped, no new content request is taken; the rest may be repeated.
    pub async fn shutdown_with(&self, how: Shutdown) {
        let inner = &self.0;
        inner.service.close();
        let finished = tokio::time::timeout(how.finish, inner.service.idle()).await;
        inner.service.end_streams();
        if finished.is_err() {
            let ended = tokio::time::timeout(how.checkpoint, inner.service.idle()).await;
            if ended.is_err() {
                tracing::warn!("requests are still being served; they are left behind");
            }
        }
        if inner.engine.settles_on_shutdown() {
            let settled = tokio::time::timeout(how.settle, self.settle_all()).await;
            if !matches!(settled, Ok(Ok(()))) {
                tracing::warn!("not everything could be settled before the end");
            }
        }
        // A timer that ran once more would lead again.
        inner.tasks.shutdown().await;
        if let Err(fault) = inner.engine.stop_leading().await {
            tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "the lease could not be given up; it ends by itself"
            );
        }
    }

    /// Settles, and follows what was begun to its end.
    async fn settle_all(&self) -> Result<(), Fault> {
        let engine = &self.0.engine;
        let mut collected = engine.collect_all(Reason::Shutdown).await?;
        while collected.leading && collected.waiting > 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
            collected = engine.collect().await?;
        }
        Ok(())
    }
}
