//! What every session action needs, and the erased view that offers hold.

use std::{
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy_primitives::Address;
use lru::LruCache;
use mpp_core::{Amount, Timestamp};
use mpp_tempo::{
    DynSigner, SessionProtocol, SignedVoucher, VerifiedVoucher, VoucherVerifier,
    chain::{ChainClient, ChainError, DynChain},
    channel::{ChannelId, ChannelView},
};

use super::{
    BadSignatures, SessionTerms, VoucherQueue,
    command::{Capture, Charge, Command},
    driver::{Applied, Driver, Durable, Ran},
    record::{ChannelRecord, HoldId, Idempotency, Phase, StreamEpoch},
};
use crate::{
    bootstrap::{self, ChannelResolver, Directory},
    charge::ProofDesk,
    clock::SharedClock,
    error::{Failure, Fault, Rejection},
    event::{Events, ServerEvent},
    gate::{BoundCredential, BoxFuture, Redeemed, Visit},
    health::Health,
    keeper::Keeper,
    settle::{
        Adoption, Collected, Deadlines, SettlePolicy, Settlement,
        reconcile::{self, Reconciled},
        rescue::{self, Rescue, Rescued},
        schedule::{Occasion, Reason},
        sight::Sight,
        watch::{self, Interest},
    },
    sponsor::Sponsor,
    store::{ChannelStore, Version},
    tasks::{Service, Tasks},
};

/// Verifiers are kept for this many channels.
const VERIFIERS: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// Everything the session actions share.
#[derive(Debug)]
pub(crate) struct SessionContext<S> {
    pub(crate) driver: Driver<S>,
    pub(crate) chain: DynChain,
    pub(crate) account: DynSigner,
    pub(crate) sponsor: Option<Arc<Sponsor<S>>>,
    pub(crate) clock: SharedClock,
    pub(crate) events: Events,
    pub(crate) tasks: Tasks,
    pub(crate) bad_signatures: Arc<BadSignatures>,
    /// Where proofs of identity are taken.
    pub(crate) proofs: ProofDesk<S>,
    pub(crate) interest: Interest,
    /// How well the chain is seen.
    pub(crate) sight: Arc<Sight>,
    /// What brings an adopted channel into service.
    pub(crate) adoption: Adoption,
    /// Vouchers that wait for the curve.
    pub(crate) queue: VoucherQueue,
    pub(crate) keeper: Keeper<(ChannelId, HoldId)>,
    pub(crate) settlement: Settlement,
    /// Requests and streams that are being served.
    pub(crate) service: Service,
    /// How long a retry finds what became of an idempotent request.
    pub(crate) keep_outcomes: Duration,
    pub(crate) resolver: Arc<dyn ChannelResolver>,
    verifiers: Mutex<LruCache<ChannelId, Arc<VoucherVerifier>>>,
}

/// The parts of a [`SessionContext`] that configuration supplies.
#[derive(Debug)]
pub(crate) struct SessionParts<S> {
    pub(crate) store: Arc<S>,
    pub(crate) chain: DynChain,
    pub(crate) account: DynSigner,
    pub(crate) sponsor: Option<Arc<Sponsor<S>>>,
    pub(crate) clock: SharedClock,
    pub(crate) events: Events,
    pub(crate) tasks: Tasks,
    pub(crate) bad_signatures: Arc<BadSignatures>,
    pub(crate) sight: Sight,
    pub(crate) adoption: Adoption,
    pub(crate) hold_lease: Duration,
    pub(crate) keep_outcomes: Duration,
    pub(crate) settlement: SettlePolicy,
    pub(crate) service: Service,
    /// Finds channels to resume; `None`: in the store.
    pub(crate) resolver: Option<Arc<dyn ChannelResolver>>,
}

impl<S: ChannelStore> SessionContext<S> {
    pub(crate) fn new(parts: SessionParts<S>) -> Self
    where
        S: std::fmt::Debug,
    {
        let store = parts.store;
        let directory = || {
            let directory = Directory::new(Arc::clone(&store), parts.clock.clone());
            Arc::new(directory) as Arc<dyn ChannelResolver>
        };
        let resolver = parts.resolver.unwrap_or_else(directory);
        let sight = Arc::new(parts.sight);
        Self {
            resolver,
            proofs: ProofDesk::new(Arc::clone(&store), Arc::clone(&parts.bad_signatures)),
            driver: Driver::watching(store, parts.clock.clone(), Arc::clone(&sight)),
            sight,
            adoption: parts.adoption,
            chain: parts.chain,
            account: parts.account,
            sponsor: parts.sponsor,
            clock: parts.clock,
            events: parts.events,
            tasks: parts.tasks,
            bad_signatures: parts.bad_signatures,
            interest: Interest::default(),
            queue: VoucherQueue::new(),
            keeper: Keeper::new(parts.hold_lease),
            settlement: Settlement::new(parts.settlement),
            service: parts.service,
            keep_outcomes: parts.keep_outcomes,
            verifiers: Mutex::new(LruCache::new(VERIFIERS)),
        }
    }

    /// Runs a command and tells subscribers what came of it.
    ///
    /// # Cancel safety
    /// As [`Driver::run`].
    pub(crate) async fn run(
        &self,
        id: ChannelId,
        command: Command,
    ) -> Result<Durable<Applied>, Failure> {
        let applied = self.driver.run(id, command).await?;
        self.tell_about(applied.get());
        Ok(applied)
    }

    /// As [`run`](Self::run), as long as the record fulfills a condition.
    ///
    /// # Cancel safety
    /// As [`Driver::run`].
    pub(crate) async fn run_if(
        &self,
        id: ChannelId,
        command: Command,
        holds: impl Fn(&ChannelRecord) -> bool + Send,
    ) -> Result<Option<Durable<Applied>>, Failure> {
        let applied = self.driver.run_if(id, command, holds).await?;
        if let Some(applied) = &applied {
            self.tell_about(applied.get());
        }
        Ok(applied)
    }

    /// As [`run`](Self::run), unless the request was served before.
    ///
    /// # Cancel safety
    /// As [`Driver::run`].
    pub(crate) async fn run_once(
        &self,
        id: ChannelId,
        command: Command,
        asked: Option<Idempotency>,
    ) -> Result<Ran, Failure> {
        let Some(asked) = asked else {
            let applied = self.run(id, command).await?;
            return Ok(Ran::Now(Box::new(applied)));
        };
        let ran = self.driver.run_once(id, command, asked).await?;
        if let Ran::Now(applied) = &ran {
            self.tell_about(applied.get());
        }
        Ok(ran)
    }

    /// Takes note of what the chain shows.
    ///
    /// # Cancel safety
    /// As [`Driver::run`].
    pub(crate) async fn observe(
        &self,
        id: ChannelId,
        view: ChannelView,
    ) -> Result<Durable<Applied>, Failure> {
        self.run(id, Command::Observe(view)).await
    }

    /// Verifies a voucher of this channel, unless its sender has sent too
    /// many bad ones. No lock is held meanwhile.
    ///
    /// # Cancel safety
    /// Dropped, nothing has happened.
    pub(crate) async fn verify(
        &self,
        record: &ChannelRecord,
        signed: &SignedVoucher,
        peer: Option<IpAddr>,
    ) -> Result<VerifiedVoucher, Rejection> {
        let channel_id = record.id;
        let now = self.clock.now();
        if !self.bad_signatures.admits(channel_id, peer, now) {
            return Err(Rejection::RateLimited { channel_id });
        }
        let verifier = self.verifier(record);
        let verified = self.queue.verify(&verifier, signed).await;
        verified.map_err(|error| {
            self.bad_signatures.failed(channel_id, peer, now);
            Rejection::from_voucher(&error, channel_id)
        })
    }

    /// The channel's verifier: domain separator and signer worked out once.
    pub(crate) fn verifier(&self, record: &ChannelRecord) -> Arc<VoucherVerifier> {
        let mut verifiers = self
            .verifiers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(VoucherVerifier::new(&record.terms));
        Arc::clone(verifiers.get_or_insert(record.id, make))
    }

    /// Reads the channel from the chain.
    pub(crate) async fn view(&self, record: &ChannelRecord) -> Result<ChannelView, ChainError> {
        let terms = &record.terms;
        self.chain
            .channel(terms.protocol, terms.escrow, record.id)
            .await
    }

    /// Reads the channel from the chain and takes note of it.
    ///
    /// # Cancel safety
    /// As [`Driver::run`].
    pub(crate) async fn refresh_channel(&self, id: ChannelId) -> Result<(), Failure> {
        let (record, _) = self.driver.load(id).await?;
        let view = self.view(&record).await.map_err(Fault::from)?;
        self.observe(id, view).await?;
        Ok(())
    }

    fn tell_about(&self, applied: &Applied) {
        let channel_id = applied.record.id;
        let before = &applied.before;
        let after = &applied.record;
        if !applied.outcome.changed {
            return;
        }
        if after.accepted() > before.accepted() {
            self.events.send(ServerEvent::VoucherAccepted {
                channel_id,
                accepted: after.accepted(),
            });
        }
        if !applied.outcome.charged.is_zero() {
            self.events.send(ServerEvent::Charged {
                channel_id,
                cost: applied.outcome.charged,
                units: applied.outcome.units,
                spent: after.spent,
            });
        }
        if let Some(amount) = before.spent.checked_sub(after.spent)
            && !amount.is_zero()
        {
            self.events.send(ServerEvent::Credited {
                channel_id,
                amount,
                spent: after.spent,
            });
        }
        let opening = matches!(before.phase, Phase::Opening(_) | Phase::Failed);
        if opening && after.phase == Phase::Open {
            self.resolver.opened(after);
            self.events.send(ServerEvent::ChannelOpened {
                channel_id,
                deposit: after.deposit,
            });
        } else if after.deposit < before.deposit || (after.is_live() && !before.is_live()) {
            // In the index of channels that can be resumed, should it have left that.
            self.resolver.opened(after);
            self.events.send(ServerEvent::Reverted {
                channel_id,
                deposit: after.deposit,
            });
        } else if after.deposit > before.deposit {
            self.events.send(ServerEvent::ToppedUp {
                channel_id,
                deposit: after.deposit,
            });
        }
        match &after.phase {
            phase if *phase == before.phase => {}
            // Told already; only the transaction has become known.
            Phase::Closed { .. } if matches!(before.phase, Phase::Closed { .. }) => {}
            Phase::CloseRequested { at } => {
                self.settlement.is_urgent(channel_id);
                self.events.send(ServerEvent::CloseRequested {
                    channel_id,
                    at: *at,
                });
            }
            Phase::Closed { transaction } => self.events.send(ServerEvent::Closed {
                channel_id,
                transaction: *transaction,
                settled: after.settled,
            }),
            Phase::Quarantined { reason, .. } => {
                tracing::error!(
                    %channel_id,
                    reason = reason.name(),
                    "a channel is quarantined; an operator must look"
                );
                self.events.send(ServerEvent::Quarantined {
                    channel_id,
                    reason: *reason,
                });
            }
            Phase::Opening(_) | Phase::Failed | Phase::Open | Phase::Closing { .. } => {}
        }
    }
}

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
    fn refresh(&self, id: ChannelId) -> BoxFuture<'_, Result<ChannelRecord, Failure>>;

    /// Reads the chain's new events.
    fn catch_up(&self) -> BoxFuture<'_, Result<(), Fault>>;

    /// What the server knows of a channel.
    fn channel(&self, id: ChannelId) -> BoxFuture<'_, Result<ChannelRecord, Failure>>;

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
    ) -> BoxFuture<'_, Result<ChannelRecord, Failure>>;

    /// Puts a quarantined channel back into service.
    fn reinstate(&self, id: ChannelId) -> BoxFuture<'_, Result<ChannelRecord, Failure>>;

    /// Collects what is due.
    fn collect(&self) -> BoxFuture<'_, Result<Collected, Fault>>;

    /// Collects everything that is worth its fee.
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

    fn refresh(&self, id: ChannelId) -> BoxFuture<'_, Result<ChannelRecord, Failure>> {
        Box::pin(async move {
            self.refresh_channel(id).await?;
            Ok(self.driver.load(id).await?.0)
        })
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(watch::catch_up(self))
    }

    fn channel(&self, id: ChannelId) -> BoxFuture<'_, Result<ChannelRecord, Failure>> {
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
    ) -> BoxFuture<'_, Result<ChannelRecord, Failure>> {
        Box::pin(async move {
            // What was collected meanwhile, or is being collected, can not be
            // given back.
            if self.effect_of(id).await?.is_some() {
                return Err(Fault::OutcomeUnknown.into());
            }
            self.refresh_channel(id).await?;
            let credited = self.run(id, Command::Credit { amount }).await?;
            Ok(credited.into_inner().record)
        })
    }

    fn reinstate(&self, id: ChannelId) -> BoxFuture<'_, Result<ChannelRecord, Failure>> {
        Box::pin(async move {
            self.refresh_channel(id).await?;
            let reinstated = self.run(id, Command::Reinstate).await?;
            Ok(reinstated.into_inner().record)
        })
    }

    fn collect(&self) -> BoxFuture<'_, Result<Collected, Fault>> {
        Box::pin(SessionContext::collect(self, Occasion::Routine))
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

/// What a running tab needs of the engine.
pub(crate) trait Till: Send + Sync {
    /// Charges, durably.
    fn charge(&self, id: ChannelId, charge: Charge) -> BoxFuture<'_, Result<(), Failure>>;
    /// Charges a served request, durably; returns the record after it.
    fn capture(
        &self,
        id: ChannelId,
        capture: Capture,
    ) -> BoxFuture<'_, Result<ChannelRecord, Failure>>;
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
    fn record(&self, id: ChannelId) -> BoxFuture<'_, Result<ChannelRecord, Failure>>;
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
    ) -> BoxFuture<'_, Result<ChannelRecord, Failure>> {
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

    fn record(&self, id: ChannelId) -> BoxFuture<'_, Result<ChannelRecord, Failure>> {
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
