//! Several nodes, outages, and lost answers.

use tokio::{task::JoinSet, time::timeout};

use super::*;
use crate::store::{
    conformance::sample,
    shared::testing::{
        Proxy, a_stream_resumes_on_another_node, any_node_can_have_all_settled, buy,
        lost_answers_are_found_out, one_copy_of_a_charge_is_granted,
        two_nodes_sell_exactly_what_is_there,
    },
};

/// Longer than any test: whoever waits is woken by an announcement, or never.
const NEVER: Duration = Duration::from_secs(3_600);
/// Far longer than any wake-up takes.
const LOST: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_sell_what_is_there_once() {
    let Some(server) = server().await else { return };
    let test = async {
        let one = server.create().await;
        let other = server.another(&one).await;
        two_nodes_sell_exactly_what_is_there(one, other).await;
    };
    server.clone().clean(test).await;
}

// SECURITY-CASES A1: one credential for many requests, over two nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_copies_of_a_charge_one_is_granted() {
    let Some(server) = server().await else { return };
    let test = async {
        let one = server.create().await;
        let other = server.another(&one).await;
        one_copy_of_a_charge_is_granted(one, other).await;
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_voucher_at_one_node_resumes_a_stream_at_the_other() {
    let Some(server) = server().await else { return };
    let test = async {
        let config = server.fresh().reread_every(NEVER);
        let one = RedisStore::connect(&config).await.unwrap();
        let other = RedisStore::connect(&config).await.unwrap();
        a_stream_resumes_on_another_node(one, other).await;
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_demand_at_one_node_is_met_by_the_other() {
    let Some(server) = server().await else { return };
    let test = async {
        let config = server.fresh();
        let one = RedisStore::connect(&config).await.unwrap();
        let other = RedisStore::connect(&config).await.unwrap();
        any_node_can_have_all_settled(one, other).await;
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_that_nobody_announced_is_found_by_reading_again() {
    let Some(server) = server().await else { return };
    let test = async {
        let store = server.create().await;
        let record = sample::record(1);
        let id = record.id;
        store.commit(sample::first(record)).await.unwrap();
        let waits = timeout(LOST, store.changed(id, Version(1)));
        let (waited, _) = tokio::join!(waits, async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let key = store.core.keys.channel(id);
            server
                .run(&[b"HSET", key.as_bytes(), b"version", b"2"])
                .await
        });
        waited.expect("a wake-up").unwrap();
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_whose_answer_is_lost_happens_once() {
    let Some(server) = server().await else { return };
    let test = async {
        let proxy = Proxy::start(server.socket()).await;
        let mut config = server.fresh().reread_every(NEVER);
        let through = format!("redis://{}", proxy.address());
        config.server = redis::Client::open(through).unwrap();
        let store = RedisStore::connect(&config).await.unwrap();
        lost_answers_are_found_out(&store, &proxy).await;
    };
    server.clone().clean(test).await;
}

// The server forgets scripts when it restarts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forgotten_scripts_and_broken_connections_lose_nothing() {
    const BUYERS: u64 = 6;
    const EACH: u64 = 20;
    let Some(server) = server().await else { return };
    let test = async {
        let proxy = Proxy::start(server.socket()).await;
        let mut config = server.fresh();
        let through = format!("redis://{}", proxy.address());
        config.server = redis::Client::open(through).unwrap();
        let store = RedisStore::connect(&config).await.unwrap();
        let record = sample::record(1);
        let id = record.id;
        store.commit(sample::first(record)).await.unwrap();
        let mut buyers = JoinSet::new();
        for _ in 0..BUYERS {
            let store = store.clone();
            buyers.spawn(async move { buy(&store, id, EACH).await });
        }
        let (mut bought, mut unknown) = (0, 0);
        while !buyers.is_empty() {
            proxy.lose_the_next_answer();
            server.run(&[b"SCRIPT", b"FLUSH"]).await;
            let next = timeout(Duration::from_millis(40), buyers.join_next());
            if let Ok(Some(counts)) = next.await {
                let counts = counts.unwrap();
                bought += counts.0;
                unknown += counts.1;
            }
        }
        assert!(proxy.lost() > 0, "no answer was lost");
        let found = store.load(id).await.unwrap().unwrap();
        assert!(
            unknown < bought,
            "{unknown} of {} are unknown",
            BUYERS * EACH
        );
        let total = found.record.spent.base_units();
        let possible = u128::from(bought)..=u128::from(bought + unknown);
        assert!(possible.contains(&total), "{total} is not in {possible:?}");
        let ledger = store.ledger(sample::whole_ledger(Some(id))).await.unwrap();
        let spent = ledger.iter().map(|line| line.entry.spent.base_units());
        assert!(spent.eq(1..=total), "the ledger is not one line of charges");
    };
    server.clone().clean(test).await;
}

// Reads longer than one part are put together.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn long_pages_are_read_in_parts() {
    let Some(server) = server().await else { return };
    let test = async {
        let store = server.create().await;
        let count = u64::try_from(PART).unwrap() + 3;
        for salt in 0..count {
            store
                .commit(sample::first(sample::record(salt)))
                .await
                .unwrap();
        }
        let mut record = sample::record(0);
        for version in 1..=count {
            let charge = sample::charge(Version(version), &record);
            record = charge.next.clone();
            store.commit(charge).await.unwrap();
        }
        let scan = |limit| {
            store.scan(Scan {
                which: Which::All,
                after: None,
                limit,
            })
        };
        let all = scan(usize::MAX).await.unwrap();
        assert_eq!(u64::try_from(all.len()), Ok(count));
        assert!(all.is_sorted_by_key(|found| found.record.id));
        assert_eq!(scan(PART + 1).await.unwrap(), all[..=PART]);
        for channel in [None, Some(record.id)] {
            let lines = store.ledger(sample::whole_ledger(channel)).await.unwrap();
            assert_eq!(u64::try_from(lines.len()), Ok(count));
            assert!(lines.is_sorted_by_key(|line| line.number));
        }
    };
    server.clone().clean(test).await;
}
