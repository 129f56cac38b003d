//! What every session action needs.

use std::{
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lru::LruCache;
use mpp_core::Amount;
use mpp_tempo::{
    DynSigner, SignedVoucher, VerifiedVoucher, VoucherVerifier,
    chain::{ChainClient, ChainError, DynChain},
    channel::{ChannelId, ChannelView},
};

use super::{
    BadSignatures, VoucherQueue,
    command::Command,
    driver::{Applied, Driver, Durable, Ran},
    record::{ChannelRecord, HoldId, Idempotency, Phase},
};
use crate::{
    bootstrap::{ChannelResolver, Directory},
    charge::ProofDesk,
    clock::SharedClock,
    error::{Failure, Fault, Rejection},
    event::{Events, ServerEvent},
    keeper::Keeper,
    settle::sight::Sight,
    settle::watch::{Horizon, Interest},
    settle::{Adoption, SettlePolicy, Settlement},
    sponsor::Sponsor,
    store::ChannelStore,
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
    /// Up to where facts of the chain were believed.
    pub(crate) horizon: Horizon,
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
            horizon: Horizon::default(),
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
        self.note_end(id, &command).await?;
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
        self.note_end(id, &command).await?;
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

    /// Gives back a part of what was charged, unless it was collected or is being.
    ///
    /// Either side sees the other: whoever collects stores that first, then writes
    /// the record, and then sends. So if it does so after the look for it here, the
    /// commit is a conflict, and the next look finds it.
    ///
    /// # Errors
    /// As [`Driver::run`]; [`Fault::OutcomeUnknown`] while something is under way.
    ///
    /// # Cancel safety
    /// As [`Driver::run`].
    pub(crate) async fn give_back(
        &self,
        id: ChannelId,
        amount: Amount,
    ) -> Result<Durable<Applied>, Failure> {
        loop {
            let (record, version) = self.driver.load(id).await?;
            if self.effect_of(id).await?.is_some() {
                return Err(Fault::OutcomeUnknown.into());
            }
            let credit = Command::Credit { amount };
            if let Some(applied) = self.driver.try_once(record, version, credit).await? {
                self.tell_about(applied.get());
                return Ok(applied);
            }
        }
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

    /// Blocks after which nothing that is paid for or paid out is taken back, as
    /// far as the configuration goes.
    pub(crate) fn finality(&self) -> u64 {
        let deposits = self.sight.finality_depth();
        deposits.max(self.settlement.finality())
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
        self.reach_views([(&record, &view)]).await?;
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
            if matches!(before.phase, Phase::Closed { .. }) {
                self.tell_reverted_close(after);
            }
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
            // A pause of the close may have to end.
            Phase::Closing {
                requested_at: Some(_),
                ..
            } => self.settlement.is_urgent(channel_id),
            Phase::Opening(_) | Phase::Failed | Phase::Open | Phase::Closing { .. } => {}
        }
    }

    /// Money that counted as collected is at stake: an alarm.
    fn tell_reverted_close(&self, record: &ChannelRecord) {
        let channel_id = record.id;
        let unsettled = record.spent.saturating_sub(record.settled);
        tracing::error!(
            %channel_id,
            %unsettled,
            "a reorganization has taken back a close; it is collected again"
        );
        self.settlement.is_urgent(channel_id);
        self.events.send(ServerEvent::CloseReverted {
            channel_id,
            unsettled,
        });
    }
}
