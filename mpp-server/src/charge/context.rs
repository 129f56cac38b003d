//! What every charge needs, and the erased view that offers hold.

use std::{sync::Arc, time::Duration};

use alloy_primitives::B256;
use futures_util::{StreamExt as _, stream};
use mpp_core::{Amount, Timestamp, receipt::ChargeReceipt};
use mpp_tempo::{DynSigner, chain::DynChain};

use super::{
    ChargeTerms, ProofDesk,
    desk::Desk,
    grant::{ChargeGuard, Counter},
    machine::ChargeCommand,
    method,
    record::{ChargeId, ChargeRecord},
    refund::{self, Refund, RefundError},
};
use crate::{
    clock::SharedClock,
    error::{Failure, Fault},
    event::{Events, ServerEvent},
    gate::{BoundCredential, BoxFuture, Grant, Redeemed, Visit},
    keeper::Keeper,
    session::{BadSignatures, driver::Durable},
    sponsor::{Sponsor, SponsorHealth},
    store::{ChannelStore, StoredResponse},
    tasks::{Service, Tasks},
};

/// Everything the charges of a server share.
#[derive(Debug)]
pub(crate) struct ChargeContext<S> {
    pub(crate) desk: Desk<S>,
    pub(crate) proofs: ProofDesk<S>,
    pub(crate) chain: DynChain,
    /// Whom refunds come from.
    pub(super) account: DynSigner,
    pub(crate) sponsor: Option<Arc<Sponsor<S>>>,
    pub(crate) clock: SharedClock,
    pub(crate) events: Events,
    pub(crate) tasks: Tasks,
    pub(crate) bad_signatures: Arc<BadSignatures>,
    pub(crate) keeper: Keeper<(ChargeId, u64)>,
    /// What is being served, of which a shutdown waits for the end.
    pub(super) service: Service,
    keep_outcomes: Duration,
    lease: Duration,
}

/// The parts of a [`ChargeContext`] that configuration supplies.
#[derive(Debug)]
pub(crate) struct ChargeParts<S> {
    pub(crate) store: Arc<S>,
    pub(crate) chain: DynChain,
    pub(crate) account: DynSigner,
    pub(crate) sponsor: Option<Arc<Sponsor<S>>>,
    pub(crate) clock: SharedClock,
    pub(crate) events: Events,
    pub(crate) tasks: Tasks,
    pub(crate) service: Service,
    pub(crate) bad_signatures: Arc<BadSignatures>,
    pub(crate) lease: Duration,
    pub(crate) keep_outcomes: Duration,
}

impl<S: ChannelStore> ChargeContext<S> {
    pub(crate) fn new(parts: ChargeParts<S>) -> Self {
        let bad_signatures = Arc::clone(&parts.bad_signatures);
        Self {
            proofs: ProofDesk::new(Arc::clone(&parts.store), bad_signatures),
            desk: Desk::new(parts.store),
            chain: parts.chain,
            account: parts.account,
            sponsor: parts.sponsor,
            clock: parts.clock,
            events: parts.events,
            tasks: parts.tasks,
            bad_signatures: parts.bad_signatures,
            keeper: Keeper::new(parts.lease),
            service: parts.service,
            keep_outcomes: parts.keep_outcomes,
            lease: parts.lease,
        }
    }

    /// How long somebody may work on a charge without a sign of life.
    pub(super) const fn lease_time(&self) -> Duration {
        self.lease
    }

    /// Until when somebody who begins now may work on a charge.
    pub(super) fn lease(&self, now: Timestamp) -> Timestamp {
        now.checked_add(self.lease).unwrap_or(now)
    }

    /// Makes what comes of a charge durable.
    ///
    /// # Cancel safety
    /// As [`Desk::run`].
    pub(super) async fn run(
        &self,
        id: ChargeId,
        command: ChargeCommand,
    ) -> Result<Durable<ChargeRecord>, Failure> {
        let ran = self.desk.run(id, command, self.clock.now()).await?;
        Ok(ran.record)
    }

    /// Records that the chain has shown a payment, and tells subscribers once,
    /// however many have followed it.
    ///
    /// # Cancel safety
    /// As [`Desk::run`].
    pub(super) async fn confirm(&self, id: ChargeId, hash: B256) -> Result<(), Failure> {
        let confirm = ChargeCommand::Confirm { hash };
        let paid = self.desk.run(id, confirm, self.clock.now()).await?;
        if paid.changed {
            self.tell_paid(paid.record.get());
        }
        Ok(())
    }

    /// Grants a charge that is paid, to one request at a time.
    ///
    /// # Cancel safety
    /// Dropped, the charge may wait for its lease to lapse, and is then
    /// granted again.
    pub(super) async fn grant(self: &Arc<Self>, id: ChargeId) -> Result<Redeemed, Failure> {
        let until = self.keeper.until(self.clock.now());
        let asked = None;
        let serve = ChargeCommand::Serve { until, asked };
        let serving = self.run(id, serve).await?;
        Ok(self.granted(serving.get(), until))
    }

    /// The grant of a charge that is being served.
    pub(super) fn granted(self: &Arc<Self>, record: &ChargeRecord, until: Timestamp) -> Redeemed {
        self.keeper.add((record.id(), record.grants), until);
        let counter = Arc::new(Till(Arc::clone(self))) as Arc<dyn Counter>;
        Redeemed::Serve(Grant::charged(ChargeGuard::new(counter, record)))
    }

    /// Tells subscribers that the chain has shown a payment.
    pub(super) fn tell_paid(&self, record: &ChargeRecord) {
        self.events.send(ServerEvent::ChargePaid {
            challenge_id: record.challenge_id.clone(),
            payer: record.payer,
            amount: record.bill.amount,
            transaction: record.payment.hash.unwrap_or_default(),
        });
    }
}

/// Grants that are extended beside each other.
const AT_ONCE: usize = 64;

/// Extends the grants of this process for as long as the server runs.
pub(crate) async fn keep<S: ChannelStore>(context: Arc<ChargeContext<S>>) {
    loop {
        let pause = context.keeper.pause();
        // The next round begins in time, whatever this one still waits for: what
        // it has not extended is due again.
        let round = tokio::time::timeout(pause, context.extend_grants());
        let (_cut_or_done, ()) = tokio::join!(round, tokio::time::sleep(pause));
    }
}

impl<S: ChannelStore> ChargeContext<S> {
    /// Extends the grants that would lapse soon, many beside each other, so that
    /// one slow write does not make others lapse. Those that lapse first come
    /// first.
    async fn extend_grants(&self) {
        let due = self.keeper.due(self.clock.now());
        stream::iter(due)
            .for_each_concurrent(AT_ONCE, |(id, grant)| self.extend(id, grant))
            .await;
    }

    /// Extends a grant. One that can not be extended is tried again.
    async fn extend(&self, id: ChargeId, grant: u64) {
        let until = self.keeper.until(self.clock.now());
        match self.run(id, ChargeCommand::Extend { grant, until }).await {
            Ok(_) => self.keeper.renewed((id, grant), until),
            Err(Failure::Rejected(_)) => self.keeper.forget((id, grant)),
            Err(Failure::Fault(fault)) => tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "the grant of a charge could not be extended"
            ),
        }
    }

    async fn back(&self, id: ChargeId, grant: u64) {
        self.keeper.forget((id, grant));
        if let Err(failure) = self.run(id, ChargeCommand::Return { grant }).await {
            tracing::warn!(
                error = &failure as &dyn std::error::Error,
                "a charge could not be given back; its grant lapses"
            );
        }
    }
}

/// The context as grants hold it: whoever is given one may outlive the server.
struct Till<S>(Arc<ChargeContext<S>>);

impl<S: ChannelStore> Counter for Till<S> {
    fn capture(
        &self,
        id: ChargeId,
        grant: u64,
        response: Option<StoredResponse>,
    ) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let now = self.0.clock.now();
            let capture = ChargeCommand::Capture {
                grant,
                response: response.map(Into::into),
                keep_until: now.checked_add(self.0.keep_outcomes).unwrap_or(now),
            };
            let served = self.0.run(id, capture).await?;
            self.0.keeper.forget((id, grant));
            let record = served.get();
            self.0.events.send(ServerEvent::ChargeServed {
                challenge_id: record.challenge_id.clone(),
            });
            Ok(())
        })
    }

    fn give_back(&self, id: ChargeId, grant: u64) -> BoxFuture<'_, ()> {
        Box::pin(self.0.back(id, grant))
    }

    fn abandon(&self, id: ChargeId, grant: u64) {
        self.0.keeper.forget((id, grant));
        let context = Arc::clone(&self.0);
        self.0
            .tasks
            .detach(async move { context.back(id, grant).await });
    }
}

/// The charge engine as offers and the server hold it, whatever its store.
pub(crate) trait ChargeEngine: Send + Sync + std::fmt::Debug + 'static {
    /// Redeems a credential against the terms of an offer.
    fn redeem<'a>(
        self: Arc<Self>,
        terms: &'a ChargeTerms,
        credential: BoundCredential,
        visit: Visit,
    ) -> BoxFuture<'a, Result<Redeemed, Failure>>;

    /// Brings what was sent back of a charge to a total.
    fn refund_to<'a>(
        self: Arc<Self>,
        receipt: &'a ChargeReceipt,
        total: Amount,
    ) -> BoxFuture<'a, Result<Refund, RefundError>>;

    /// Whether there is a fee payer.
    fn sponsors(&self) -> bool;

    /// The fee payer, if there is one.
    fn sponsor_health(&self) -> BoxFuture<'_, Result<Option<SponsorHealth>, Fault>>;

    /// What is known of a charge.
    fn charge(&self, id: ChargeId) -> BoxFuture<'_, Result<Option<ChargeRecord>, Fault>>;
}

impl<S: ChannelStore + std::fmt::Debug> ChargeEngine for ChargeContext<S> {
    fn redeem<'a>(
        self: Arc<Self>,
        terms: &'a ChargeTerms,
        credential: BoundCredential,
        visit: Visit,
    ) -> BoxFuture<'a, Result<Redeemed, Failure>> {
        Box::pin(method::redeem(self, terms, credential, visit))
    }

    fn refund_to<'a>(
        self: Arc<Self>,
        receipt: &'a ChargeReceipt,
        total: Amount,
    ) -> BoxFuture<'a, Result<Refund, RefundError>> {
        Box::pin(refund::refund_to(self, receipt, total))
    }

    fn sponsors(&self) -> bool {
        self.sponsor.is_some()
    }

    fn sponsor_health(&self) -> BoxFuture<'_, Result<Option<SponsorHealth>, Fault>> {
        Box::pin(async move {
            match &self.sponsor {
                Some(sponsor) => sponsor.health().await.map(Some),
                None => Ok(None),
            }
        })
    }

    fn charge(&self, id: ChargeId) -> BoxFuture<'_, Result<Option<ChargeRecord>, Fault>> {
        Box::pin(async move { Ok(self.desk.load(id).await?.map(|found| found.value)) })
    }
}
