//! Broken connections: nothing is lost, nothing happens twice.

use tokio::task::JoinSet;

use super::*;
use crate::store::{
    conformance::sample,
    shared::testing::{Proxy, buy, lost_answers_are_found_out},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_whose_answer_is_lost_happens_once() {
    let Some(server) = server().await else { return };
    let test = async {
        let proxy = Proxy::start(server.socket()).await;
        let config = server.fresh().await;
        let store = through(&server, &proxy, &config).await;
        lost_answers_are_found_out(&store, &proxy).await;
    };
    server.clone().clean(test).await;
}

/// A store of the same tables, through a proxy.
async fn through(server: &Server, proxy: &Proxy, config: &PostgresConfig) -> PostgresStore {
    let (real, through) = (server.socket().to_string(), proxy.address().to_string());
    let address = server.address(&config.schema).replace(&real, &through);
    assert!(
        address.contains(&through),
        "the address names host and port"
    );
    let mut config = PostgresConfig::clone(config).connections(1);
    config.server = PostgresConfig::new(&ConnectionString::new(address))
        .unwrap()
        .server;
    PostgresStore::connect(&config).await.unwrap()
}

// Whoever reads the whole ledger may lose its power at any moment; the server does not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_that_is_gone_holds_nobody_up() {
    let Some(server) = server().await else { return };
    let test = async {
        let config = server.fresh().await;
        let store = PostgresStore::connect(&config).await.unwrap();
        let record = sample::record(1);
        store.commit(sample::first(record.clone())).await.unwrap();
        for answers in 0..8 {
            let proxy = Proxy::start(server.socket()).await;
            let reader = through(&server, &proxy, &config).await;
            proxy.freeze_after(answers);
            let reading = reader.ledger(sample::whole_ledger(None));
            drop(tokio::time::timeout(Duration::from_millis(100), reading).await);
            let found = store.load(record.id).await.unwrap().unwrap();
            let charge = sample::charge(found.version, &found.record);
            let done = tokio::time::timeout(Duration::from_secs(20), store.commit(charge)).await;
            assert!(
                matches!(done, Ok(Ok(Commit::Done(_)))),
                "held up after {answers} answers: {done:?}"
            );
        }
    };
    server.clone().clean(test).await;
}

// A failover as its clients see it: all connections end, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn buyers_survive_the_end_of_all_connections() {
    const BUYERS: u64 = 6;
    const EACH: u64 = 20;
    let Some(server) = server().await else { return };
    let test = async {
        let config = server.fresh().await;
        let store = PostgresStore::connect(&config).await.unwrap();
        let record = sample::record(1);
        let id = record.id;
        store.commit(sample::first(record)).await.unwrap();
        let mut buyers = JoinSet::new();
        for _ in 0..BUYERS {
            let store = store.clone();
            buyers.spawn(async move { buy(&store, id, EACH).await });
        }
        let (mut ended, mut bought, mut unknown) = (0, 0, 0);
        while !buyers.is_empty() {
            ended += server.terminate(&config.schema).await;
            let next = tokio::time::timeout(Duration::from_millis(40), buyers.join_next());
            if let Ok(Some(counts)) = next.await {
                let counts = counts.unwrap();
                bought += counts.0;
                unknown += counts.1;
            }
        }
        assert!(ended > 0, "no connection was ended");
        assert!(
            unknown < bought,
            "{unknown} of {} are unknown",
            BUYERS * EACH
        );
        let found = store.load(id).await.unwrap().unwrap();
        let total = found.record.spent.base_units();
        let possible = u128::from(bought)..=u128::from(bought + unknown);
        assert!(possible.contains(&total), "{total} is not in {possible:?}");
        let ledger = store.ledger(sample::whole_ledger(Some(id))).await.unwrap();
        let spent = ledger.iter().map(|line| line.entry.spent.base_units());
        assert!(spent.eq(1..=total), "the ledger is not one line of charges");
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_a_commit_fails_and_may_be_tried_later() {
    let Some(server) = server().await else { return };
    let test = async {
        let config = server.fresh().await;
        let store = PostgresStore::connect(&config).await.unwrap();
        let mut gone = Core {
            link: store.core.link.clone(),
            sql: Sql::new(&config.schema),
            stamps: Stamps::new(),
            waiters: Waiters::default(),
            outbox: Outbox::default(),
            durability: store.durability(),
        };
        let mut nowhere = config.clone().patience(Duration::from_millis(200));
        nowhere.server = "host=127.0.0.1 port=1 user=root".parse().unwrap();
        gone.link = Link::new(&nowhere, nowhere.connector().unwrap()).unwrap();
        let fault = gone
            .commit(sample::first(sample::record(1)))
            .await
            .unwrap_err();
        assert!(fault.is_transient(), "{fault}");
    };
    server.clone().clean(test).await;
}
