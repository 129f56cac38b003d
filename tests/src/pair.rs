//! Client, server, chain and clocks, ready to trade.

use std::{sync::Arc, time::Duration};

use alloy_primitives::Address;
use axum::{Router, routing::get};
use base64::Engine as _;
use hmac::{KeyInit as _, Mac as _};
use mpp_client::{ChannelBook, ManualClock as ClientClock, MemoryBook, Policy};
use mpp_core::{Amount, Challenge, ChallengeId, Realm, SecretKey, Timestamp};
use mpp_devnet::{Devnet, DevnetConfig, TimeSource};
use mpp_http::client::Client;
use mpp_server::{
    Builder, MemoryStore, PaymentServer, SessionOffer, clock::ManualClock,
    session::record::ChannelRecord,
};
use mpp_tempo::{ChannelId, LocalSigner, SessionProtocol, network::PATH_USD};

use crate::{
    link::Link,
    shop::{Socket, Visits, photo, sell, words},
    wallet::Wallet,
};

/// Both protocol versions: what holds for one holds for the other.
pub(crate) const BOTH: [SessionProtocol; 2] = [SessionProtocol::V1, SessionProtocol::V2];

/// Price of one unit in [`Pair::offer`], in base units.
pub(crate) const PRICE: u128 = 1_000;

/// Suggested deposit in [`Pair::offer`], in base units.
pub(crate) const DEPOSIT: u128 = 10_000;

/// Where all clocks start, in Unix seconds.
const NOW: u32 = 1_795_000_000;

/// One payer, one payee, one chain.
pub(crate) struct Pair {
    pub(crate) chain: Devnet,
    /// The server's way to the chain.
    pub(crate) link: Link,
    /// The server's clock.
    pub(crate) clock: ManualClock,
    pub(crate) store: MemoryStore,
    pub(crate) server: PaymentServer,
    pub(crate) socket: Socket,
    /// The client's channels, which outlive a [`Client`].
    pub(crate) book: Arc<MemoryBook>,
    client_clock: Arc<ClientClock>,
}

impl Pair {
    pub(crate) async fn new() -> Self {
        let chain = Devnet::new(DevnetConfig {
            time: TimeSource::Fixed(u64::from(NOW)),
            sync_timeout: Duration::from_millis(200),
            ..DevnetConfig::default()
        });
        let now = Timestamp::from_secs(i64::from(NOW));
        let (clock, store) = (ManualClock::new(now), MemoryStore::new());
        let link = Link::to(chain.clone());
        let server = configure(&link, &clock, &store).build().unwrap();
        // The watcher looks once when it starts; wait until it has.
        server.catch_up().await.unwrap();
        Self {
            chain,
            link,
            clock,
            store,
            server,
            socket: Socket::open().await,
            book: Arc::new(MemoryBook::default()),
            client_clock: Arc::new(ClientClock::new(now)),
        }
    }

    /// A pair whose socket sells `/photo` and `/words`.
    pub(crate) async fn trading(protocol: SessionProtocol) -> Self {
        let pair = Self::new().await;
        pair.socket.serve(pair.goods(&pair.server, protocol));
        pair
    }

    /// `/photo` and `/words` as this server sells them.
    pub(crate) fn goods(&self, server: &PaymentServer, protocol: SessionProtocol) -> Router {
        let offer = || offer_of(server, protocol).build().unwrap();
        sell(server, "/photo", [offer()], photo(&Visits::default())).merge(sell(
            server,
            "/words",
            [offer()],
            get(words),
        ))
    }

    /// A configuration like that of the pair's server, over the same store.
    pub(crate) fn configure(&self) -> Builder<MemoryStore> {
        configure(&self.link, &self.clock, &self.store)
    }

    pub(crate) fn offer(&self, protocol: SessionProtocol) -> SessionOffer {
        offer_of(&self.server, protocol)
    }

    /// A new client with the pair's key and book.
    pub(crate) fn client(&self) -> Client {
        self.client_with(Policy::new(Amount::new(1_000_000)))
    }

    pub(crate) fn client_with(&self, policy: Policy) -> Client {
        self.client_of(policy, Arc::clone(&self.book) as _)
    }

    /// A new client with the pair's key and another book.
    pub(crate) fn client_of(&self, policy: Policy, book: Arc<dyn ChannelBook>) -> Client {
        Client::builder()
            .signer(self.key(1))
            .chain(self.chain.clone())
            .policy(policy)
            .book(book)
            .clock(Arc::clone(&self.client_clock) as _)
            .http(reqwest::Client::builder().no_proxy())
            .build()
            .unwrap()
    }

    /// A payer that does as it is told.
    pub(crate) fn wallet(&self) -> Wallet {
        Wallet::new(self.key(1), self.chain.clone())
    }

    pub(crate) fn key(&self, index: usize) -> LocalSigner {
        LocalSigner::from_hex(&self.chain.accounts()[index].private_key).unwrap()
    }

    pub(crate) fn payee(&self) -> Address {
        self.chain.accounts()[0].address
    }

    pub(crate) fn payer(&self) -> Address {
        self.chain.accounts()[1].address
    }

    pub(crate) fn balance(&self, owner: Address) -> u128 {
        self.chain.balance(PATH_USD, owner).base_units()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.socket.url)
    }

    /// Moves all clocks.
    pub(crate) fn advance(&self, seconds: u32) {
        let by = Duration::from_secs(u64::from(seconds));
        self.clock.advance_secs(seconds);
        self.client_clock.advance(by);
        self.chain.advance_time(by);
    }

    /// What the server knows of a channel.
    pub(crate) async fn record(&self, id: ChannelId) -> ChannelRecord {
        self.server.channel(id).await.unwrap()
    }

    /// The only channel in the client's book.
    pub(crate) fn only_channel(&self) -> ChannelId {
        let channels = self.client().channels().unwrap();
        assert_eq!(channels.len(), 1, "{channels:?}");
        channels[0].channel_id
    }
}

pub(crate) fn offer_of(server: &PaymentServer, protocol: SessionProtocol) -> SessionOffer {
    let offer = server.session().amount("0.001").suggested_deposit("0.01");
    offer.protocol(protocol)
}

/// A secret of its own for every number.
pub(crate) fn secret(number: u8) -> SecretKey {
    let bytes: Vec<u8> = (0..32).map(|byte: u8| byte ^ number).collect();
    SecretKey::from_bytes(&bytes).unwrap()
}

/// The id that the pair's server would have given a challenge.
pub(crate) fn mac(challenge: &Challenge) -> ChallengeId {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let opaque = challenge.opaque.as_ref().map(|json| json.as_str());
    let slots = [
        challenge.realm.as_str(),
        challenge.method.as_str(),
        challenge.intent.as_str(),
        challenge.request.as_str(),
        &text(&challenge.expires),
        &text(&challenge.digest),
        opaque.unwrap_or_default(),
    ];
    let key: Vec<u8> = (0..32).map(|byte: u8| byte ^ 1).collect();
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    mac.update(slots.join("|").as_bytes());
    let id = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    ChallengeId::new(id).unwrap()
}

fn configure(link: &Link, clock: &ManualClock, store: &MemoryStore) -> Builder<MemoryStore> {
    let key = |index: usize| {
        let account = &link.node().accounts()[index];
        LocalSigner::from_hex(&account.private_key).unwrap()
    };
    PaymentServer::builder()
        .realm(Realm::new("shop.example").unwrap())
        .secret_key(secret(1))
        .testnet()
        .chain(link.clone())
        .account(key(0))
        .fee_payer(key(3))
        .store(store.clone())
        .clock(clock.clone())
        // Tests that need the chain's news ask for it.
        .watch_every(Duration::from_secs(24 * 60 * 60))
}
