//! Extends the holds of requests that are still being served.

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt as _, stream};
use mpp_tempo::channel::ChannelId;

use super::{SessionContext, command::Command, record::HoldId};
use crate::{error::Failure, store::ChannelStore};

/// Channels whose holds are extended beside each other.
const AT_ONCE: usize = 64;

/// Extends holds for as long as the server runs.
pub(crate) async fn keep<S: ChannelStore>(context: Arc<SessionContext<S>>) {
    loop {
        let pause = context.keeper.pause();
        // The next round begins in time, whatever this one still waits for: what
        // it has not extended is due again.
        let round = tokio::time::timeout(pause, context.extend_holds());
        let (_cut_or_done, ()) = tokio::join!(round, tokio::time::sleep(pause));
    }
}

impl<S: ChannelStore> SessionContext<S> {
    /// Extends the holds that would lapse soon: those of one channel at once,
    /// and many channels beside each other, so that neither many requests nor
    /// one slow commit make others lapse. Those that lapse first come first.
    ///
    /// One that can not be extended is tried again; should it lapse, its
    /// request fails and is not charged.
    pub(crate) async fn extend_holds(&self) {
        let mut due: Vec<(ChannelId, Vec<HoldId>)> = Vec::new();
        let mut places = HashMap::new();
        for (channel, hold) in self.keeper.due(self.clock.now()) {
            let place = *places.entry(channel).or_insert(due.len());
            match due.get_mut(place) {
                Some((_, holds)) => holds.push(hold),
                None => due.push((channel, vec![hold])),
            }
        }
        stream::iter(due)
            .for_each_concurrent(AT_ONCE, |(channel, holds)| self.extend_in(channel, holds))
            .await;
    }

    async fn extend_in(&self, channel: ChannelId, holds: Vec<HoldId>) {
        let until = self.keeper.until(self.clock.now());
        let extend = Command::Extend {
            holds: holds.clone(),
            until,
        };
        let extended = match self.run(channel, extend).await {
            Ok(extended) => Some(extended),
            Err(Failure::Rejected(_)) => None,
            Err(Failure::Fault(fault)) => {
                tracing::warn!(
                    error = &fault as &dyn std::error::Error,
                    "holds could not be extended"
                );
                return;
            }
        };
        let kept = extended
            .iter()
            .flat_map(|applied| &applied.get().record.holds);
        let live = kept.filter(|hold| hold.until >= until);
        let kept: HashMap<_, _> = live.map(|hold| (hold.id, hold.until)).collect();
        for hold in holds {
            // As it is in the record, where it may have been gone.
            match kept.get(&hold) {
                Some(until) => self.keeper.renewed((channel, hold), *until),
                None => self.keeper.forget((channel, hold)),
            }
        }
    }
}
