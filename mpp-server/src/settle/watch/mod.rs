//! Follows the chain's events, so that no voucher has to ask the chain.
//!
//! One filter by payee covers every channel. Events of the newest blocks are
//! read again at every look: one that is gone was taken back by a
//! reorganization, and its channel is read from the chain until that is settled.

mod cursor;
mod ended;
mod horizon;
mod interest;
mod news;
mod place;
mod recent;

use std::{sync::Arc, time::Duration};

use mpp_tempo::{
    chain::{ChainClient as _, TxReceipt},
    channel::{ChannelId, ChannelTerms},
};

pub(crate) use self::{
    ended::has_ended,
    horizon::Horizon,
    interest::Interest,
    place::{find_ends, place_of},
};
use self::{news::News, place::Looked};
use super::{reconcile, sight::Young};
use crate::{
    error::{Failure, Fault},
    event::ServerEvent,
    session::SessionContext,
    store::ChannelStore,
};

/// Looks at the chain's events again and again, for ever.
///
/// Before that it compares all live channels with the chain once, and those that
/// were closed lately.
pub(crate) async fn follow<S: ChannelStore>(context: Arc<SessionContext<S>>, every: Duration) {
    loop {
        let looked = match begin(&context).await {
            Ok(Begun::Now) => Ok(()),
            Ok(Begun::Before) => catch_up(&context).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = looked {
            tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "the chain's events could not be noted; trying again"
            );
            if matches!(fault, Fault::Chain(_)) {
                context.events.send(ServerEvent::ChainUnreadable);
            }
        }
        tokio::time::sleep(every).await;
    }
}

/// Whether this call was the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It was.
    Now,
    /// It was done before.
    Before,
}

/// Catches up with what has happened while no server ran, and compares all
/// live channels with the chain, and those that were closed lately; once.
///
/// # Errors
/// When chain or store fail, or the node has not come as far as the store has
/// seen the chain; then nothing has begun, and it can be tried again.
///
/// # Cancel safety
/// As an error.
pub(crate) async fn begin<S: ChannelStore>(context: &SessionContext<S>) -> Result<Begun, Fault> {
    let mut place = context.interest.place.lock().await;
    if place.begun {
        return Ok(Begun::Before);
    }
    require_seen(place.look(context).await?)?;
    let found = reconcile::all(context).await?;
    if found.pairs_added {
        require_seen(place.look(context).await?)?;
    }
    // Nothing is served yet: what contradicts the chain is settled at once.
    place.doubt(found.summary.contradicting);
    place.compare_closed(context).await?;
    place.settle_doubts(context).await?;
    place.has_begun(context);
    Ok(Begun::Now)
}

fn require_seen(looked: Looked) -> Result<(), Fault> {
    match looked {
        Looked::Seen => Ok(()),
        Looked::Behind => Err(horizon::behind().into()),
    }
}

/// Reads the events since the last time and takes note of them.
///
/// # Errors
/// When chain or store fail; the same events are read again next time.
///
/// # Cancel safety
/// Dropped, the same events are read again; noting them twice is harmless.
pub(crate) async fn catch_up<S: ChannelStore>(context: &SessionContext<S>) -> Result<(), Fault> {
    let mut place = context.interest.place.lock().await;
    place.look(context).await.map(drop)
}

impl<S: ChannelStore> SessionContext<S> {
    /// Remembers a channel's events of a receipt before they are believed: the
    /// logs have to show them too, or the transaction was taken back.
    ///
    /// # Errors
    /// When the store fails: then they must not be believed.
    ///
    /// # Cancel safety
    /// Dropped, they are remembered or not, and not believed yet.
    pub(crate) async fn note_receipt(
        &self,
        terms: &ChannelTerms,
        receipt: &TxReceipt,
    ) -> Result<(), Fault> {
        self.reach(receipt.block_number).await?;
        let (logs, id) = (receipt.logs.iter(), terms.id());
        for log in logs.filter(|log| log.address == terms.escrow) {
            let mut log = log.clone();
            log.tx_hash = Some(receipt.hash);
            log.block_number = Some(receipt.block_number);
            let news = News::read(&log, terms.protocol, receipt.block_number);
            let Some(news) = news.filter(|news| news.event.channel_id() == id) else {
                continue;
            };
            if let Some(before) = news.deposit_before() {
                let block = news.block;
                self.sight.grew(id, Young { block, before });
            }
            self.interest.note_receipt(news);
        }
        Ok(())
    }

    /// Passes on how believing a receipt went whose events were noted.
    ///
    /// The follower takes those events for known. So if it failed, nobody else
    /// would tell the channel of them: it is read from the chain again.
    pub(crate) fn believed<T>(
        &self,
        id: ChannelId,
        went: Result<T, Failure>,
    ) -> Result<T, Failure> {
        if went.is_err() {
            self.interest.doubt(id);
        }
        went
    }

    /// Notes how a channel ended that the chain does not show any more, and says
    /// whether its history tells. An empty slot alone proves nothing: a node that
    /// lags behind the open shows one, too.
    ///
    /// # Errors
    /// When chain or store fail.
    ///
    /// # Cancel safety
    /// Dropped, it is noted or not; repeating is harmless.
    pub(crate) async fn note_vanished(&self, id: ChannelId) -> Result<bool, Failure> {
        let watched = self.interest.snapshot();
        let mut ends = find_ends(&self.chain, &watched, &[id]).await?;
        let Some(end) = ends.remove(&id) else {
            return Ok(false);
        };
        // It is no newer than this.
        let head = self.chain.block().await.map_err(Fault::from)?;
        self.reach(head.number).await?;
        self.run(id, end).await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
