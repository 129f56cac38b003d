//! Channels on the node in process: what is signed, what the book says, what the chain says.

mod chains;
mod close;
mod exit;
mod feeding;
mod meanwhile;
#[cfg(feature = "durable-book")]
mod meeting;
mod open;
mod paying;
mod renewing;
mod rescue;
mod resume;
mod top_up;

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Bytes;
use mpp_core::{Amount, Credential, Timestamp, header};
use mpp_devnet::{Devnet, DevnetConfig, TimeSource};
use mpp_tempo::chain::ChainClient;
use mpp_tempo::wire::SessionPayload;
use mpp_tempo::{ChannelId, LocalSigner, SessionProtocol};
use serde_json::json;

use crate::clock::ManualClock;
use crate::offer::Offer;
use crate::origin::Site;
use crate::payer::Payer;
use crate::policy::Policy;
use crate::session::book::{ChannelBook, ChannelRecord, MemoryBook};
use crate::session::payment::{CredentialField, Next, Payment};
use crate::testing::{offer_with, receipt, site, units};

/// Unix seconds at which the chain and the client's clock stand.
const START: u64 = 1_800_000_000;

/// A payer on a chain of its own.
struct Bench {
    chain: Devnet,
    clock: Arc<ManualClock>,
    book: Arc<MemoryBook>,
    payer: Payer,
    site: Site,
}

impl Bench {
    fn new() -> Self {
        Self::with(Policy::new(units(100_000)))
    }

    fn with(policy: Policy) -> Self {
        let chain = Devnet::new(DevnetConfig {
            time: TimeSource::Fixed(START),
            ..DevnetConfig::default()
        });
        let start = Timestamp::from_secs(i64::try_from(START).unwrap());
        let clock = Arc::new(ManualClock::new(start));
        let book = Arc::new(MemoryBook::default());
        let key = &chain.accounts()[2].private_key;
        let payer = Payer::builder()
            .signer(LocalSigner::from_hex(key).unwrap())
            .chain(chain.clone())
            .policy(policy)
            .book(book.clone())
            .clock(clock.clone())
            .build()
            .unwrap();
        Self {
            chain,
            clock,
            book,
            payer,
            site: site("https://a.example/x"),
        }
    }

    /// Another payer with the same key, book and chain.
    fn twin(&self, policy: Policy) -> Payer {
        self.payer_of(policy, self.book.clone())
    }

    /// A payer with the same key on the same chain.
    fn payer_of(&self, policy: Policy, book: Arc<MemoryBook>) -> Payer {
        let key = &self.chain.accounts()[2].private_key;
        Payer::builder()
            .signer(LocalSigner::from_hex(key).unwrap())
            .chain(self.chain.clone())
            .policy(policy)
            .book(book)
            .clock(self.clock.clone())
            .build()
            .unwrap()
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.chain.advance_time(Duration::from_secs(seconds));
        self.chain.mine();
    }

    async fn begin(&self, offer: &Offer) -> Payment {
        self.payer.begin(&self.site, offer.clone()).await.unwrap()
    }

    fn record(&self, id: ChannelId) -> ChannelRecord {
        self.book.read(&id).unwrap()
    }

    /// What the server does with a self-paid transaction.
    async fn mine(&self, transaction: &Bytes) {
        let mined = self.chain.send_and_wait(transaction.clone()).await.unwrap();
        assert!(mined.success);
    }

    /// The channel ends on chain, and the book does not hear of it.
    async fn ends_on_chain(&self, id: ChannelId) {
        let elsewhere = self.payer_of(Policy::new(units(100_000)), Arc::default());
        elsewhere.rescue().await.unwrap();
        elsewhere.leave(&id).await.unwrap();
        self.pass(901);
        elsewhere.leave(&id).await.unwrap();
    }

    /// A channel that a server has confirmed, with one unit charged.
    async fn open(&self, offer: &Offer) -> ChannelId {
        let mut payment = self.begin(offer).await;
        let (payload, _) = send(&mut payment).await;
        let SessionPayload::Open { transaction, .. } = payload else {
            panic!("not an open");
        };
        self.mine(&transaction).await;
        let id = payment.channel_id();
        payment.confirm(&receipt(id, 1_000, 1_000)).unwrap();
        id
    }
}

/// Offers of both protocol versions.
fn offers() -> [Offer; 2] {
    [SessionProtocol::V1, SessionProtocol::V2].map(|protocol| {
        offer_with(|request| {
            let escrow = protocol.default_escrow(42_431).unwrap();
            request["methodDetails"]["escrowContract"] = json!(escrow);
            request["methodDetails"]["sessionProtocol"] = json!(protocol);
        })
    })
}

fn read(field: &CredentialField) -> Credential {
    let token = header::credential::find([field.value.as_str()]).unwrap();
    header::credential::parse(token.unwrap()).unwrap()
}

/// Prepares and sends a payment that needs no top-up.
async fn send(payment: &mut Payment) -> (SessionPayload, Credential) {
    let Next::Send(field) = payment.prepare().await.unwrap() else {
        panic!("a top-up is needed");
    };
    payment.mark_sent();
    let credential = read(&field);
    (
        SessionPayload::from_value(&credential.payload).unwrap(),
        credential,
    )
}

/// The cumulative amount that a payment presents.
async fn presented(payment: &mut Payment) -> Amount {
    let (payload, _) = send(payment).await;
    payload.voucher().unwrap().voucher.cumulative
}
