//! The conditional write, and what to do when its answer is lost.

use mpp_core::Timestamp;
use mpp_tempo::channel::ChannelId;
use redis::ScriptInvocation;

use super::{Core, keys::member};
use crate::store::{
    Commit, OUTCOMES_PER_CHANNEL, OutcomeKey, StoreFault, StoredOutcome, Write, codec,
    shared::{Attempt, KEPT_STAMPS, Stamp, Stamped, commit_once, signed},
};

/// The server removes what expired so long ago. Its clock and the callers'
/// may differ by less.
const MARGIN_MS: i64 = 60 * 60 * 1_000;

impl Core {
    /// Commits once, whatever happens to the connection.
    pub(super) async fn commit(&self, write: Write) -> Result<Commit, StoreFault> {
        let stamp = self.stamps.next();
        let (id, script) = (write.next.id, self.script(&write, stamp)?);
        let attempt = || async {
            let written: bool = self.link.once(&script).await?;
            Ok(if written {
                Attempt::Written
            } else {
                Attempt::Conflict
            })
        };
        let stamped = || self.stamped(id);
        let commit = {
            let patience = self.link.patience();
            commit_once(patience, write.expected, stamp, attempt, stamped).await?
        };
        if let Commit::Done(version) = commit {
            self.waiters.saw(id, version);
        }
        Ok(commit)
    }

    async fn stamped(&self, id: ChannelId) -> Result<Option<Stamped>, StoreFault> {
        let mut get = redis::pipe();
        get.cmd("HMGET")
            .arg(self.keys.channel(id))
            .arg(&["version", "stamps"]);
        let ((version, stamps),): (super::Fields,) = self.link.ask(&get).await?;
        let version = version
            .map(|version| super::version(&version))
            .transpose()?;
        Ok(version.zip(stamps))
    }

    fn script(&self, write: &Write, stamp: Stamp) -> Result<ScriptInvocation<'_>, StoreFault> {
        let expected = write.expected.map(|version| version.0);
        let (keys, record) = (&self.keys, &write.next);
        let id = record.id;
        let entry = write.entry.as_ref().map(codec::encode_entry).transpose()?;
        let outcome = Outcome::new(write.outcome.as_ref(), record.changed_at)?;
        let mut script = self.scripts.commit.prepare_invoke();
        script
            .key(keys.channel(id))
            .key(keys.all())
            .key(keys.live())
            .key(keys.number())
            .key(keys.ledger())
            .key(keys.ledger_of(id))
            .key(keys.outcome(outcome.key))
            .key(keys.outcomes_of(id));
        script
            .arg(
                expected
                    .map(|version| version.to_string())
                    .unwrap_or_default(),
            )
            .arg(expected.unwrap_or(0).saturating_add(1))
            .arg(codec::encode_record(record)?.as_ref())
            .arg(&stamp.0)
            .arg(member(id))
            .arg(u8::from(record.is_live()))
            .arg(entry.as_deref().unwrap_or_default())
            .arg(outcome.bytes)
            .arg(outcome.number)
            .arg(member(outcome.key.0))
            .arg(outcome.kept_for)
            .arg(outcome.number.saturating_sub_unsigned(OUTCOMES_PER_CHANNEL))
            .arg(keys.outcomes())
            .arg(keys.changed())
            .arg(KEPT_STAMPS.saturating_mul(Stamp::BYTES));
        Ok(script)
    }
}

/// An outcome as the script takes it; without bytes when there is none.
struct Outcome {
    key: OutcomeKey,
    number: i64,
    bytes: Vec<u8>,
    kept_for: i64,
}

impl Outcome {
    fn new(outcome: Option<&StoredOutcome>, now: Timestamp) -> Result<Self, StoreFault> {
        let Some(outcome) = outcome else {
            return Ok(Self {
                key: OutcomeKey(alloy_primitives::B256::ZERO),
                number: 0,
                bytes: Vec::new(),
                kept_for: MARGIN_MS,
            });
        };
        Ok(Self {
            key: outcome.key,
            number: signed(outcome.number)?,
            bytes: codec::encode_outcome(outcome)?.into(),
            kept_for: kept_for(outcome.expires, now),
        })
    }
}

/// How long the server keeps what expires then, in milliseconds.
pub(super) fn kept_for(expires: Timestamp, now: Timestamp) -> i64 {
    let lasts = expires.as_millis().saturating_sub(now.as_millis()).max(0);
    lasts.saturating_add(MARGIN_MS)
}
