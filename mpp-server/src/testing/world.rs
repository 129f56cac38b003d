//! A payment server on an in-process chain, and the wallets that pay it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use alloy_primitives::{Address, B256, Bytes};
use mpp_core::{
    Challenge, Credential, Realm, SecretKey, Timestamp,
    problem::{Problem, ProblemKind},
    receipt::{Receipt, SessionReceipt},
};
use mpp_devnet::{DevChannel, Devnet, DevnetConfig, TimeSource};
use mpp_tempo::{
    ChannelId, ChannelTerms, LocalSigner, Network, SessionProtocol, SignedVoucher, Signer,
    network::PATH_USD,
    tx::{
        FeeMode, SignedTx, SponsorPolicy, TxContext, TxFees, UnsignedTx, build, build::OpenParams,
        gas,
    },
    wire::SessionPayload,
};

use super::{NOW_SECS, Unsteady, amount, now, sign};
use crate::{
    MemoryStore, Offer, PaymentServer, Route, SessionOffer,
    clock::{Clock, ManualClock},
    gate::{Attempt, Decision, Grant, Purpose, Refusal},
    server::Builder,
    session::record::{ChannelRecord, Phase},
    store::{ChannelStore as _, Write},
};

/// Price of one unit on the routes of a [`World`], in base units.
pub(crate) const PRICE: u128 = 1_000;

/// Deposit of the channels of a [`World`], in base units.
pub(crate) const DEPOSIT: u128 = 10_000;

/// Server, chain, clock and keys.
pub(crate) struct World {
    pub(crate) node: Devnet,
    pub(crate) clock: ManualClock,
    pub(crate) store: MemoryStore,
    pub(crate) server: PaymentServer,
    pub(crate) payer: LocalSigner,
    pub(crate) stranger: LocalSigner,
    salt: AtomicU8,
}

/// A signed open transaction that nobody has sent.
#[derive(Clone)]
pub(crate) struct Opening {
    pub(crate) terms: ChannelTerms,
    pub(crate) transaction: SignedTx,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    /// A world whose server is configured further.
    pub(crate) fn with(
        configure: impl FnOnce(Builder<MemoryStore>) -> Builder<MemoryStore>,
    ) -> Self {
        Self::on(DevnetConfig::default(), configure)
    }

    /// A world on a chain that is configured, too; its time stands still.
    pub(crate) fn on(
        config: DevnetConfig,
        configure: impl FnOnce(Builder<MemoryStore>) -> Builder<MemoryStore>,
    ) -> Self {
        let node = Devnet::new(DevnetConfig {
            time: TimeSource::Fixed(u64::try_from(NOW_SECS).unwrap()),
            ..config
        });
        let clock = ManualClock::new(now());
        let store = MemoryStore::new();
        let builder = builder(&node, &clock, store.clone());
        let server = configure(builder).build().unwrap();
        Self {
            payer: key(&node, 1),
            stranger: key(&node, 2),
            node,
            clock,
            store,
            server,
            salt: AtomicU8::new(1),
        }
    }

    /// A world whose server has a store that takes its time.
    pub(crate) fn on_slow_store() -> (Self, Unsteady) {
        let (mut world, store) = (Self::new(), Unsteady::default());
        world.store = store.inner.clone();
        let builder = builder(&world.node, &world.clock, world.store.clone());
        world.server = builder.store(store.clone()).build().unwrap();
        (world, store)
    }

    /// A configuration like that of the world's server, over another store.
    pub(crate) fn configure(&self, store: MemoryStore) -> Builder<MemoryStore> {
        builder(&self.node, &self.clock, store)
    }

    /// Another server like the world's, over another store.
    pub(crate) fn configured(&self, store: MemoryStore) -> PaymentServer {
        builder(&self.node, &self.clock, store).build().unwrap()
    }

    /// Another server over the same store, as after a restart.
    pub(crate) fn again(
        &self,
        configure: impl FnOnce(Builder<MemoryStore>) -> Builder<MemoryStore>,
    ) -> PaymentServer {
        let builder = builder(&self.node, &self.clock, self.store.clone());
        configure(builder).build().unwrap()
    }

    /// Moves both clocks, the server's and the chain's.
    pub(crate) fn advance(&self, seconds: u32) {
        self.clock.advance_secs(seconds);
        self.node
            .advance_time(Duration::from_secs(u64::from(seconds)));
    }

    pub(crate) fn offer(&self, protocol: SessionProtocol) -> SessionOffer {
        self.server.session().amount("0.001").protocol(protocol)
    }

    pub(crate) fn route(&self, protocol: SessionProtocol) -> Route {
        route("/poem", self.offer(protocol).build().unwrap())
    }

    pub(crate) fn sponsored_route(&self, protocol: SessionProtocol) -> Route {
        route("/poem", self.offer(protocol).fee_payer().build().unwrap())
    }

    pub(crate) fn payee(&self) -> Address {
        self.node.accounts()[0].address
    }

    pub(crate) fn sponsor(&self) -> Address {
        self.node.accounts()[3].address
    }

    pub(crate) fn balance(&self, owner: Address) -> u128 {
        self.node.balance(PATH_USD, owner).base_units()
    }

    /// What the chain knows of a channel.
    pub(crate) fn on_chain(&self, terms: &ChannelTerms) -> Option<DevChannel> {
        self.node.channel(terms.protocol, terms.id())
    }

    /// What the server knows of a channel.
    pub(crate) async fn record(&self, id: ChannelId) -> ChannelRecord {
        self.server.channel(id).await.unwrap()
    }

    /// Transaction context of a wallet, at the present.
    pub(crate) fn context(&self, gas_limit: u64, fee_mode: FeeMode) -> TxContext {
        TxContext {
            chain_id: Network::MODERATO.chain_id,
            now: self.clock.now(),
            valid_for: Duration::from_secs(25),
            fees: TxFees {
                max_fee_per_gas: 2_000_000_000,
                max_priority_fee_per_gas: 0,
                gas_limit,
            },
            fee_mode,
            valid_after: None,
        }
    }

    /// The parameters of a new channel with the usual deposit.
    pub(crate) fn params(&self, protocol: SessionProtocol) -> OpenParams {
        OpenParams {
            protocol,
            escrow: protocol.default_escrow(42431).unwrap(),
            payee: self.payee(),
            token: PATH_USD,
            operator: Address::ZERO,
            deposit: amount(DEPOSIT),
            salt: B256::repeat_byte(self.salt.fetch_add(1, Ordering::SeqCst)),
            authorized_signer: Address::ZERO,
        }
    }

    pub(crate) async fn sign_open(&self, params: &OpenParams, fee_mode: FeeMode) -> Opening {
        let context = self.context(gas::open(params.protocol), fee_mode);
        let unsigned = build::open(&context, params).unwrap();
        let terms = unsigned.open_terms(params, self.payer.address());
        let transaction = unsigned.sign(&self.payer).await.unwrap();
        Opening { terms, transaction }
    }

    /// A signed open transaction of a new channel.
    pub(crate) async fn opening(&self, protocol: SessionProtocol) -> Opening {
        self.sign_open(&self.params(protocol), paying()).await
    }

    /// A signed open transaction of a v2 channel with this salt.
    pub(crate) async fn opening_with(&self, salt: B256) -> Opening {
        let params = OpenParams {
            salt,
            ..self.params(SessionProtocol::V2)
        };
        self.sign_open(&params, paying()).await
    }

    /// Opens a channel with a first voucher, without buying anything.
    pub(crate) async fn open(
        &self,
        route: &Route,
        protocol: SessionProtocol,
        first: u128,
    ) -> ChannelTerms {
        let opening = self.opening(protocol).await;
        let payload = opening.payload(&self.voucher(&opening.terms, first));
        managed(self.manage(route, &payload).await);
        opening.terms
    }

    /// A channel of somebody else, on which some units are paid exactly.
    pub(crate) async fn by_stranger(
        &self,
        route: &Route,
        protocol: SessionProtocol,
        units: u128,
    ) -> ChannelTerms {
        let params = self.params(protocol);
        let context = self.context(gas::open(protocol), paying());
        let unsigned = build::open(&context, &params).unwrap();
        let terms = unsigned.open_terms(&params, self.stranger.address());
        let transaction = unsigned.sign(&self.stranger).await.unwrap();
        let payload = Opening { terms, transaction }.payload(&self.stranger_voucher(&terms, 0));
        managed(self.manage(route, &payload).await);
        for unit in 1..=units {
            let signed = self.stranger_voucher(&terms, unit.saturating_mul(PRICE));
            served(self.buy(route, &voucher_payload(&terms, &signed)).await).await;
        }
        terms
    }

    pub(crate) fn stranger_voucher(&self, terms: &ChannelTerms, units: u128) -> SignedVoucher {
        sign(&self.stranger, terms, units)
    }

    /// Channels that are open on chain and have earned something, put into the
    /// store as if they had been used.
    pub(crate) async fn earned_directly(
        &self,
        protocol: SessionProtocol,
        count: u128,
        earned: u128,
    ) -> Vec<ChannelTerms> {
        let mut all = Vec::new();
        for number in 0..count {
            let mut params = self.params(protocol);
            params.salt = B256::left_padding_from(&number.to_be_bytes());
            let opening = self.sign_open(&params, paying()).await;
            self.node.submit(&opening.transaction.encode()).unwrap();
            let terms = opening.terms;
            let pending = crate::session::record::PendingTx {
                hash: opening.transaction.hash(),
                valid_before: 0,
            };
            let voucher = self.voucher(&terms, earned);
            let mut next = ChannelRecord::opening(terms, pending, voucher, self.clock.now());
            next.deposit = params.deposit;
            next.spent = amount(earned);
            next.units = 1;
            next.unsettled.since = Some(self.clock.now());
            next.phase = Phase::Open;
            let write = Write {
                expected: None,
                next: Arc::new(next),
                entry: None,
                outcome: None,
            };
            self.store.commit(write).await.unwrap();
            all.push(terms);
        }
        all
    }

    pub(crate) fn voucher(&self, terms: &ChannelTerms, units: u128) -> SignedVoucher {
        sign(&self.payer, terms, units)
    }

    pub(crate) async fn sign_top_up(
        &self,
        terms: &ChannelTerms,
        additional: u128,
        fee_mode: FeeMode,
    ) -> SignedTx {
        let context = self.context(gas::TOP_UP, fee_mode);
        let unsigned = build::top_up(&context, terms, amount(additional)).unwrap();
        unsigned.sign(&self.payer).await.unwrap()
    }

    /// The payer sends a transaction itself, past the server.
    pub(crate) async fn send(&self, unsigned: UnsignedTx) {
        let signed = unsigned.sign(&self.payer).await.unwrap();
        self.node.submit(&signed.encode()).unwrap();
    }

    pub(crate) async fn request_close(&self, terms: &ChannelTerms) {
        let context = self.context(gas::REQUEST_CLOSE, paying());
        self.send(build::request_close(&context, terms).unwrap())
            .await;
    }

    /// The payee collects a voucher itself, past the server.
    pub(crate) async fn settle(&self, terms: &ChannelTerms, signed: &SignedVoucher) {
        let context = self.context(gas::SETTLE, paying());
        let unsigned = build::settle(&context, terms, signed).unwrap();
        let transaction = unsigned.sign(&key(&self.node, 0)).await.unwrap();
        self.node.submit(&transaction.encode()).unwrap();
    }

    pub(crate) async fn withdraw(&self, terms: &ChannelTerms) {
        let context = self.context(gas::WITHDRAW, paying());
        self.send(build::withdraw(&context, terms).unwrap()).await;
    }

    /// A fresh challenge of a route.
    pub(crate) async fn challenge(&self, route: &Route) -> Challenge {
        let attempt = Attempt::from_credential(None, Purpose::Content);
        let mut refusal = refused(self.server.decide(route, attempt).await);
        assert_eq!(refusal.problem.kind, ProblemKind::PaymentRequired);
        refusal.challenges.remove(0).to_challenge()
    }

    pub(crate) async fn credential(&self, route: &Route, payload: &SessionPayload) -> Credential {
        Credential::new(self.challenge(route).await, payload.to_value())
    }

    pub(crate) async fn decide(
        &self,
        route: &Route,
        credential: Credential,
        purpose: Purpose,
    ) -> Decision {
        let attempt = Attempt::from_credential(Some(credential), purpose);
        self.server.decide(route, attempt).await
    }

    /// A content request that answers a fresh challenge.
    pub(crate) async fn buy(&self, route: &Route, payload: &SessionPayload) -> Decision {
        let credential = self.credential(route, payload).await;
        self.decide(route, credential, Purpose::Content).await
    }

    /// A management request that answers a fresh challenge.
    pub(crate) async fn manage(&self, route: &Route, payload: &SessionPayload) -> Decision {
        let credential = self.credential(route, payload).await;
        self.decide(route, credential, Purpose::Management).await
    }
}

impl Opening {
    pub(crate) fn payload(&self, first: &SignedVoucher) -> SessionPayload {
        SessionPayload::Open {
            channel_id: first.voucher.channel_id,
            transaction: self.transaction.encode(),
            authorized_signer: None,
            descriptor: descriptor(&self.terms),
            cumulative_amount: first.voucher.cumulative,
            signature: first.signature.clone(),
        }
    }
}

fn builder(node: &Devnet, clock: &ManualClock, store: MemoryStore) -> Builder<MemoryStore> {
    PaymentServer::builder()
        .realm(Realm::new("shop.example").unwrap())
        .secret_key(secret(1))
        .testnet()
        .chain(node.clone())
        .account(key(node, 0))
        .fee_payer(key(node, 3))
        .store(store)
        .clock(clock.clone())
}

pub(crate) fn key(node: &Devnet, index: usize) -> LocalSigner {
    LocalSigner::from_hex(&node.accounts()[index].private_key).unwrap()
}

pub(crate) fn secret(seed: u8) -> SecretKey {
    let bytes: Vec<u8> = (0..32).map(|byte| byte ^ seed).collect();
    SecretKey::from_bytes(&bytes).unwrap()
}

pub(crate) fn route(scope: &str, offer: Offer) -> Route {
    Route::new(scope, [offer]).unwrap()
}

pub(crate) fn paying() -> FeeMode {
    FeeMode::SelfPaid {
        fee_token: PATH_USD,
    }
}

fn descriptor(terms: &ChannelTerms) -> Option<mpp_tempo::ChannelDescriptor> {
    (terms.protocol == SessionProtocol::V2).then_some(terms.descriptor)
}

pub(crate) fn voucher_payload(terms: &ChannelTerms, signed: &SignedVoucher) -> SessionPayload {
    SessionPayload::Voucher {
        channel_id: signed.voucher.channel_id,
        descriptor: descriptor(terms),
        cumulative_amount: signed.voucher.cumulative,
        signature: signed.signature.clone(),
    }
}

pub(crate) fn close_payload(terms: &ChannelTerms, signed: &SignedVoucher) -> SessionPayload {
    SessionPayload::Close {
        channel_id: signed.voucher.channel_id,
        descriptor: descriptor(terms),
        cumulative_amount: signed.voucher.cumulative,
        signature: signed.signature.clone(),
        close_signature: None,
    }
}

pub(crate) fn top_up_payload(
    terms: &ChannelTerms,
    transaction: Bytes,
    additional: u128,
) -> SessionPayload {
    SessionPayload::TopUp {
        channel_id: terms.id(),
        transaction,
        descriptor: descriptor(terms),
        additional_deposit: amount(additional),
    }
}

/// Sponsors transactions of access keys, too.
pub(crate) fn sponsoring_access_keys(builder: Builder<MemoryStore>) -> Builder<MemoryStore> {
    builder.sponsor_policy(SponsorPolicy {
        sponsors_access_keys: true,
        ..SponsorPolicy::default()
    })
}

#[track_caller]
pub(crate) fn refused(decision: Decision) -> Refusal {
    match decision {
        Decision::Refuse(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// The problem of a refusal of this kind.
#[track_caller]
pub(crate) fn problem(decision: Decision, kind: ProblemKind) -> Problem {
    let refusal = refused(decision);
    assert_eq!(refusal.problem.kind, kind, "{}", refusal.problem.detail);
    assert_eq!(refusal.challenges.is_empty(), !kind.carries_challenge());
    refusal.problem
}

#[track_caller]
pub(crate) fn granted(decision: Decision) -> Grant {
    match decision {
        Decision::Grant(grant) => grant,
        other => panic!("not granted: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn managed(decision: Decision) -> SessionReceipt {
    match decision {
        Decision::Respond(Receipt::Session(receipt)) => receipt,
        other => panic!("not a management answer: {other:?}"),
    }
}

/// Captures a grant, as a transport does whose handler has succeeded.
pub(crate) async fn served(decision: Decision) -> SessionReceipt {
    match granted(decision).capture(None).await.unwrap() {
        Receipt::Session(receipt) => receipt,
        Receipt::Charge(_) => panic!("a charge receipt"),
    }
}

/// A moment `seconds` after the usual one.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(NOW_SECS.saturating_add(seconds))
}
