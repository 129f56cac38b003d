//! A store on Redis: several servers may serve the same channels.
//!
//! Records, entries and outcomes are kept in their [stored
//! form](super::codec). Every commit is one script, which Redis runs alone.

mod commit;
mod config;
mod documents;
mod fault;
mod keys;
mod link;
mod listen;
mod server;

use std::{fmt, sync::Arc};

use alloy_primitives::B256;
use mpp_core::Timestamp;
use mpp_tempo::channel::ChannelId;
use tokio_util::sync::DropGuard;

pub use self::config::RedisConfig;
use self::{
    keys::{Keys, member},
    link::{Link, Scripts},
};
use super::{
    ChannelStore, Claim, ClaimKey, Commit, Document, DocumentKey, DocumentPage, DocumentWrite,
    Durability, LedgerPage, Numbered, OutcomeKey, Scan, StoreFault, StoredOutcome, Version,
    Versioned, Which, Write, Written, codec,
    shared::{ConnectError, Stamps, Waiters, ensure_provider, keep_listening, keep_reading},
};
use crate::tasks::Tasks;

/// Redis does nothing else while it reads a page: longer ones are read in
/// parts.
const PART: usize = 256;

/// Two fields of a channel.
type Fields = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Keeps channels in Redis 6.2 or later, or in Valkey.
///
/// Cheap to clone; clones share one connection. Everything, the ledger too,
/// stays in the server's memory. Nothing that was acknowledged is lost only
/// with `appendonly yes` and `appendfsync always`; otherwise
/// [`durability`](ChannelStore::durability) says what is at risk. A failover
/// loses what the replica had not received yet.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mpp_server::store::{ConnectionString, RedisConfig, RedisStore};
///
/// let config = RedisConfig::new(&ConnectionString::from_env("REDIS_URL")?)?;
/// let store = RedisStore::connect(&config).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore {
    core: Arc<Core>,
    /// Listening ends with the last clone.
    _listening: Arc<DropGuard>,
}

/// What the store shares with the tasks that listen for it.
#[derive(Debug)]
struct Core {
    link: Link,
    keys: Keys,
    scripts: Scripts,
    stamps: Stamps,
    waiters: Waiters,
    durability: Durability,
}

impl RedisStore {
    /// Connects to a server and claims its prefix.
    ///
    /// # Errors
    /// [`ConnectError`] when the server can not be used, or the prefix is
    /// another program's or of a newer form.
    ///
    /// # Cancel safety
    /// Dropped, the prefix may be claimed.
    pub async fn connect(config: &RedisConfig) -> Result<Self, ConnectError> {
        if config.is_encrypted() {
            ensure_provider();
        }
        let link = Link::new(config);
        let durability = server::check(&link, config).await?;
        let core = Arc::new(Core {
            link,
            keys: Keys::new(&config.prefix),
            scripts: Scripts::new(),
            stamps: Stamps::new(),
            waiters: Waiters::default(),
            durability,
        });
        let tasks = Tasks::default();
        let (listener, server) = (Arc::clone(&core), config.server.clone());
        tasks.start(async move { keep_listening(|| listen::converse(&listener, &server)).await });
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
        let mut get = redis::pipe();
        get.cmd("HGET").arg(self.keys.channel(id)).arg("version");
        let (found,): (Option<Vec<u8>>,) = self.link.ask(&get).await?;
        found.map(|found| version(&found)).transpose()
    }

    /// Reads the versions of all channels that somebody waits for.
    async fn reread(&self) -> Result<(), StoreFault> {
        let awaited = self.waiters.awaited();
        if awaited.is_empty() {
            return Ok(());
        }
        let mut get = redis::pipe();
        for id in &awaited {
            get.cmd("HGET").arg(self.keys.channel(*id)).arg("version");
        }
        let found: Vec<Option<Vec<u8>>> = self.link.ask(&get).await?;
        for (id, found) in awaited.into_iter().zip(found) {
            if let Some(found) = found {
                self.waiters.read(id, version(&found)?);
            }
        }
        Ok(())
    }

    async fn claim(
        &self,
        key: &ClaimKey,
        value: B256,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Claim, StoreFault> {
        let stamp = self.stamps.next();
        let mut script = self.scripts.claim.key(self.keys.claim(key));
        script
            .arg(value.as_slice())
            .arg(&stamp.0)
            .arg(expires.as_millis())
            .arg(now.as_millis())
            .arg(commit::kept_for(expires, now));
        // Repeating is safe: the stamp shows whether an attempt made it.
        let there: Vec<u8> = self.link.again(&script).await?;
        let Some((existing, rest)) = there.split_first_chunk::<32>() else {
            return Err(StoreFault::lasting("a claim in Redis is damaged", None));
        };
        if rest.starts_with(&stamp.0) {
            Ok(Claim::New)
        } else {
            Ok(Claim::Existing(B256::new(*existing)))
        }
    }

    async fn scan_part(
        &self,
        index: &str,
        after: Option<ChannelId>,
        limit: usize,
    ) -> Result<Vec<Versioned>, StoreFault> {
        let from = after.map_or_else(|| String::from("-"), |id| format!("({}", member(id)));
        let mut script = self.scripts.scan.key(index);
        script
            .arg(from)
            .arg(limit)
            .arg(self.keys.channels())
            .arg("record");
        let part: Vec<Vec<u8>> = self.link.again(&script).await?;
        let (channels, _) = part.as_chunks::<3>();
        let read = |[id, number, record]: &[Vec<u8>; 3]| {
            let id: ChannelId = hash(id)?;
            Ok(Versioned {
                version: version(number)?,
                record: Arc::new(codec::decode_record(id, record)?),
            })
        };
        channels.iter().map(read).collect()
    }

    async fn ledger_part(
        &self,
        channel: Option<ChannelId>,
        first: u64,
        limit: usize,
    ) -> Result<Vec<Numbered>, StoreFault> {
        let all = self.keys.ledger();
        let of = channel.map_or_else(|| all.clone(), |id| self.keys.ledger_of(id));
        let mut script = self.scripts.ledger.prepare_invoke();
        script.key(all).key(of).arg(first).arg(limit);
        let part: Vec<Vec<u8>> = self.link.again(&script).await?;
        let (lines, _) = part.as_chunks::<2>();
        let read = |[id, entry]: &[Vec<u8>; 2]| {
            let number = id.strip_suffix(b"-0").unwrap_or_default();
            Ok(Numbered {
                number: version(number)?.0,
                entry: codec::decode_entry(entry)?,
            })
        };
        lines.iter().map(read).collect()
    }
}

/// A hash as members of sets are written.
fn hash(member: &[u8]) -> Result<B256, StoreFault> {
    let text = std::str::from_utf8(member).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| StoreFault::lasting("a hash in Redis is damaged", None))
}

impl ChannelStore for RedisStore {
    async fn load(&self, id: ChannelId) -> Result<Option<Versioned>, StoreFault> {
        let core = &self.core;
        let mut get = redis::pipe();
        get.cmd("HMGET")
            .arg(core.keys.channel(id))
            .arg(&["version", "record"]);
        let ((number, record),): (Fields,) = core.link.ask(&get).await?;
        let (Some(number), Some(record)) = (number, record) else {
            return Ok(None);
        };
        Ok(Some(Versioned {
            version: version(&number)?,
            record: Arc::new(codec::decode_record(id, &record)?),
        }))
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
        let mut get = redis::pipe();
        get.cmd("GET").arg(core.keys.outcome(key));
        let (found,): (Option<Vec<u8>>,) = core.link.ask(&get).await?;
        let Some(found) = found else {
            return Ok(None);
        };
        let outcome = codec::decode_outcome(key, &found)?;
        Ok((outcome.expires > now).then_some(outcome))
    }

    async fn oldest_outcome(&self, id: ChannelId) -> Result<Option<StoredOutcome>, StoreFault> {
        let core = &self.core;
        let mut script = core.scripts.oldest.key(core.keys.outcomes_of(id));
        script.arg(core.keys.outcomes());
        let found: Vec<Vec<u8>> = core.link.again(&script).await?;
        let [key, outcome] = found.as_slice() else {
            return Ok(None);
        };
        let key = OutcomeKey(hash(key)?);
        Ok(Some(codec::decode_outcome(key, outcome)?))
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
        let index = match scan.which {
            Which::All => core.keys.all(),
            Which::Live => core.keys.live(),
        };
        let (mut page, mut after) = (Vec::new(), scan.after);
        loop {
            let wanted = scan.limit.saturating_sub(page.len()).min(PART);
            if wanted == 0 {
                return Ok(page);
            }
            let part = core.scan_part(&index, after, wanted).await?;
            let ended = part.len() < wanted;
            after = part.last().map(|last| last.record.id);
            page.extend(part);
            if ended {
                return Ok(page);
            }
        }
    }

    async fn ledger(&self, page: LedgerPage) -> Result<Vec<Numbered>, StoreFault> {
        let (mut lines, mut after) = (Vec::new(), page.after);
        loop {
            let wanted = page.limit.saturating_sub(lines.len()).min(PART);
            let Some(first) = after.checked_add(1).filter(|_| wanted > 0) else {
                return Ok(lines);
            };
            let part = self.core.ledger_part(page.channel, first, wanted).await?;
            let ended = part.len() < wanted;
            after = part.last().map_or(after, |last| last.number);
            lines.extend(part);
            if ended {
                return Ok(lines);
            }
        }
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

    /// Redis removes what has ended by itself, an hour later.
    async fn sweep(&self, _now: Timestamp, _limit: usize) -> Result<usize, StoreFault> {
        Ok(0)
    }

    fn durability(&self) -> Durability {
        self.core.durability.clone()
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("durability", &self.core.durability)
            .finish_non_exhaustive()
    }
}

/// A number that Redis keeps as text.
fn version(text: &[u8]) -> Result<Version, StoreFault> {
    let number = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok());
    number
        .map(Version)
        .ok_or_else(|| StoreFault::lasting("a number in Redis is damaged", None))
}

#[cfg(test)]
mod tests;
