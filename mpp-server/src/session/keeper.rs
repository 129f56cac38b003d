//! Extends the holds of requests that are still being served.

use std::sync::Arc;

use super::{SessionContext, command::Command};
use crate::{error::Failure, store::ChannelStore};

/// Extends holds for as long as the server runs.
pub(crate) async fn keep<S: ChannelStore>(context: Arc<SessionContext<S>>) {
    loop {
        tokio::time::sleep(context.keeper.pause()).await;
        context.extend_holds().await;
    }
}

impl<S: ChannelStore> SessionContext<S> {
    /// Extends the holds that would lapse soon.
    ///
    /// One that can not be extended is tried again; should it lapse, its
    /// request fails and is not charged.
    pub(crate) async fn extend_holds(&self) {
        let now = self.clock.now();
        for (channel, hold) in self.keeper.due(now) {
            let until = self.keeper.until(now);
            match self.run(channel, Command::Extend { hold, until }).await {
                Ok(_) => self.keeper.renewed((channel, hold), until),
                Err(Failure::Rejected(_)) => self.keeper.forget((channel, hold)),
                Err(Failure::Fault(fault)) => tracing::warn!(
                    error = &fault as &dyn std::error::Error,
                    "a hold could not be extended"
                ),
            }
        }
    }
}
