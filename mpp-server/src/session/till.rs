//! What a running tab needs of the session engine.

use std::sync::Arc;

use mpp_core::{Amount, Timestamp};
use mpp_tempo::channel::ChannelId;

use super::{
    SessionContext,
    command::{Capture, Charge, Command},
    record::{ChannelRecord, HoldId, StreamEpoch},
};
use crate::{
    error::Failure,
    event::ServerEvent,
    gate::BoxFuture,
    store::{ChannelStore, Version},
    tasks::Service,
};

/// What a running tab needs of the engine.
pub(crate) trait Till: Send + Sync {
    /// Charges, durably.
    fn charge(&self, id: ChannelId, charge: Charge) -> BoxFuture<'_, Result<(), Failure>>;
    /// Charges a served request, durably; returns the record after it.
    fn capture(
        &self,
        id: ChannelId,
        capture: Capture,
    ) -> BoxFuture<'_, Result<Arc<ChannelRecord>, Failure>>;
    /// Sets more aside for a request that is being served.
    fn raise(
        &self,
        id: ChannelId,
        hold: HoldId,
        amount: Amount,
    ) -> BoxFuture<'_, Result<(), Failure>>;
    /// Gives a hold back.
    fn release(&self, id: ChannelId, hold: HoldId) -> BoxFuture<'_, Result<(), Failure>>;
    /// Extends a hold no longer.
    fn forget_hold(&self, id: ChannelId, hold: HoldId);
    /// Does something on a task of the server.
    fn spawn(&self, work: BoxFuture<'static, ()>);
    /// Begins a stream and ends the one before it.
    fn begin_stream(&self, id: ChannelId) -> BoxFuture<'_, Result<StreamEpoch, Failure>>;
    /// The channel's version in the store.
    fn version(&self, id: ChannelId) -> BoxFuture<'_, Result<Version, Failure>>;
    /// Waits for a version greater than `since`.
    fn changed(&self, id: ChannelId, since: Version) -> BoxFuture<'_, Result<(), Failure>>;
    /// The committed record.
    fn record(&self, id: ChannelId) -> BoxFuture<'_, Result<Arc<ChannelRecord>, Failure>>;
    /// Tells subscribers.
    fn tell(&self, event: ServerEvent);
    /// Requests and streams that are being served.
    fn service(&self) -> &Service;
    /// The current time.
    fn now(&self) -> Timestamp;
}

impl<S: ChannelStore> Till for SessionContext<S> {
    fn charge(&self, id: ChannelId, charge: Charge) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move { self.run(id, Command::Charge(charge)).await.map(drop) })
    }

    fn capture(
        &self,
        id: ChannelId,
        capture: Capture,
    ) -> BoxFuture<'_, Result<Arc<ChannelRecord>, Failure>> {
        Box::pin(async move {
            let captured = self.run(id, Command::Capture(capture)).await?;
            Ok(captured.into_inner().record)
        })
    }

    fn raise(
        &self,
        id: ChannelId,
        hold: HoldId,
        amount: Amount,
    ) -> BoxFuture<'_, Result<(), Failure>> {
        let raise = Command::Raise { hold, amount };
        Box::pin(async move { self.run(id, raise).await.map(drop) })
    }

    fn release(&self, id: ChannelId, hold: HoldId) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move { self.run(id, Command::Release(hold)).await.map(drop) })
    }

    fn forget_hold(&self, id: ChannelId, hold: HoldId) {
        self.keeper.forget((id, hold));
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) {
        self.tasks.detach(work);
    }

    fn begin_stream(&self, id: ChannelId) -> BoxFuture<'_, Result<StreamEpoch, Failure>> {
        Box::pin(async move {
            let begun = self.run(id, Command::BeginStream).await?;
            Ok(begun.get().record.stream)
        })
    }

    fn version(&self, id: ChannelId) -> BoxFuture<'_, Result<Version, Failure>> {
        Box::pin(async move { Ok(self.driver.load(id).await?.1) })
    }

    fn changed(&self, id: ChannelId, since: Version) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move { Ok(self.driver.store().changed(id, since).await?) })
    }

    fn record(&self, id: ChannelId) -> BoxFuture<'_, Result<Arc<ChannelRecord>, Failure>> {
        Box::pin(async move { Ok(self.driver.load(id).await?.0) })
    }

    fn tell(&self, event: ServerEvent) {
        self.events.send(event);
    }

    fn service(&self) -> &Service {
        &self.service
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
