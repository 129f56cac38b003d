//! A payment server: configuration in, offers and decisions out.

mod charge;
mod sponsor;

use std::{sync::Arc, time::Duration};

use alloy_primitives::Address;
use mpp_core::{KeyRing, Realm, SecretKey};
use mpp_tempo::{
    DynSigner, Network, Signer,
    chain::{ChainClient, DynChain},
    channel::ChannelId,
};
use tokio::sync::broadcast;
use tokio_util::sync::DropGuard;

use crate::{
    bootstrap::ChannelResolver,
    charge::{
        ChargeContext, ChargeEngine, ChargeParts, finish_refunds, forget_ended,
        keep as keep_charges,
    },
    clock::{Clock, SharedClock},
    error::{Failure, Fault, Misuse},
    event::{Events, ServerEvent},
    gate::{Attempt, Decision, Gate, Issuer, Refusal, RequestBody, Route},
    health::Health,
    session::{
        BadSignatureLimit, BadSignatures, Engine, SessionContext, SessionOffer, SessionParts, keep,
        record::ChannelRecord,
    },
    settle::{
        Adoption, FollowPolicy, Rescue, Rescued, SettlePolicy, collect, reconcile::Reconciled,
        sight::Sight, watch,
    },
    sponsor::SponsorParts,
    store::{ChannelStore, Durability, MemoryStore},
    sweep::{self, Keeping},
    tasks::{Service, Tasks},
};

use self::sponsor::Sponsoring;

/// The shortest lease of a hold, and the shortest window of a budget.
const MIN_LEASE: Duration = Duration::from_secs(1);

/// Sells access to routes. Cheap to clone.
///
/// # Examples
///
/// ```
/// # async fn example(
/// #     chain: impl mpp_tempo::chain::ChainClient,
/// #     account: mpp_tempo::LocalSigner,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use mpp_core::{Realm, SecretKey};
/// use mpp_server::{PaymentServer, Route};
/// use mpp_tempo::Network;
///
/// let server = PaymentServer::builder()
///     .realm(Realm::new("api.example.com")?)
///     .secret_key(SecretKey::from_env("MPP_SECRET_KEY")?)
///     .network(Network::MODERATO)
///     .chain(chain)
///     .account(account)
///     .build()?;
/// let offer = server.session().amount("0.001").unit_type("word").build()?;
/// let route = Route::new("/poem", [offer])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PaymentServer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    gate: Gate,
    engine: Arc<dyn Engine>,
    charges: Arc<dyn ChargeEngine>,
    network: Network,
    account: Address,
    service: Service,
    /// Whether there is a fee payer.
    sponsors: bool,
    /// The watcher ends with the last handle to the server.
    _watching: DropGuard,
    tasks: Tasks,
}

impl PaymentServer {
    /// Starts configuring, with a store in memory.
    pub fn builder() -> Builder<MemoryStore> {
        Builder {
            realm: None,
            secret_key: None,
            previous_key: None,
            network: None,
            chain: None,
            account: None,
            sponsoring: Sponsoring::default(),
            store: MemoryStore::new(),
            clock: SharedClock::default(),
            challenge_lifetime: Duration::from_secs(5 * 60),
            bad_signatures: BadSignatureLimit::default(),
            resolver: None,
            watch_every: Duration::from_secs(5),
            follow: FollowPolicy::default(),
            adoption: Adoption::default(),
            event_capacity: 1_024,
            production: false,
            hold_lease: Duration::from_secs(30),
            keep_outcomes: Duration::from_secs(24 * 60 * 60),
            settlement: SettlePolicy::default(),
        }
    }

    /// Starts the session offer of a route.
    pub fn session(&self) -> SessionOffer {
        let inner = &self.0;
        SessionOffer::new(
            Arc::clone(&inner.engine),
            inner.network,
            inner.account,
            inner.sponsors,
        )
    }

    /// Decides about a request to a paid route.
    ///
    /// # Cancel safety
    /// Dropped, a payment that was not durable yet has not happened; one that
    /// was is kept, and repeating the request finds it.
    pub async fn decide(&self, route: &Route, attempt: Attempt<'_>) -> Decision {
        self.0.gate.decide(route, attempt).await
    }

    /// What the server knows of a channel.
    ///
    /// # Errors
    /// [`Rejection::ChannelNotFound`](crate::Rejection::ChannelNotFound), or
    /// a store fault.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn channel(&self, id: ChannelId) -> Result<ChannelRecord, Failure> {
        self.0.engine.channel(id).await.map(Arc::unwrap_or_clone)
    }

    /// Reads a channel from the chain now, instead of waiting for the watcher.
    ///
    /// # Errors
    /// When the channel is unknown, or chain or store fail.
    ///
    /// # Cancel safety
    /// Dropped, the facts are noted or not; the watcher brings them again.
    pub async fn refresh(&self, id: ChannelId) -> Result<ChannelRecord, Failure> {
        self.0.engine.refresh(id).await.map(Arc::unwrap_or_clone)
    }

    /// Waits until the server knows what has happened on chain while it did not
    /// run: catches up with the events and compares all live channels with the
    /// chain. Channels that contradict it are quarantined.
    ///
    /// Call it when all offers are made and before requests are taken; until
    /// then sales are bounded by [`FollowPolicy::unseen_cap`]. Once it has
    /// succeeded it returns at once.
    ///
    /// # Errors
    /// When chain or store fail, or the node has not come as far as the store
    /// has seen the chain. It can be tried again.
    ///
    /// # Cancel safety
    /// As an error: what was noted is noted.
    pub async fn ready(&self) -> Result<(), Fault> {
        self.0.engine.begin().await
    }

    /// Goes through all channels that pay this server on chain, from the chain's
    /// logs alone, and compares them with the store: for a server that has lost
    /// its store, or has got an old one back. Call it when all offers are made.
    ///
    /// Returns those that hold money.
    ///
    /// # Errors
    /// When chain or store fail; what was adopted until then is kept.
    ///
    /// # Cancel safety
    /// As an error; repeating is harmless.
    pub async fn rescue(&self, how: Rescue) -> Result<Vec<Rescued>, Fault> {
        self.0.engine.rescue(how).await
    }

    /// How the server is, for a readiness probe. Asks nobody.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.engine.health()
    }

    /// Reads the chain's new events now, as the watcher does every few
    /// seconds.
    ///
    /// # Errors
    /// When chain or store fail; the watcher tries again.
    ///
    /// # Cancel safety
    /// Dropped, the same events are read again later.
    pub async fn catch_up(&self) -> Result<(), Fault> {
        self.0.engine.catch_up().await
    }

    /// The answer to a request that was granted and can not be served after
    /// all: its capture failed, or its handler could not reserve enough.
    /// `body` is what the attempt said about it.
    #[must_use]
    pub fn refusal(&self, route: &Route, failure: &Failure, body: RequestBody) -> Refusal {
        let gate = &self.0.gate;
        gate.refusal(route, failure, route.offers().iter().collect(), body)
    }

    /// Compares all live channels with the chain, as the server does when it
    /// starts. Channels whose history the store does not know are quarantined.
    ///
    /// # Errors
    /// When chain or store fail; what was compared until then is noted.
    ///
    /// # Cancel safety
    /// As an error.
    pub async fn reconcile(&self) -> Result<Reconciled, Fault> {
        self.0.engine.reconcile().await
    }

    /// Puts a quarantined channel back into service, on an operator's word.
    ///
    /// The payer must have presented a voucher for at least what the chain has
    /// paid out, as by a management request; all of that then counts as spent.
    /// Does nothing to a channel that is not quarantined.
    ///
    /// # Errors
    /// [`Rejection::Quarantined`](crate::Rejection::Quarantined) while that
    /// voucher is missing; when the channel is unknown, or chain or store fail.
    ///
    /// # Cancel safety
    /// Dropped, it is in service or not; repeating is harmless.
    pub async fn reinstate(&self, id: ChannelId) -> Result<ChannelRecord, Failure> {
        self.0.engine.reinstate(id).await.map(Arc::unwrap_or_clone)
    }

    /// Receives events from now on. A slow reader loses the oldest and is
    /// told how many; it never slows a request.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<ServerEvent> {
        self.0.gate.events.subscribe()
    }

    /// The account that is paid and that settles.
    #[must_use]
    pub fn account(&self) -> Address {
        self.0.account
    }
}

/// Configures a [`PaymentServer`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder<S> {
    realm: Option<Realm>,
    secret_key: Option<SecretKey>,
    previous_key: Option<SecretKey>,
    network: Option<Network>,
    chain: Option<DynChain>,
    account: Option<DynSigner>,
    sponsoring: Sponsoring,
    store: S,
    clock: SharedClock,
    challenge_lifetime: Duration,
    bad_signatures: BadSignatureLimit,
    resolver: Option<Arc<dyn ChannelResolver>>,
    watch_every: Duration,
    follow: FollowPolicy,
    adoption: Adoption,
    event_capacity: usize,
    production: bool,
    hold_lease: Duration,
    keep_outcomes: Duration,
    settlement: SettlePolicy,
}

impl<S: ChannelStore + std::fmt::Debug> Builder<S> {
    /// The protection space, such as the server's public host name. Required;
    /// never taken from a request (SECURITY-CASES A5).
    pub fn realm(mut self, realm: Realm) -> Self {
        self.realm = Some(realm);
        self
    }

    /// The secret that binds challenges, at least 32 bytes. Required.
    pub fn secret_key(mut self, key: SecretKey) -> Self {
        self.secret_key = Some(key);
        self
    }

    /// The secret before a rotation: its challenges are still honored.
    pub fn previous_secret_key(mut self, key: SecretKey) -> Self {
        self.previous_key = Some(key);
        self
    }

    /// The Tempo network. Required.
    pub fn network(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// The test network, Moderato.
    pub fn testnet(self) -> Self {
        self.network(Network::MODERATO)
    }

    /// How the chain is reached. Required; never used for a voucher.
    pub fn chain(mut self, client: impl ChainClient) -> Self {
        self.chain = Some(DynChain::new(client));
        self
    }

    /// The account that is paid and that signs closes. Required.
    #[doc(alias = "signer")]
    pub fn account(mut self, signer: impl Signer + 'static) -> Self {
        self.account = Some(DynSigner::new(signer));
        self
    }

    /// Where channels are kept.
    pub fn store<T: ChannelStore + std::fmt::Debug>(self, store: T) -> Builder<T> {
        Builder {
            store,
            realm: self.realm,
            secret_key: self.secret_key,
            previous_key: self.previous_key,
            network: self.network,
            chain: self.chain,
            account: self.account,
            sponsoring: self.sponsoring,
            clock: self.clock,
            challenge_lifetime: self.challenge_lifetime,
            bad_signatures: self.bad_signatures,
            resolver: self.resolver,
            watch_every: self.watch_every,
            follow: self.follow,
            adoption: self.adoption,
            event_capacity: self.event_capacity,
            production: self.production,
            hold_lease: self.hold_lease,
            keep_outcomes: self.keep_outcomes,
            settlement: self.settlement,
        }
    }

    /// Refuses a store that may lose any amount of money in a crash, such as
    /// one in memory.
    pub fn production(mut self) -> Self {
        self.production = true;
        self
    }

    /// Where the time comes from. Default: the system's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }

    /// How long a challenge can be answered. Default: five minutes.
    pub fn challenge_lifetime(mut self, lifetime: Duration) -> Self {
        self.challenge_lifetime = lifetime;
        self
    }

    /// How many bad signatures are looked at, and how many transactions are tried
    /// that nothing comes of. Default: 20, then one a second.
    pub fn bad_signature_limit(mut self, limit: BadSignatureLimit) -> Self {
        self.bad_signatures = limit;
        self
    }

    /// Finds the channel that a payer who lost its records goes on with.
    /// Default: the newest one in the store.
    pub fn channel_resolver(mut self, resolver: impl ChannelResolver) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Pause between two looks at the chain's events. Default: 5 s.
    pub fn watch_every(mut self, pause: Duration) -> Self {
        self.watch_every = pause;
        self
    }

    /// How far the server trusts its picture of the chain.
    pub fn follow(mut self, policy: FollowPolicy) -> Self {
        self.follow = policy;
        self
    }

    /// What brings a channel into service that was found on chain and not in
    /// the store ([`PaymentServer::rescue`]). Default: an operator.
    pub fn adoption(mut self, adoption: Adoption) -> Self {
        self.adoption = adoption;
        self
    }

    /// How many events are kept for slow readers. Default: 1,024.
    pub fn event_capacity(mut self, capacity: usize) -> Self {
        self.event_capacity = capacity;
        self
    }

    /// How long money stays held for a request after the last sign of life of
    /// this process. Default: 30 s. Requests may take longer: their holds are
    /// extended while they are served.
    pub fn hold_lease(mut self, lease: Duration) -> Self {
        self.hold_lease = lease;
        self
    }

    /// How long a retry of an idempotent request finds its outcome. Default:
    /// 24 hours. An hour after that it is removed from the store.
    ///
    /// Of each channel the newest
    /// [`OUTCOMES_PER_CHANNEL`](crate::store::OUTCOMES_PER_CHANNEL) are kept. A
    /// retry that comes later is not said to be the first: its client can not
    /// know whether it was charged.
    pub fn keep_outcomes(mut self, time: Duration) -> Self {
        self.keep_outcomes = time;
        self
    }

    /// When what was earned is collected. Default: see [`SettlePolicy`].
    pub fn settlement(mut self, policy: SettlePolicy) -> Self {
        self.settlement = policy;
        self
    }

    /// Checks the configuration and starts the server's watcher.
    ///
    /// # Errors
    /// [`Misuse`] when something required is missing, the chain is not the
    /// network's, or there is no tokio runtime.
    pub fn build(self) -> Result<PaymentServer, Misuse> {
        self.check()?;
        let network = self.network.ok_or(Misuse::Missing("network"))?;
        let chain = self.chain.ok_or(Misuse::Missing("chain"))?;
        if chain.chain_id() != network.chain_id {
            return Err(Misuse::Invalid("the chain client is on another chain"));
        }
        let durability = self.store.durability();
        let account = self.account.ok_or(Misuse::Missing("account"))?;
        let current = self.secret_key.ok_or(Misuse::Missing("secret_key"))?;
        let keys = match self.previous_key {
            Some(previous) => KeyRing::new(current).with_previous(previous),
            None => KeyRing::new(current),
        };
        let events = Events::new(self.event_capacity);
        let tasks = Tasks::default();
        let service = Service::default();
        let gate = Gate {
            issuer: Issuer::new(self.realm.ok_or(Misuse::Missing("realm"))?, keys),
            challenge_lifetime: self.challenge_lifetime,
            clock: self.clock.clone(),
            events: events.clone(),
            service: service.clone(),
        };
        let (address, store) = (account.address(), Arc::new(self.store));
        let bad_signatures = Arc::new(BadSignatures::new(self.bad_signatures));
        let parts = SponsorParts {
            chain: chain.clone(),
            clock: self.clock.clone(),
            events: events.clone(),
            tasks: tasks.clone(),
            fee_token: network.default_currency,
        };
        let sponsor = self.sponsoring.sponsor(Arc::clone(&store), parts);
        let charges = Arc::new(ChargeContext::new(ChargeParts {
            store: Arc::clone(&store),
            chain: chain.clone(),
            account: account.clone(),
            sponsor: sponsor.clone(),
            clock: self.clock.clone(),
            events: events.clone(),
            tasks: tasks.clone(),
            service: service.clone(),
            bad_signatures: Arc::clone(&bad_signatures),
            lease: self.hold_lease,
            keep_outcomes: self.keep_outcomes,
        }));
        let sponsors = sponsor.is_some();
        let swept = Arc::clone(&store);
        let clock = self.clock.clone();
        let keeping = Keeping::new(self.keep_outcomes, self.follow.closed_window);
        let context = Arc::new(SessionContext::new(SessionParts {
            store,
            chain,
            account,
            sponsor,
            clock: self.clock,
            events,
            tasks: tasks.clone(),
            bad_signatures,
            sight: Sight::new(self.follow, self.watch_every),
            adoption: self.adoption,
            settlement: self.settlement,
            service: service.clone(),
            hold_lease: self.hold_lease,
            keep_outcomes: self.keep_outcomes,
            resolver: self.resolver,
        }));
        report(&durability);
        tasks.start(keep(Arc::clone(&context)));
        tasks.start(keep_charges(Arc::clone(&charges)));
        tasks.start(finish_refunds(Arc::clone(&charges)));
        tasks.start(forget_ended(Arc::clone(&charges)));
        tasks.start(watch::follow(Arc::clone(&context), self.watch_every));
        tasks.start(collect::run(Arc::clone(&context)));
        tasks.start(collect::lead(Arc::clone(&context)));
        tasks.start(sweep::run(swept, clock, keeping));
        Ok(PaymentServer(Arc::new(Inner {
            gate,
            engine: context,
            charges,
            network,
            account: address,
            service,
            sponsors,
            _watching: tasks.stop_on_drop(),
            tasks,
        })))
    }

    fn check(&self) -> Result<(), Misuse> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Misuse::Invalid("a payment server needs a tokio runtime"));
        }
        if self.production && !self.store.durability().is_bounded() {
            return Err(Misuse::Invalid(
                "the store may lose any amount of money in a crash, and this is production",
            ));
        }
        if self.watch_every.is_zero() {
            return Err(Misuse::Invalid("`watch_every` must be more than zero"));
        }
        if self.hold_lease < MIN_LEASE {
            return Err(Misuse::Invalid("`hold_lease` must be at least a second"));
        }
        self.sponsoring.check()?;
        if self.challenge_lifetime.is_zero() {
            return Err(Misuse::Invalid(
                "`challenge_lifetime` must be more than zero",
            ));
        }
        self.settlement.check()?;
        Ok(())
    }
}

/// Says once what a crash may cost.
fn report(durability: &Durability) {
    let (store, risk) = (durability.name(), durability.to_string());
    match durability {
        Durability::Strict | Durability::Group | Durability::External { may_lose: None, .. } => {
            tracing::info!(store, risk, "the channel store is open");
        }
        Durability::Memory | Durability::Relaxed(_) | Durability::External { .. } => {
            tracing::warn!(store, risk, "the channel store may lose money in a crash");
        }
    }
}

mod settle;
#[cfg(test)]
mod tests;

pub use self::settle::Shutdown;
