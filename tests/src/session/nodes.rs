//! Several servers over one store (SECURITY-CASES A1, A2).

use std::time::Duration;

use axum::Router;
use futures_util::{StreamExt as _, future::join_all};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use mpp_core::ProblemKind;
use mpp_server::{ChannelStore as _, PaymentServer, store::LedgerPage};
use mpp_tempo::SessionProtocol;

use crate::{
    pair::{BOTH, DEPOSIT, PRICE, Pair},
    wallet::{Ask, Opened},
};

/// Two nodes with the same secret and store.
struct Cluster {
    pair: Pair,
    apps: [Router; 2],
    other: PaymentServer,
}

impl Cluster {
    async fn new(protocol: SessionProtocol) -> Self {
        let pair = Pair::new().await;
        let other = pair.configure().build().unwrap();
        let apps = [
            pair.goods(&pair.server, protocol),
            pair.goods(&other, protocol),
        ];
        Self { pair, apps, other }
    }

    async fn open(&self, first: u128) -> Opened {
        let wallet = self.pair.wallet();
        wallet.open(&self.apps[0], "/photo", first).await
    }
}

// A1: 100 copies of one voucher buy what it pays for, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_copies_of_a_voucher_buy_no_more_than_it_pays_for() {
    for protocol in BOTH {
        for units in [1_u128, 7] {
            let cluster = Cluster::new(protocol).await;
            let opened = cluster.open(PRICE).await;
            let wallet = cluster.pair.wallet();
            let payload = wallet.pay(&opened.terms, units * PRICE).await;
            let copies = (0..100_usize).map(|number| {
                let ask = Ask::get("/photo").pay(&opened.challenge, &payload);
                ask.send(&cluster.apps[number % 2])
            });
            let answers = join_all(copies).await;
            let (served, refused): (Vec<_>, Vec<_>) = answers
                .into_iter()
                .partition(|answer| answer.status == StatusCode::OK);
            assert_eq!(served.len(), usize::try_from(units).unwrap());
            let mut spent: Vec<_> = served
                .iter()
                .map(|answer| answer.receipt().spent.base_units())
                .collect();
            spent.sort_unstable();
            let expected: Vec<_> = (1..=units).map(|unit| unit * PRICE).collect();
            assert_eq!(spent, expected);
            for answer in refused {
                assert_eq!(answer.problem().kind, ProblemKind::InsufficientBalance);
            }
            let record = cluster.pair.record(opened.terms.id()).await;
            assert_eq!(record.spent.base_units(), units * PRICE);
            // A1: also across a restart.
            let again = cluster.pair.configure().build().unwrap();
            let app = cluster.pair.goods(&again, protocol);
            let ask = Ask::get("/photo").pay(&opened.challenge, &payload);
            let answer = ask.send(&app).await;
            assert_eq!(answer.problem().kind, ProblemKind::InsufficientBalance);
        }
    }
}

// A2: requests that race for one balance with vouchers of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_vouchers_never_spend_more_than_was_authorized() {
    let cluster = Cluster::new(SessionProtocol::V2).await;
    let opened = cluster.open(PRICE).await;
    let wallet = cluster.pair.wallet();
    let mut payloads = Vec::new();
    for number in 1..=10 {
        payloads.push(wallet.pay(&opened.terms, number * PRICE).await);
    }
    let asks = (0..60_usize).map(|number| {
        let payload = &payloads[number % payloads.len()];
        let ask = Ask::get("/photo").pay(&opened.challenge, payload);
        ask.send(&cluster.apps[number % 2])
    });
    let served = join_all(asks).await;
    let served = served
        .iter()
        .filter(|answer| answer.status == StatusCode::OK);
    let record = cluster.pair.record(opened.terms.id()).await;
    assert_eq!(record.accepted().base_units(), DEPOSIT);
    let served = u128::try_from(served.count()).unwrap();
    assert_eq!(record.spent.base_units(), served * PRICE);
    assert!(record.spent <= record.accepted());
    let page = LedgerPage {
        channel: Some(opened.terms.id()),
        after: 0,
        limit: usize::MAX,
    };
    let ledger = cluster.pair.store.ledger(page).await.unwrap();
    let charged: u128 = ledger.iter().map(|line| line.entry.cost.base_units()).sum();
    assert_eq!(charged, record.spent.base_units());
}

// PROTOCOL 5.7: a voucher accepted by one node resumes a stream on another.
#[tokio::test]
async fn a_stream_paused_on_one_node_is_resumed_by_the_other() {
    for protocol in BOTH {
        let cluster = Cluster::new(protocol).await;
        let wallet = cluster.pair.wallet();
        let opened = wallet.open(&cluster.apps[0], "/words", PRICE).await;
        let payload = wallet.pay(&opened.terms, PRICE).await;
        let ask = Ask::get("/words").pay(&opened.challenge, &payload);
        let mut body = ask.start(&cluster.apps[0]).await.into_body();
        let mut next = async || {
            let frame = tokio::time::timeout(Duration::from_secs(5), body.frame());
            let bytes = frame.await.unwrap().unwrap().unwrap().into_data().unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        assert!(next().await.contains("title"));
        assert!(next().await.contains("word1"));
        assert!(next().await.starts_with("event: payment-need-voucher"));

        let higher = wallet.pay(&opened.terms, 2 * PRICE).await;
        let ask = Ask::new(Method::HEAD, "/words").pay(&opened.challenge, &higher);
        let (answer, word) = tokio::join!(ask.send(&cluster.apps[1]), next());
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
        assert!(word.contains("word2"), "{word}");
        let record = cluster.other.channel(opened.terms.id()).await.unwrap();
        assert_eq!(record.spent.base_units(), 2 * PRICE);
    }
}

// PROTOCOL 5.7: a new stream on a channel ends the previous one, wherever it
// runs; two streams never spend the same voucher.
#[tokio::test]
async fn a_new_stream_on_one_node_ends_the_old_one_on_the_other() {
    let cluster = Cluster::new(SessionProtocol::V2).await;
    let wallet = cluster.pair.wallet();
    let opened = wallet.open(&cluster.apps[0], "/words", DEPOSIT).await;
    let payload = wallet.pay(&opened.terms, DEPOSIT).await;
    let start = async |app: &Router| {
        let ask = Ask::get("/words").pay(&opened.challenge, &payload);
        ask.start(app).await.into_body().into_data_stream()
    };
    let mut old = start(&cluster.apps[0]).await;
    for _ in 0..3 {
        old.next().await.unwrap().unwrap();
    }
    let mut new = start(&cluster.apps[1]).await;
    new.next().await.unwrap().unwrap();
    let rest: Vec<_> = old.map(Result::unwrap).collect().await;
    let rest = String::from_utf8(rest.concat()).unwrap();
    assert!(rest.starts_with("event: payment-receipt\n"), "{rest}");
    // Two words of the old stream and one prepaid of the new one.
    let record = cluster.pair.record(opened.terms.id()).await;
    assert_eq!(record.spent.base_units(), 3 * PRICE);
    let mut words = 0;
    for _ in 0..8 {
        let bytes = new.next().await.unwrap().unwrap();
        words += usize::from(bytes.starts_with(b"event: message"));
    }
    assert_eq!(words, 8);
}
