//! What the chain says about a charge.

use alloy_primitives::Bytes;
use mpp_tempo::chain::ChainClient as _;
use mpp_tempo::tx::cosign;
use proptest::prelude::*;

use super::*;
use crate::charge::judge;
use crate::{ChargeState, ClientError};

async fn mine(bench: &Bench, raw: Bytes) -> B256 {
    let mined = bench.chain.send_and_wait(raw).await.unwrap();
    mined.hash
}

async fn resolve(bench: &Bench) -> ChargeState {
    let id = bench.only().id;
    bench.payer.resolve_charge(&id).await.unwrap()
}

#[tokio::test]
async fn a_charge_is_open_until_it_is_mined_or_can_not_be() {
    let bench = Bench::new();
    let once = bench.pay(&offer("c1")).await;
    assert_eq!(resolve(&bench).await, ChargeState::Open);
    bench.pass(25);
    // Reads may lag behind the node that told the time.
    assert_eq!(resolve(&bench).await, ChargeState::Open);
    bench.pass(5);
    assert_eq!(resolve(&bench).await, ChargeState::Void);
    // And the chain agrees that it can not be mined any more.
    assert!(bench.chain.submit(&transaction(&once).encode()).is_err());
}

#[tokio::test]
async fn a_charge_that_the_server_has_sent_is_paid() {
    let bench = Bench::new();
    let once = bench.pay(&offer("c1")).await;
    let tx_hash = mine(&bench, transaction(&once).encode()).await;
    assert_eq!(resolve(&bench).await, ChargeState::Paid { tx_hash });
    // A receipt that comes later says more, and nothing is forgotten by time.
    let receipt = receipt("c1", tx_hash.to_string());
    once.confirm(&receipt).unwrap();
    bench.pass(100);
    assert_eq!(resolve(&bench).await, ChargeState::Served { tx_hash });
}

// SECURITY-CASES A25: a reverted transaction pays nothing.
#[tokio::test]
async fn a_reverted_charge_is_void_once_its_time_is_over() {
    let bench = Bench::new();
    let once = bench.pay(&offer("c1")).await;
    bench.chain.pause(PATH_USD);
    let sent = bench.chain.send_and_wait(transaction(&once).encode()).await;
    assert!(sent.is_err() || !sent.unwrap().success);
    bench.chain.unpause(PATH_USD);
    assert_ne!(
        resolve(&bench).await.tx_hash(),
        Some(transaction(&once).hash())
    );
    bench.pass(31);
    assert_eq!(resolve(&bench).await, ChargeState::Void);
}

#[tokio::test]
async fn a_sponsored_charge_is_found_by_its_memo() {
    let bench = Bench::new();
    let sponsored = |id: &str| {
        offer_with(id, |request| {
            request["methodDetails"]["feePayer"] = json!(true);
        })
    };
    let sponsor = LocalSigner::from_hex(&bench.chain.accounts()[3].private_key).unwrap();
    // An equal payment of another challenge is none of this one.
    let other = bench.pay(&sponsored("c0")).await;
    let signed = cosign(transaction(&other), &sponsor, PATH_USD)
        .await
        .unwrap();
    mine(&bench, signed.encode()).await;
    let once = bench.pay(&sponsored("c1")).await;
    let id = crate::ChargeId::of(&bench.site.origin, &once.credential().challenge);
    let resolve = async || bench.payer.resolve_charge(&id).await.unwrap();
    assert_eq!(resolve().await, ChargeState::Open);
    let signed = cosign(transaction(&once), &sponsor, PATH_USD)
        .await
        .unwrap();
    let tx_hash = mine(&bench, signed.encode()).await;
    assert_eq!(resolve().await, ChargeState::Paid { tx_hash });
}

// With a memo of the server's own, equal charges look alike: each transaction pays one of them.
#[tokio::test]
async fn one_transaction_pays_one_charge() {
    let bench = Bench::new();
    let pinned = |id: &str| {
        offer_with(id, |request| {
            request["methodDetails"]["feePayer"] = json!(true);
            request["methodDetails"]["memo"] = json!(B256::repeat_byte(5));
        })
    };
    let sponsor = LocalSigner::from_hex(&bench.chain.accounts()[3].private_key).unwrap();
    let first = bench.pay(&pinned("c1")).await;
    bench.pay(&pinned("c2")).await;
    let signed = cosign(transaction(&first), &sponsor, PATH_USD)
        .await
        .unwrap();
    mine(&bench, signed.encode()).await;
    let ids: Vec<_> = bench.book.charges().unwrap();
    let mut states = Vec::new();
    for record in &ids {
        states.push(bench.payer.resolve_charge(&record.id).await.unwrap());
    }
    let paid = states.iter().filter(|state| state.tx_hash().is_some());
    assert_eq!(paid.count(), 1, "{states:?}");
}

#[tokio::test]
async fn a_charge_that_the_book_does_not_know_is_a_misuse() {
    let bench = Bench::new();
    let id = crate::ChargeId::of(&bench.site.origin, &challenge("c9", &request()));
    let unknown = bench.payer.resolve_charge(&id).await;
    assert!(matches!(unknown, Err(ClientError::Misuse(_))));
}

// A book may be shared by payers on several chains: another chain does not know the payment, however
// late it is there.
#[tokio::test]
async fn a_charge_is_looked_up_on_its_own_chain_only() {
    let bench = Bench::new();
    let key = Some("\"k\"");
    let pending = bench.payer.charge(&bench.site, &offer("c1"), key).await;
    let tx = transaction(&pending.unwrap());
    let chain = Devnet::new(DevnetConfig {
        chain_id: 4_217,
        time: TimeSource::Fixed(START + 10_000),
        ..DevnetConfig::default()
    });
    let other = Payer::builder()
        .signer(bench.signer.clone())
        .chain(chain)
        .policy(policy())
        .book(bench.book.clone())
        .clock(bench.clock.clone())
        .build()
        .unwrap();
    let refused = other.resolve_charge(&bench.only().id).await;
    assert!(
        matches!(refused, Err(ClientError::Misuse(_))),
        "{refused:?}"
    );
    let now = Timestamp::from_secs(i64::try_from(START).unwrap());
    assert!(!other.resolve_open(now).await.unwrap());
    let again = other.paid_before(&bench.site, "\"k\"").await.unwrap();
    assert_eq!(transaction(&again.unwrap()).hash(), tx.hash());
    assert_eq!(bench.only().state, ChargeState::Open);
}

#[test]
fn only_time_makes_a_charge_void() {
    let hash = B256::repeat_byte(1);
    let paid = ChargeState::Paid { tx_hash: hash };
    assert_eq!(judge(Some(hash), u64::MAX, Some(0)), paid);
    assert_eq!(judge(None, 104, Some(100)), ChargeState::Open);
    assert_eq!(judge(None, 105, Some(100)), ChargeState::Void);
    assert_eq!(judge(None, u64::MAX, None), ChargeState::Open);
}

fn state() -> impl Strategy<Value = ChargeState> {
    let hash = (0_u8..3).prop_map(B256::repeat_byte);
    prop_oneof![
        Just(ChargeState::Open),
        Just(ChargeState::Void),
        hash.clone()
            .prop_map(|tx_hash| ChargeState::Paid { tx_hash }),
        hash.prop_map(|tx_hash| ChargeState::Served { tx_hash }),
    ]
}

proptest! {
    // Money that moved stays moved, in whatever order the news come.
    #[test]
    fn news_never_take_a_payment_back(news in proptest::collection::vec(state(), 0..8)) {
        let mut known = ChargeState::Open;
        let mut was_paid = false;
        let mut was_served = None;
        for one in news {
            known = known.learn(one);
            was_paid |= one.tx_hash().is_some();
            prop_assert_eq!(known.tx_hash().is_some(), was_paid);
            if let (None, ChargeState::Served { tx_hash }) = (was_served, one) {
                was_served = Some(tx_hash);
            }
            if let Some(tx_hash) = was_served {
                prop_assert_eq!(known, ChargeState::Served { tx_hash });
            }
        }
    }
}

/// A key that never comes to an end with signing.
struct Stuck(LocalSigner);

impl Signer for Stuck {
    fn address(&self) -> Address {
        self.0.address()
    }

    async fn sign_digest(&self, _: &B256) -> Result<Signature65, SignerError> {
        std::future::pending().await
    }
}

// Nothing was signed, and nobody knows that: the caller is told so, and pays once it is known.
#[tokio::test]
async fn a_purchase_whose_payment_was_broken_off_is_paid_once_that_is_known() {
    let bench = Bench::new();
    let stuck = Stuck(bench.signer.0.clone());
    let stuck = bench.build(Payer::builder().signer(stuck), policy());
    let key = Some("\"k\"");
    let (first, second) = (offer("c1"), offer("c2"));
    let mut dropped = Box::pin(stuck.charge(&bench.site, &first, key));
    assert!(futures_util::poll!(dropped.as_mut()).is_pending());
    drop(dropped);
    let id = bench.only().id;
    let found = bench.payer.paid_before(&bench.site, "\"k\"").await;
    for undecided in [
        found.map(|once| once.is_some()),
        bench
            .payer
            .charge(&bench.site, &first, key)
            .await
            .map(|_| true),
        bench
            .payer
            .charge(&bench.site, &second, key)
            .await
            .map(|_| true),
    ] {
        assert!(
            matches!(&undecided, Err(ClientError::ChargeIndeterminate { charge, .. }) if charge.id == id),
            "{undecided:?}"
        );
    }
    bench.pass(31);
    let paid = bench.payer.charge(&bench.site, &second, key).await.unwrap();
    assert_eq!(transaction(&paid).valid_before(), Some(START + 31 + 25));
    assert_eq!(
        bench.book.charge(&id).unwrap().unwrap().state,
        ChargeState::Void
    );
}
