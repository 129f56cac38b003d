//! Looks at the server and brings its tables up to date.

use deadpool_postgres::Object;
use tokio_postgres::Row;

use super::{
    config::PostgresConfig,
    link::{Link, column},
    migrations,
};
use crate::store::{
    Durability, StoreFault,
    shared::{ConnectError, Trouble},
};

const BACKEND: &str = "PostgreSQL";
/// `INSERT .. ON CONFLICT` and identity columns are older; 13 is the oldest
/// version that its makers supported when this was written.
const NEEDED: i32 = 130_000;

/// Brings the tables of `config` up to date. Several nodes may do it at once.
pub(super) async fn migrate(config: &PostgresConfig) -> Result<(), ConnectError> {
    let link = Link::new(config, config.connector()?)?;
    let mut connection = open(&link).await?;
    check_server(&connection).await?;
    let schema = &config.schema;
    let transaction = connection.transaction().await.map_err(failed)?;
    // One node at a time; the others find the work done.
    let lock = format!("SELECT pg_advisory_xact_lock(hashtextextended('mpp schema {schema}', 0))");
    transaction.batch_execute(&lock).await.map_err(failed)?;
    let there = "SELECT to_regnamespace($1) IS NOT NULL";
    let there = transaction
        .query_one(there, &[schema])
        .await
        .map_err(failed)?;
    if !column::<bool>(&there, 0)? {
        let create = format!("CREATE SCHEMA {schema}");
        transaction.batch_execute(&create).await.map_err(failed)?;
    }
    let table = format!(
        "CREATE TABLE IF NOT EXISTS {schema}.migrations (
            number integer PRIMARY KEY,
            applied_at timestamptz NOT NULL DEFAULT now())"
    );
    transaction.batch_execute(&table).await.map_err(failed)?;
    let newest = transaction
        .query_one(&newest(schema), &[])
        .await
        .map_err(failed)?;
    let applied = form(&newest)?;
    for (number, migration) in (1_u32..).zip(migrations::ALL) {
        if number > applied {
            let migration = migration.replace("{schema}", schema);
            transaction
                .batch_execute(&migration)
                .await
                .map_err(failed)?;
            let note = format!("INSERT INTO {schema}.migrations (number) VALUES ({number})");
            transaction.batch_execute(&note).await.map_err(failed)?;
        }
    }
    transaction.commit().await.map_err(failed)
}

/// Checks server and tables, and reads what the server promises to keep.
pub(super) async fn check(
    link: &Link,
    config: &PostgresConfig,
) -> Result<Durability, ConnectError> {
    let connection = open(link).await?;
    check_server(&connection).await?;
    let schema = &config.schema;
    let table = format!("{schema}.migrations");
    let there = "SELECT to_regclass($1) IS NOT NULL";
    let there = connection
        .query_one(there, &[&table])
        .await
        .map_err(failed)?;
    if !column::<bool>(&there, 0)? {
        return Err(ConnectError::NotMigrated);
    }
    let newest = connection
        .query_one(&newest(schema), &[])
        .await
        .map_err(failed)?;
    if form(&newest)? < known() {
        return Err(ConnectError::NotMigrated);
    }
    durability(&connection).await
}

async fn open(link: &Link) -> Result<Object, ConnectError> {
    let connected = link.connection().await;
    connected.map_err(|trouble| ConnectError::unreachable(BACKEND, trouble))
}

async fn check_server(connection: &Object) -> Result<(), ConnectError> {
    let facts = "SELECT current_setting('server_version_num')::integer,
        current_setting('server_version'),
        pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean";
    let facts = connection.query_one(facts, &[]).await.map_err(failed)?;
    if column::<i32>(&facts, 0)? < NEEDED {
        return Err(ConnectError::TooOld {
            backend: BACKEND,
            found: column(&facts, 1)?,
            needed: "13",
        });
    }
    if column(&facts, 2)? {
        return Err(ConnectError::ReadOnly { backend: BACKEND });
    }
    Ok(())
}

async fn durability(connection: &Object) -> Result<Durability, ConnectError> {
    let settings = "SELECT current_setting('synchronous_commit'), current_setting('fsync'),
        current_setting('full_page_writes')";
    let settings = connection.query_one(settings, &[]).await.map_err(failed)?;
    let (commit, fsync, pages): (&str, &str, &str) = (
        column(&settings, 0)?,
        column(&settings, 1)?,
        column(&settings, 2)?,
    );
    let may_lose = promise(commit, fsync, pages);
    let durability = Durability::External {
        backend: String::from(BACKEND),
        may_lose: may_lose.map(String::from),
    };
    if may_lose.is_some() {
        tracing::warn!(synchronous_commit = commit, fsync, "{durability}");
    } else {
        tracing::info!(synchronous_commit = commit, "{durability}");
    }
    Ok(durability)
}

/// What settings of the server risk, in words.
fn promise(commit: &str, fsync: &str, pages: &str) -> Option<&'static str> {
    if fsync == "off" {
        Some("everything when its machine crashes: `fsync` is off")
    } else if pages == "off" {
        Some("everything when its machine crashes: `full_page_writes` is off")
    } else if commit == "off" {
        Some("the last acknowledged commits when it crashes: `synchronous_commit` is off")
    } else {
        None
    }
}

fn newest(schema: &str) -> String {
    format!("SELECT coalesce(max(number), 0) FROM {schema}.migrations")
}

/// The form of the tables that a row tells, unless it is not known here.
fn form(newest: &Row) -> Result<u32, ConnectError> {
    let found = u32::try_from(column::<i32>(newest, 0)?).unwrap_or(u32::MAX);
    if found > known() {
        return Err(ConnectError::NewerForm {
            found,
            known: known(),
        });
    }
    Ok(found)
}

fn known() -> u32 {
    u32::try_from(migrations::ALL.len()).unwrap_or(u32::MAX)
}

fn failed(error: tokio_postgres::Error) -> ConnectError {
    ConnectError::Failed(StoreFault::from(Trouble::from(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_flushes_keeps_everything() {
        for commit in ["on", "local", "remote_write", "remote_apply"] {
            assert_eq!(promise(commit, "on", "on"), None);
        }
        assert!(promise("off", "on", "on").is_some_and(|what| what.contains("last")));
        assert!(promise("on", "off", "on").is_some());
        assert!(promise("on", "on", "off").is_some());
    }
}
