//! The servers that the checks of charges buy from.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_primitives::{Address, address};
use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use mpp_core::{Realm, SecretKey};
use mpp_http::server::{Paid, PaymentLayer};
use mpp_server::{ChargeOffer, EmbeddedStore, PaymentServer, Route};
use mpp_tempo::{LocalSigner, Signer as _};

use super::super::dollars;
use crate::{
    account,
    counted::Counted,
    log_scan,
    node::Node,
    shop::{Scratch, Shop},
};

/// The second token of every local node.
pub(super) const OTHER_TOKEN: Address = address!("20c0000000000000000000000000000000000001");

/// Two servers over one store, and a third whose challenges expire at once.
pub(crate) struct Market {
    pub(super) shop: Shop,
    pub(super) second: Shop,
    pub(super) hasty: Shop,
    pub(super) payee: LocalSigner,
    pub(super) sponsor: LocalSigner,
    /// Who gets the splits.
    pub(super) partners: [Address; 2],
    /// The servers' way to the chain.
    pub(super) chain: Counted,
    /// How often a handler has run.
    pub(super) served: Arc<AtomicU64>,
}

impl Market {
    pub(super) async fn open(node: &Node) -> anyhow::Result<Self> {
        let run = alloy_primitives::B256::random();
        let payee = account::signer_for(&format!("charge payee {run}"))?;
        let sponsor = account::signer_for(&format!("charge sponsor {run}"))?;
        let partner = |number: u8| account::signer_for(&format!("charge partner {number} {run}"));
        let partners = [partner(1)?.address(), partner(2)?.address()];
        for receiver in [payee.address(), sponsor.address(), partners[0], partners[1]] {
            account::fund(node, receiver, dollars(10)).await?;
        }
        let chain = Counted::new(node.chain.clone());
        let served = Arc::new(AtomicU64::new(0));
        let scratch = Scratch::new()?;
        let store = EmbeddedStore::open(scratch.path().join("charges.store"))?;
        let secret = alloy_primitives::B256::random();
        log_scan::secret("server secret", secret.as_slice());
        let build = |lifetime: Duration| -> anyhow::Result<PaymentServer> {
            Ok(PaymentServer::builder()
                .realm(Realm::new("shop.example")?)
                .secret_key(SecretKey::from_bytes(secret.as_slice())?)
                .network(node.network()?)
                .chain(chain.clone())
                .store(store.clone())
                .account(payee.clone())
                .fee_payer(sponsor.clone())
                .challenge_lifetime(lifetime)
                // Only what the checks do is counted.
                .watch_every(Duration::from_secs(24 * 60 * 60))
                .build()?)
        };
        let usual = Duration::from_secs(5 * 60);
        let router = |server: &PaymentServer| router(server, partners, &served);
        Ok(Self {
            shop: Shop::open(build(usual)?, scratch, router).await?,
            second: Shop::open(build(usual)?, Scratch::new()?, router).await?,
            hasty: Shop::open(build(Duration::from_millis(1))?, Scratch::new()?, router).await?,
            payee,
            sponsor,
            partners,
            chain,
            served,
        })
    }

    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::SeqCst)
    }
}

fn router(
    server: &PaymentServer,
    partners: [Address; 2],
    served: &Arc<AtomicU64>,
) -> anyhow::Result<Router> {
    let offer = || server.charge().amount("0.01");
    let memo = alloy_primitives::B256::repeat_byte(0x77);
    let split = || {
        let first = offer().split(partners[0], "0.004");
        first.split_with_memo(partners[1], "0.001", memo)
    };
    let routes: [(&str, ChargeOffer); 7] = [
        ("photo", offer().external_id("order-1")),
        ("other", offer().external_id("order-2")),
        ("sponsored", offer().sponsored()),
        ("split", split()),
        ("sponsored-split", split().sponsored()),
        ("token", offer().currency(OTHER_TOKEN)),
        ("members", server.charge().amount("0")),
    ];
    let mut router = Router::new();
    for (name, offer) in routes {
        let path = format!("/{name}");
        let route = Route::new(path.clone(), [offer.build()?])?;
        let pay = PaymentLayer::new(server.clone(), route);
        router = router.route(&path, get(serve).layer(pay));
    }
    let route = Route::new("/broken", [offer().build()?])?;
    let pay = PaymentLayer::new(server.clone(), route);
    router = router.route("/broken", get(fail_first).layer(pay));
    Ok(router.with_state(Arc::clone(served)))
}

async fn serve(State(served): State<Arc<AtomicU64>>, paid: Paid) -> String {
    let number = served.fetch_add(1, Ordering::SeqCst);
    let payer = paid.payer().unwrap_or_default();
    format!("photo {number} for {payer:#x}")
}

/// Fails the first time, as a handler whose backend is down.
async fn fail_first(
    State(served): State<Arc<AtomicU64>>,
    _paid: Paid,
) -> Result<String, StatusCode> {
    static FAILED: AtomicU64 = AtomicU64::new(0);
    if FAILED.fetch_add(1, Ordering::SeqCst) == 0 {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    }
    served.fetch_add(1, Ordering::SeqCst);
    Ok(String::from("a photo"))
}
