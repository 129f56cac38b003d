//! One book, and payers on several chains: each asks its own chain about its own channels only.

use mpp_tempo::network::Network;

use super::*;
use crate::error::ClientError;
use crate::policy::PolicyViolation;
use crate::session::book::Phase;
use crate::testing::offer;

const MAINNET: u64 = 4_217;

/// A payer with the same key and book, and the clock of the bench, on another chain.
fn elsewhere(bench: &Bench, policy: Policy) -> (Devnet, Payer) {
    let chain = Devnet::new(DevnetConfig {
        chain_id: MAINNET,
        time: TimeSource::Fixed(START + 10_000),
        ..DevnetConfig::default()
    });
    let key = &bench.chain.accounts()[2].private_key;
    let payer = Payer::builder()
        .signer(LocalSigner::from_hex(key).unwrap())
        .chain(chain.clone())
        .policy(policy)
        .book(bench.book.clone())
        .clock(bench.clock.clone())
        .build()
        .unwrap();
    (chain, payer)
}

fn offer_there() -> Offer {
    let currency = Network::by_chain_id(MAINNET).unwrap().default_currency;
    offer_with(|request| {
        request["currency"] = json!(currency);
        request["methodDetails"]["chainId"] = json!(MAINNET);
    })
}

// A chain that does not know a channel says nothing of the deposit that lies on another one.
#[tokio::test]
async fn a_channel_is_looked_up_on_its_own_chain_only() {
    for phase in [Phase::Open, Phase::Leaving] {
        let bench = Bench::new();
        let id = bench.open(&offer()).await;
        let mut change = |record: &mut ChannelRecord| record.phase = phase.clone();
        bench.book.update(&id, &mut change).unwrap();
        let (_chain, other) = elsewhere(&bench, Policy::new(units(100_000)));
        let refused = [
            other.resolve(&id).await.map(|_| ()),
            other.leave(&id).await.map(|_| ()),
            other.request_close(&id).await.map(|_| ()),
            other.withdraw(&id).await.map(|_| ()),
        ];
        for refused in refused {
            assert!(
                matches!(refused, Err(ClientError::Misuse(_))),
                "{refused:?}"
            );
        }
        assert_eq!(bench.record(id).phase, phase);
        assert!(other.leaving().unwrap().is_empty());
        assert_eq!(other.usable_channel(&bench.site.origin).unwrap(), None);
    }
}

// SECURITY-CASES A27: what lies on another chain is locked until that chain says otherwise.
#[tokio::test]
async fn a_channel_on_another_chain_counts_among_what_an_origin_may_lock() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let policy = Policy::new(units(100_000)).max_locked_per_origin(units(15_000));
    let (_chain, other) = elsewhere(&bench, policy.allow_recipient(offer().recipient()));
    let refused = other.begin(&bench.site, offer_there()).await;
    assert!(
        matches!(
            refused,
            Err(ClientError::Policy(PolicyViolation::TooMuchLocked { .. }))
        ),
        "{refused:?}"
    );
    assert_eq!(bench.record(id).phase, Phase::Open);
}
