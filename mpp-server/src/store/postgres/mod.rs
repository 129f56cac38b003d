//! A store on PostgreSQL: several servers may serve the same channels.
//!
//! `record`, `entry` and `outcome` hold the [stored form](super::codec) and are
//! the only thing that is read back; the other columns are for queries and
//! reports. Every commit is one statement.

mod commit;
mod config;
mod documents;
mod fault;
mod link;
mod listen;
mod migrations;
mod options;
mod schema;
mod sql;

use std::{fmt, sync::Arc};

use alloy_primitives::B256;
use mpp_core::Timestamp;
use mpp_tempo::channel::ChannelId;
use tokio_postgres::{Row, SimpleQueryMessage};
use tokio_util::sync::DropGuard;

pub use self::config::PostgresConfig;
use self::{
    link::{Link, column, unsigned},
    listen::Outbox,
    sql::Sql,
};
use super::{
    ChannelStore, Claim, ClaimKey, Commit, Document, DocumentKey, DocumentPage, DocumentWrite,
    Durability, LedgerPage, Numbered, OutcomeKey, Scan, StoreFault, StoredOutcome, Version,
    Versioned, Which, Write, Written, codec,
    shared::{
        ConnectError, Fate, Stamps, Trouble, Waiters, claim_name, keep_listening, keep_reading,
        persist,
    },
};
use crate::tasks::Tasks;

/// Keeps channels in PostgreSQL 13 or later.
///
/// Cheap to clone; clones share their connections. With
/// `synchronous_commit = off` a crash of the server loses acknowledged commits,
/// and [`durability`](ChannelStore::durability) says so. A failover keeps
/// everything only with synchronous replication.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mpp_server::store::{ConnectionString, PostgresConfig, PostgresStore};
///
/// let config = PostgresConfig::new(&ConnectionString::from_env("DATABASE_URL")?)?;
/// PostgresStore::migrate(&config).await?;
/// let store = PostgresStore::connect(&config).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    core: Arc<Core>,
    /// Listening ends with the last clone.
    _listening: Arc<DropGuard>,
}

/// What the store shares with the tasks that listen for it.
#[derive(Debug)]
struct Core {
    link: Link,
    sql: Sql,
    stamps: Stamps,
    waiters: Waiters,
    outbox: Outbox,
    durability: Durability,
}

impl PostgresStore {
    /// Brings schema and tables up to date. Nodes may do this at once.
    ///
    /// # Errors
    /// [`ConnectError`] when the server can not be used, or its tables have a
    /// newer form.
    ///
    /// # Cancel safety
    /// Dropped, the tables are up to date or as they were.
    pub async fn migrate(config: &PostgresConfig) -> Result<(), ConnectError> {
        schema::migrate(config).await
    }

    /// Connects to a server whose tables are up to date.
    ///
    /// # Errors
    /// [`ConnectError`] when the server can not be used, or its tables are
    /// not there or of another form.
    ///
    /// # Cancel safety
    /// Dropped, nothing was written.
    pub async fn connect(config: &PostgresConfig) -> Result<Self, ConnectError> {
        let tls = config.connector()?;
        let link = Link::new(config, tls.clone())?;
        let durability = schema::check(&link, config).await?;
        let core = Arc::new(Core {
            link,
            sql: Sql::new(&config.schema),
            stamps: Stamps::new(),
            waiters: Waiters::default(),
            outbox: Outbox::default(),
            durability,
        });
        let tasks = Tasks::default();
        let (listener, settings) = (Arc::clone(&core), config.clone());
        tasks.start(async move {
            keep_listening(|| listen::converse(&listener, &settings, tls.clone())).await;
        });
        let (reader, every) = (Arc::clone(&core), config.reread_every);
        tasks.start(async move { keep_reading(every, || reader.reread()).await });
        Ok(Self {
            core,
            _listening: Arc::new(tasks.stop_on_drop()),
        })
    }
}

impl Core {
    async fn version(&self, id: ChannelId) -> Result<Option<Version>, StoreFault> {
        let ids: &[&[u8]] = &[id.as_slice()];
        let rows = self.link.again(&self.sql.versions, &[&ids]).await?;
        let version = rows.first().map(|row| column(row, 1)).transpose()?;
        Ok(version.map(unsigned).transpose()?.map(Version))
    }

    /// Reads the versions of all channels that somebody waits for.
    async fn reread(&self) -> Result<(), StoreFault> {
        let awaited = self.waiters.awaited();
        if awaited.is_empty() {
            return Ok(());
        }
        let ids: Vec<&[u8]> = awaited.iter().map(|id| id.as_slice()).collect();
        for row in self.link.again(&self.sql.versions, &[&ids]).await? {
            let version = Version(unsigned(column(&row, 1)?)?);
            self.waiters.read(channel_id(&row, 0)?, version);
        }
        Ok(())
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreFault> {
        let mut removed = 0_usize;
        for sql in [&self.sql.sweep_claims, &self.sql.sweep_outcomes] {
            let left = self::limit(limit.saturating_sub(removed));
            let rows = self.link.again(sql, &[&now.as_millis(), &left]).await?;
            let rows = rows.first().map(|row| column::<i64>(row, 0)).transpose()?;
            let rows = usize::try_from(rows.unwrap_or(0)).unwrap_or_default();
            removed = removed.saturating_add(rows);
        }
        Ok(removed)
    }

    async fn claim(
        &self,
        key: &ClaimKey,
        value: B256,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Claim, StoreFault> {
        let (key, stamp) = (claim_name(key), self.stamps.next());
        let (expires, now) = (expires.as_millis(), now.as_millis());
        let (value, stamp) = (value.as_slice(), stamp.0.as_slice());
        let with: link::Parameters<'_> = &[&key, &value, &stamp, &expires, &now];
        persist(self.link.patience(), || async {
            loop {
                if !self.link.once(&self.sql.claim, with).await?.is_empty() {
                    return Ok(Claim::New);
                }
                let there = self.link.once(&self.sql.claimed, &[&key, &now]).await?;
                // Without one it was swept in between.
                if let Some(row) = there.first() {
                    let existing = hash(row, 0)?;
                    // An attempt of ours whose answer was lost.
                    let ours = column::<&[u8]>(row, 1)? == stamp;
                    return Ok(if ours {
                        Claim::New
                    } else {
                        Claim::Existing(existing)
                    });
                }
            }
        })
        .await
    }

    /// Up to which number the ledger is complete: no commit under way has a
    /// smaller one.
    async fn ledger_end(&self) -> Result<i64, Trouble> {
        let patience = self.link.patience();
        let end = tokio::time::timeout(patience, self.ledger_end_once());
        end.await.map_err(|_| Trouble::timeout())?
    }

    /// All in one message, so that the server ends the transaction whatever
    /// becomes of this process: all commits wait at the gate.
    async fn ledger_end_once(&self) -> Result<i64, Trouble> {
        let connection = self.link.connection().await?;
        let answers = connection.simple_query(&self.sql.ledger_end).await?;
        let end = answers.iter().rev().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let end = end.and_then(|end| end.parse().ok());
        end.ok_or_else(|| {
            let fault = StoreFault::lasting("PostgreSQL does not say where the ledger ends", None);
            Trouble::new(Fate::Refused, fault)
        })
    }
}

impl ChannelStore for PostgresStore {
    async fn load(&self, id: ChannelId) -> Result<Option<Versioned>, StoreFault> {
        let core = &self.core;
        let rows = core.link.again(&core.sql.load, &[&id.as_slice()]).await?;
        rows.first().map(|row| versioned(id, row, 0)).transpose()
    }

    async fn commit(&self, write: Write) -> Result<Commit, StoreFault> {
        self.core.commit(write).await
    }

    async fn claim(
        &self,
        key: ClaimKey,
        value: B256,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Claim, StoreFault> {
        self.core.claim(&key, value, expires, now).await
    }

    async fn outcome(
        &self,
        key: OutcomeKey,
        now: Timestamp,
    ) -> Result<Option<StoredOutcome>, StoreFault> {
        let core = &self.core;
        let with: link::Parameters<'_> = &[&key.0.as_slice(), &now.as_millis()];
        let rows = core.link.again(&core.sql.outcome, with).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(codec::decode_outcome(key, column(row, 0)?)?))
    }

    async fn oldest_outcome(&self, id: ChannelId) -> Result<Option<StoredOutcome>, StoreFault> {
        let core = &self.core;
        let sql = &core.sql.oldest_outcome;
        let rows = core.link.again(sql, &[&id.as_slice()]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let key = OutcomeKey(hash(row, 0)?);
        Ok(Some(codec::decode_outcome(key, column(row, 1)?)?))
    }

    async fn changed(&self, id: ChannelId, since: Version) -> Result<(), StoreFault> {
        // Joined first, so that no change falls between reading and waiting.
        let mut waiter = self.core.waiters.join(id);
        match self.core.version(id).await? {
            Some(version) if version <= since => waiter.newer_than(since).await,
            _ => Ok(()),
        }
    }

    async fn scan(&self, scan: Scan) -> Result<Vec<Versioned>, StoreFault> {
        let core = &self.core;
        let sql = match scan.which {
            Which::All => &core.sql.scan_all,
            Which::Live => &core.sql.scan_live,
        };
        // Every id is greater than no bytes at all.
        let after = scan.after.as_ref().map_or(&[][..], |id| id.as_slice());
        let rows = core.link.again(sql, &[&after, &limit(scan.limit)]).await?;
        rows.iter()
            .map(|row| versioned(channel_id(row, 0)?, row, 1))
            .collect()
    }

    async fn ledger(&self, page: LedgerPage) -> Result<Vec<Numbered>, StoreFault> {
        let core = &self.core;
        let Ok(after) = i64::try_from(page.after) else {
            return Ok(Vec::new());
        };
        let limit = limit(page.limit);
        let rows = match page.channel {
            Some(id) => {
                let with: link::Parameters<'_> = &[&id.as_slice(), &after, &limit];
                core.link.again(&core.sql.ledger_of_one, with).await?
            }
            None => {
                let end = persist(core.link.patience(), || core.ledger_end()).await?;
                let with: link::Parameters<'_> = &[&after, &end, &limit];
                core.link.again(&core.sql.ledger_of_all, with).await?
            }
        };
        rows.iter().map(numbered).collect()
    }

    async fn document(&self, key: DocumentKey) -> Result<Option<Document>, StoreFault> {
        self.core.document(key).await
    }

    async fn write_documents(&self, writes: Vec<DocumentWrite>) -> Result<Written, StoreFault> {
        self.core.write_documents(writes).await
    }

    async fn documents(&self, page: DocumentPage) -> Result<Vec<(B256, Document)>, StoreFault> {
        self.core.documents(page).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreFault> {
        self.core.sweep(now, limit).await
    }

    fn durability(&self) -> Durability {
        self.core.durability.clone()
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("durability", &self.core.durability)
            .finish_non_exhaustive()
    }
}

/// Version and record of a row, from this column on.
fn versioned(id: ChannelId, row: &Row, at: usize) -> Result<Versioned, StoreFault> {
    Ok(Versioned {
        version: Version(unsigned(column(row, at)?)?),
        record: Arc::new(codec::decode_record(
            id,
            column(row, at.saturating_add(1))?,
        )?),
    })
}

fn numbered(row: &Row) -> Result<Numbered, StoreFault> {
    Ok(Numbered {
        number: unsigned(column(row, 0)?)?,
        entry: codec::decode_entry(column(row, 1)?)?,
    })
}

fn channel_id(row: &Row, at: usize) -> Result<ChannelId, StoreFault> {
    hash(row, at)
}

fn hash(row: &Row, at: usize) -> Result<B256, StoreFault> {
    B256::try_from(column::<&[u8]>(row, at)?)
        .map_err(|_| StoreFault::lasting("the channel store holds a hash of another length", None))
}

fn limit(entries: usize) -> i64 {
    i64::try_from(entries).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
