//! Charges on the node in process: what is signed, what the book says, what the chain says.

mod choosing;
mod limits;
mod paying;
mod pushing;
mod receipts;
mod resolving;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, B256};
use mpp_core::{Challenge, ChallengeId, ChargeReceipt, Credential, EncodedJson, IntentName};
use mpp_core::{MethodName, Realm, Timestamp};
use mpp_devnet::{Devnet, DevnetConfig, TimeSource};
use mpp_tempo::network::PATH_USD;
use mpp_tempo::tx::SignedTx;
use mpp_tempo::wire::ChargePayload;
use mpp_tempo::{LocalSigner, Signature65, Signer, SignerError};
use serde_json::{Value, json};

use super::{ChargeOffer, ChargeRecord};
use crate::clock::ManualClock;
use crate::once::Once;
use crate::origin::Site;
use crate::payer::{Payer, PayerBuilder};
use crate::policy::Policy;
use crate::session::book::{ChannelBook, MemoryBook};
use crate::testing::{PAYEE, site, units};

/// Unix seconds at which the chain and the client's clock stand.
const START: u64 = 1_800_000_000;
/// The price of everything, in base units.
const PRICE: u128 = 10_000;

/// A key that counts how often it signs.
#[derive(Clone)]
struct Counting(LocalSigner, Arc<AtomicU32>);

impl Signer for Counting {
    fn address(&self) -> Address {
        self.0.address()
    }

    async fn sign_digest(&self, digest: &B256) -> Result<Signature65, SignerError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.sign_digest(digest).await
    }
}

/// A payer on a chain of its own.
struct Bench {
    chain: Devnet,
    clock: Arc<ManualClock>,
    book: Arc<MemoryBook>,
    signer: Counting,
    payer: Payer,
    site: Site,
}

impl Bench {
    fn new() -> Self {
        Self::with(policy())
    }

    fn with(policy: Policy) -> Self {
        let chain = Devnet::new(DevnetConfig {
            time: TimeSource::Fixed(START),
            sync_timeout: Duration::from_millis(100),
            ..DevnetConfig::default()
        });
        let start = Timestamp::from_secs(i64::try_from(START).unwrap());
        let clock = Arc::new(ManualClock::new(start));
        let book = Arc::new(MemoryBook::default());
        let key = LocalSigner::from_hex(&chain.accounts()[2].private_key).unwrap();
        let signer = Counting(key, Arc::default());
        let mut bench = Self {
            payer: Payer::builder()
                .signer(signer.clone())
                .policy(policy.clone())
                .build()
                .unwrap(),
            chain,
            clock,
            book,
            signer,
            site: site("https://a.example/x"),
        };
        bench.payer = bench.build(Payer::builder().signer(bench.signer.clone()), policy);
        bench
    }

    /// A payer on the same chain, with the same book and clock.
    fn build(&self, builder: PayerBuilder, policy: Policy) -> Payer {
        builder
            .chain(self.chain.clone())
            .policy(policy)
            .book(self.book.clone())
            .clock(self.clock.clone())
            .build()
            .unwrap()
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.chain.advance_time(Duration::from_secs(seconds));
        self.chain.mine();
    }

    async fn pay(&self, offer: &ChargeOffer) -> Once {
        self.payer.charge(&self.site, offer, None).await.unwrap()
    }

    fn signatures(&self) -> u32 {
        self.signer.1.load(Ordering::SeqCst)
    }

    /// The only charge in the book.
    fn only(&self) -> ChargeRecord {
        let charges = self.book.charges().unwrap();
        assert_eq!(charges.len(), 1, "{charges:?}");
        charges[0].clone()
    }

    fn paid(&self, to: Address) -> u128 {
        self.chain.balance(PATH_USD, to).base_units()
    }
}

fn policy() -> Policy {
    Policy::new(units(100_000))
}

/// The request of a charge on Moderato.
fn request() -> Value {
    json!({
        "amount": PRICE.to_string(),
        "currency": PATH_USD,
        "recipient": PAYEE,
        "methodDetails": { "chainId": 42431 },
    })
}

fn challenge(id: &str, request: &Value) -> Challenge {
    let expires = Timestamp::from_secs(i64::try_from(START + 300).unwrap());
    Challenge {
        id: ChallengeId::new(id).unwrap(),
        realm: Realm::new("api.example").unwrap(),
        method: MethodName::tempo(),
        intent: IntentName::charge(),
        request: EncodedJson::from_value(request).unwrap(),
        expires: Some(expires.to_string()),
        digest: None,
        description: None,
        opaque: None,
        header: None,
    }
}

fn offer(id: &str) -> ChargeOffer {
    offer_with(id, |_| ())
}

fn offer_with(id: &str, change: impl FnOnce(&mut Value)) -> ChargeOffer {
    let mut request = request();
    change(&mut request);
    ChargeOffer::read(challenge(id, &request)).unwrap()
}

fn payload(credential: &Credential) -> ChargePayload {
    serde_json::from_value(credential.payload.clone()).unwrap()
}

/// The transaction that a server is given.
#[track_caller]
fn transaction(once: &Once) -> SignedTx {
    let ChargePayload::Transaction { transaction } = payload(once.credential()) else {
        panic!("no transaction");
    };
    SignedTx::decode(&transaction).unwrap()
}

fn receipt(id: &str, reference: impl Into<String>) -> ChargeReceipt {
    let at = Timestamp::from_secs(i64::try_from(START).unwrap());
    let mut receipt = ChargeReceipt::new(MethodName::tempo(), at, reference);
    receipt.challenge_id = Some(ChallengeId::new(id).unwrap());
    receipt
}
