//! Several nodes, and what readers see.

use tokio::time::timeout;

use super::*;
use crate::store::{
    conformance::sample,
    shared::testing::{
        a_stream_resumes_on_another_node, any_node_can_have_all_settled,
        one_copy_of_a_charge_is_granted, two_nodes_sell_exactly_what_is_there,
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
        let config = server.fresh().await.reread_every(NEVER);
        let one = PostgresStore::connect(&config).await.unwrap();
        let other = PostgresStore::connect(&config).await.unwrap();
        a_stream_resumes_on_another_node(one, other).await;
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_demand_at_one_node_is_met_by_the_other() {
    let Some(server) = server().await else { return };
    let test = async {
        let config = server.fresh().await;
        let one = PostgresStore::connect(&config).await.unwrap();
        let other = PostgresStore::connect(&config).await.unwrap();
        any_node_can_have_all_settled(one, other).await;
    };
    server.clone().clean(test).await;
}

// The connection that listens is lost, and with it what was told meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_that_nobody_announced_is_found_after_reconnecting() {
    let Some(server) = server().await else { return };
    let test = async {
        let config = server.fresh().await.reread_every(NEVER);
        let store = PostgresStore::connect(&config).await.unwrap();
        let record = sample::record(1);
        let id = record.id;
        store.commit(sample::first(record)).await.unwrap();
        let mut waits = std::pin::pin!(store.changed(id, Version(1)));
        // Long enough for its first look, which must not see the quiet change.
        let early = timeout(Duration::from_secs(1), &mut waits).await;
        assert!(early.is_err(), "woken without a change");
        let quiet = format!("UPDATE {}.channels SET version = 2", config.schema);
        server.client().await.batch_execute(&quiet).await.unwrap();
        let early = timeout(Duration::from_millis(100), &mut waits).await;
        assert!(early.is_err(), "woken without an announcement");
        assert!(server.terminate(&config.schema).await > 0);
        timeout(LOST, waits).await.expect("a wake-up").unwrap();
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_that_nobody_announced_is_found_by_reading_again() {
    let Some(server) = server().await else { return };
    let test = async {
        let config = server.fresh().await;
        let store = PostgresStore::connect(&config).await.unwrap();
        let record = sample::record(1);
        let id = record.id;
        store.commit(sample::first(record)).await.unwrap();
        let quiet = format!("UPDATE {}.channels SET version = 2", config.schema);
        let client = server.client().await;
        let waits = timeout(LOST, store.changed(id, Version(1)));
        let (waited, _) = tokio::join!(waits, async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            client.batch_execute(&quiet).await.unwrap();
        });
        waited.expect("a wake-up").unwrap();
    };
    server.clone().clean(test).await;
}

// Numbers are given before the commit: a reader must not pass one that is
// still under way, since it would never come back to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_of_the_whole_ledger_skips_no_entry_under_way() {
    let Some(server) = server().await else { return };
    let test = async {
        let config = server.fresh().await;
        let store = PostgresStore::connect(&config).await.unwrap();
        let (slow, quick) = (sample::record(1), sample::record(2));
        for record in [&slow, &quick] {
            store.commit(sample::first(record.clone())).await.unwrap();
        }
        // Somebody holds the row, so that the commit waits behind its gate.
        let mut client = server.client().await;
        let holder = client.transaction().await.unwrap();
        let lock = format!(
            "SELECT 1 FROM {}.channels WHERE id = $1 FOR UPDATE",
            config.schema
        );
        holder
            .query_one(&lock, &[&slow.id.as_slice()])
            .await
            .unwrap();
        let other = store.clone();
        let charge = sample::charge(Version(1), &slow);
        let mut slow_commit = std::pin::pin!(other.commit(charge));
        // Long enough to get to the row.
        let early = timeout(Duration::from_secs(1), &mut slow_commit).await;
        assert!(early.is_err(), "the commit did not wait for the row");
        store
            .commit(sample::charge(Version(1), &quick))
            .await
            .unwrap();
        let mut reads = std::pin::pin!(store.ledger(sample::whole_ledger(None)));
        let early = timeout(Duration::from_millis(300), &mut reads).await;
        assert!(early.is_err(), "read past a commit that is under way");
        holder.rollback().await.unwrap();
        let (committed, ledger) = tokio::join!(slow_commit, reads);
        assert_eq!(committed.unwrap(), Commit::Done(Version(2)));
        assert_eq!(ledger.unwrap().len(), 2);
    };
    server.clone().clean(test).await;
}
