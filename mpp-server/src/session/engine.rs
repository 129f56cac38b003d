//! The session engine as offers and the server hold it, whatever its store.

use std::sync::Arc;

use alloy_primitives::Address;
use mpp_core::Amount;
use mpp_tempo::{SessionProtocol, channel::ChannelId};

use super::{SessionContext, SessionTerms, command::Command, record::ChannelRecord};
use crate::{
    bootstrap,
    error::{Failure, Fault},
    gate::{BoundCredential, BoxFuture, Redeemed, Visit},
    health::Health,
    settle::reconcile::{self, Reconciled},
    settle::rescue::{self, Rescue, Rescued},
    settle::schedule::{Occasion, Reason},
    settle::watch,
    settle::{Collected, Deadlines},
    store::ChannelStore,
};

/// The session engine as offers and the server hold it, whatever its store.
pub(crate) trait Engine: Send + Sync + std::fmt::Debug + 'static {
    /// Redeems a credential against the terms of an offer.
    fn redeem<'a>(
        self: Arc<Self>,
        terms: &'a SessionTerms,
        credential: BoundCredential,
        visit: Visit,
    ) -> BoxFuture<'a, Result<Redeemed, Failure>>;

    /// Recognizes a payer by its proof, and finds its channel.
    fn recognize<'a>(
        self: Arc<Self>,
        terms: &'a SessionTerms,
        credential: BoundCredential,
        visit: Visit,
    ) -> BoxFuture<'a, Result<Redeemed, Failure>>;

    /// Follows the channels of one more offer.
    fn watch(&self, payee: Address, escrow: Address, protocol: SessionProtocol);

    /// Reads the chain's view of a channel and takes note of it.
    fn refresh(&self, id: ChannelId) -> BoxFuture<'_, Result<Arc<ChannelRecord>, Failure>>;

    /// Reads the chain's new events.
    fn catch_up(&self) -> BoxFuture<'_, Result<(), Fault>>;

    /// What the server knows of a channel.
    fn channel(&self, id: ChannelId) -> BoxFuture<'_, Result<Arc<ChannelRecord>, Failure>>;

    /// Catches up with the chain and compares all live channels with it, once.
    fn begin(&self) -> BoxFuture<'_, Result<(), Fault>>;

    /// How well the chain is seen.
    fn health(&self) -> Health;

    /// Goes through all channels that the chain shows.
    fn rescue(&self, how: Rescue) -> BoxFuture<'_, Result<Vec<Rescued>, Fault>>;

    /// Compares all live channels with the chain.
    fn reconcile(&self) -> BoxFuture<'_, Result<Reconciled, Fault>>;

    /// Gives back a part of what was charged.
    fn credit(
        &self,
        id: ChannelId,
        amount: Amount,
    ) -> BoxFuture<'_, Result<Arc<ChannelRecord>, Failure>>;

    /// Puts a quarantined channel back into service.
    fn reinstate(&self, id: ChannelId) -> BoxFuture<'_, Result<Arc<ChannelRecord>, Failure>>;

    /// Collects what is due.
    fn collect(&self) -> BoxFuture<'_, Result<Collected, Fault>>;

    /// Settles everything that is worth its fee, whichever process leads.
    fn settle(&self) -> BoxFuture<'_, Result<Collected, Fault>>;

    /// Collects everything that is worth its fee, if this process leads.
    fn collect_all(&self, reason: Reason) -> BoxFuture<'_, Result<Collected, Fault>>;

    /// What may be lost when payers' close requests run out.
    fn deadlines(&self) -> Deadlines;

    /// Whether the policy settles when the server is shut down.
    fn settles_on_shutdown(&self) -> bool;

    /// Lets another process collect at once.
    fn stop_leading(&self) -> BoxFuture<'_, Result<(), Fault>>;
}

impl<S: ChannelStore + std::fmt::Debug> Engine for SessionContext<S> {
    fn redeem<'a>(
        self: Arc<Self>,
        terms: &'a SessionTerms,
        credential: BoundCredential,
        visit: Visit,
    ) -> BoxFuture<'a, Result<Redeemed, Failure>> {
        Box::pin(super::method::redeem(self, terms, credential, visit))
    }

    fn recognize<'a>(
        self: Arc<Self>,
        terms: &'a SessionTerms,
        credential: BoundCredential,
        visit: Visit,
    ) -> BoxFuture<'a, Result<Redeemed, Failure>> {
        Box::pin(bootstrap::recognize(self, terms, credential, visit))
    }

    fn watch(&self, payee: Address, escrow: Address, protocol: SessionProtocol) {
        self.interest.add(payee, escrow, protocol);
    }

    fn refresh(&self, id: ChannelId) -> BoxFuture<'_, Result<Arc<ChannelRecord>, Failure>> {
        Box::pin(async move {
            self.refresh_channel(id).await?;
            Ok(self.driver.load(id).await?.0)
        })
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(watch::catch_up(self))
    }

    fn channel(&self, id: ChannelId) -> BoxFuture<'_, Result<Arc<ChannelRecord>, Failure>> {
        Box::pin(async move { Ok(self.driver.load(id).await?.0) })
    }

    fn reconcile(&self) -> BoxFuture<'_, Result<Reconciled, Fault>> {
        Box::pin(async move {
            let found = reconcile::all(self).await?.summary;
            for id in &found.contradicting {
                self.interest.doubt(*id);
            }
            Ok(found)
        })
    }

    fn begin(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move { watch::begin(self).await.map(drop) })
    }

    fn rescue(&self, how: Rescue) -> BoxFuture<'_, Result<Vec<Rescued>, Fault>> {
        Box::pin(rescue::rescue(self, how))
    }

    fn health(&self) -> Health {
        Health::new(self.sight.health(self.clock.now()))
    }

    fn credit(
        &self,
        id: ChannelId,
        amount: Amount,
    ) -> BoxFuture<'_, Result<Arc<ChannelRecord>, Failure>> {
        Box::pin(async move {
            self.refresh_channel(id).await?;
            let credited = self.give_back(id, amount).await?;
            Ok(credited.into_inner().record)
        })
    }

    fn reinstate(&self, id: ChannelId) -> BoxFuture<'_, Result<Arc<ChannelRecord>, Failure>> {
        Box::pin(async move {
            self.refresh_channel(id).await?;
            let reinstated = self.run(id, Command::Reinstate).await?;
            Ok(reinstated.into_inner().record)
        })
    }

    fn collect(&self) -> BoxFuture<'_, Result<Collected, Fault>> {
        Box::pin(SessionContext::collect(self, Occasion::Routine))
    }

    fn settle(&self) -> BoxFuture<'_, Result<Collected, Fault>> {
        Box::pin(self.settle_on_demand())
    }

    fn collect_all(&self, reason: Reason) -> BoxFuture<'_, Result<Collected, Fault>> {
        Box::pin(SessionContext::collect(self, Occasion::Everything(reason)))
    }

    fn deadlines(&self) -> Deadlines {
        self.settlement.deadlines(self.clock.now())
    }

    fn settles_on_shutdown(&self) -> bool {
        self.settlement.settles_on_shutdown()
    }

    fn stop_leading(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(SessionContext::stop_leading(self))
    }
}
