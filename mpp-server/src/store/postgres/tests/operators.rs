//! What operators see: columns, errors, durability, migrations.

use super::*;
use crate::store::{conformance::sample, shared::testing::shown};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_repeat_what_the_record_says() {
    let Some(server) = server().await else { return };
    let test = async {
        let config = server.fresh().await;
        let store = PostgresStore::connect(&config).await.unwrap();
        let mut record = sample::record(1);
        Arc::make_mut(&mut record).deposit = mpp_core::Amount::new(u128::MAX);
        store.commit(sample::first(record.clone())).await.unwrap();
        let charge = sample::charge(Version(1), &record);
        store.commit(charge).await.unwrap();
        let client = server.client().await;
        let sql = format!(
            "SELECT phase, live, deposit::text, accepted::text, spent::text, settled::text,
                payer, extract(epoch FROM opened_at)::bigint, sum(cost)::text
             FROM {0}.channels JOIN {0}.ledger ON channel = id GROUP BY id",
            config.schema
        );
        let row = client.query_one(&sql, &[]).await.unwrap();
        let texts: Vec<String> = [2, 3, 4, 5, 8].map(|at| row.get(at)).to_vec();
        let deposit = u128::MAX.to_string();
        assert_eq!(texts, [deposit.as_str(), "1000", "1", "0", "1"]);
        assert_eq!(row.get::<_, String>(0), "open");
        assert!(row.get::<_, bool>(1));
        assert_eq!(
            row.get::<_, String>(6),
            record.terms.descriptor.payer.to_string()
        );
        assert_eq!(row.get::<_, i64>(7), sample::at(0).as_secs());
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_may_migrate_at_once_and_again() {
    let Some(server) = server().await else { return };
    let test = async {
        let config = server.empty();
        let early = PostgresStore::connect(&config).await.unwrap_err();
        assert!(matches!(early, ConnectError::NotMigrated), "{early:?}");
        let nodes = (0..4).map(|_| PostgresStore::migrate(&config));
        for migrated in futures_util::future::join_all(nodes).await {
            migrated.unwrap();
        }
        PostgresStore::migrate(&config).await.unwrap();
        PostgresStore::connect(&config).await.unwrap();
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_a_later_version_are_refused() {
    let Some(server) = server().await else { return };
    let test = async {
        let config = server.fresh().await;
        let later = format!(
            "INSERT INTO {}.migrations (number) VALUES (99)",
            config.schema
        );
        server.client().await.batch_execute(&later).await.unwrap();
        let opened = PostgresStore::connect(&config).await.map(drop);
        for refused in [opened, PostgresStore::migrate(&config).await] {
            let error = refused.unwrap_err();
            assert!(
                matches!(error, ConnectError::NewerForm { found: 99, .. }),
                "{error:?}"
            );
            assert!(!error.is_transient());
        }
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_acknowledges_early_is_called_so() {
    let Some(mut server) = server().await else {
        return;
    };
    let test = async {
        let config = server.fresh().await;
        let store = PostgresStore::connect(&config).await.unwrap();
        assert!(store.durability().is_bounded(), "{}", store.durability());
    };
    server.clone().clean(test).await;
    server.options = "&options=-c%20synchronous_commit%3Doff";
    let test = async {
        let store = server.create().await;
        let durability = store.durability();
        assert!(!durability.is_bounded());
        assert!(
            durability.to_string().contains("synchronous_commit"),
            "{durability}"
        );
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_server_is_refused() {
    let Some(mut server) = server().await else {
        return;
    };
    server.options = "&options=-c%20default_transaction_read_only%3Don";
    let test = async {
        let error = PostgresStore::connect(&server.empty()).await.unwrap_err();
        assert!(matches!(error, ConnectError::ReadOnly { .. }), "{error:?}");
        assert_eq!(error.to_string(), "PostgreSQL is read-only");
    };
    server.clone().clean(test).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_and_no_secret_shown() {
    // Nothing listens on the first port.
    let address = ConnectionString::new("postgres://root:hunter2@127.0.0.1:1/test");
    let config = PostgresConfig::new(&address).unwrap();
    let error = PostgresStore::connect(&config).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(error.is_transient());
    assert_eq!(error.to_string(), "PostgreSQL can not be reached");
    assert!(!shown(&error).contains("hunter2"), "{}", shown(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_login_needs_a_person_and_shows_no_secret() {
    let Some(server) = server().await else { return };
    let address = format!("postgres://nobody_knows:hunter2@{}/test", server.socket());
    let config = PostgresConfig::new(&ConnectionString::new(address)).unwrap();
    let error = PostgresStore::connect(&config).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(!error.is_transient());
    assert!(!shown(&error).contains("hunter2"), "{}", shown(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_can_be_swept() {
    let Some(server) = server().await else { return };
    let test = async {
        let store = server.create().await;
        let record = sample::record(1);
        store.commit(sample::first(record.clone())).await.unwrap();
        let mut charge = sample::charge(Version(1), &record);
        charge.outcome = Some(sample::outcome(&record, 1, sample::at(60)));
        store.commit(charge).await.unwrap();
        let key = || ClaimKey::Cosign(sample::challenge_id());
        let (value, end) = (B256::repeat_byte(1), sample::at(30));
        store.claim(key(), value, end, sample::at(0)).await.unwrap();
        assert_eq!(store.sweep(sample::at(29), 10).await.unwrap(), 0);
        assert_eq!(store.sweep(sample::at(30), 10).await.unwrap(), 1);
        assert_eq!(store.sweep(sample::at(60), 0).await.unwrap(), 0);
        assert_eq!(store.sweep(sample::at(60), 10).await.unwrap(), 1);
        let outcome = sample::outcome_key(&record, 1);
        assert_eq!(store.outcome(outcome, sample::at(0)).await.unwrap(), None);
    };
    server.clone().clean(test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_is_refused() {
    let Some(server) = server().await else { return };
    let test = async {
        let config = server.fresh().await;
        let store = PostgresStore::connect(&config).await.unwrap();
        let record = sample::record(1);
        store.commit(sample::first(record.clone())).await.unwrap();
        let damage = format!(
            "UPDATE {}.channels SET record = set_byte(record, 9, get_byte(record, 9) # 1)",
            config.schema
        );
        server.client().await.batch_execute(&damage).await.unwrap();
        let fault = store.load(record.id).await.unwrap_err();
        assert!(!fault.is_transient(), "{fault}");
    };
    server.clone().clean(test).await;
}
