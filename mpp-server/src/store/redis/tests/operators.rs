//! What operators see: errors, durability, foreign keys.

use super::*;
use crate::store::{conformance::sample, shared::testing::shown};

#[tokio::test]
async fn a_server_that_is_not_there_is_named_and_no_secret_shown() {
    // Nothing listens on the first port.
    let address = ConnectionString::new("redis://root:hunter2@127.0.0.1:1/0");
    let config = RedisConfig::new(&address).unwrap();
    let error = RedisStore::connect(&config).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.is_transient());
    assert_eq!(error.to_string(), "Redis can not be reached");
    assert!(!shown(&error).contains("hunter2"), "{}", shown(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_of_another_program_or_a_later_version_is_refused() {
    let Some(server) = server().await else { return };
    let test = async {
        for (value, later) in [("99", true), ("something", false)] {
            let config = server.fresh();
            let key = Keys::new(&config.prefix).form();
            server
                .run(&[b"SET", key.as_bytes(), value.as_bytes()])
                .await;
            let error = RedisStore::connect(&config).await.unwrap_err();
            assert!(!error.is_transient());
            match error {
                ConnectError::NewerForm { found: 99, .. } => assert!(later),
                ConnectError::ForeignKeys => assert!(!later),
                other => panic!("{other:?}"),
            }
        }
        let config = server.fresh();
        let key = Keys::new(&config.prefix).form();
        server.run(&[b"RPUSH", key.as_bytes(), b"1"]).await;
        let error = RedisStore::connect(&config).await.unwrap_err();
        assert!(matches!(error, ConnectError::ForeignKeys), "{error:?}");
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_is_a_lasting_fault_and_nothing_is_written() {
    let Some(server) = server().await else { return };
    let test = async {
        let store = server.create().await;
        let record = sample::record(1);
        let key = store.core.keys.channel(record.id);
        server.run(&[b"SET", key.as_bytes(), b"foreign"]).await;
        let mut first = sample::charge(Version(0), &record);
        first.expected = None;
        for fault in [
            store.load(record.id).await.unwrap_err(),
            store.commit(first).await.unwrap_err(),
        ] {
            assert!(!fault.is_transient(), "{fault}");
        }
        let ledger = store.ledger(sample::whole_ledger(None)).await.unwrap();
        assert!(ledger.is_empty(), "a refused commit wrote to the ledger");
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_is_refused() {
    let Some(server) = server().await else { return };
    let test = async {
        let store = server.create().await;
        let record = sample::record(1);
        store.commit(sample::first(record.clone())).await.unwrap();
        let key = store.core.keys.channel(record.id);
        server
            .run(&[b"HSET", key.as_bytes(), b"record", b"damaged"])
            .await;
        let fault = store.load(record.id).await.unwrap_err();
        assert!(!fault.is_transient(), "{fault}");
    };
    server.clone().clean(test).await;
}
