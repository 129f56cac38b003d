//! The conditional write, and what to do when its answer is lost.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mpp_core::{Amount, Timestamp};
use mpp_tempo::channel::ChannelId;

use super::{
    Core,
    link::{Parameters, column, unsigned},
};
use crate::{
    session::record::LedgerKind,
    store::{
        Commit, StoreFault, StoredOutcome, Version, Write, codec,
        shared::{Attempt, Stamp, Stamped, Trouble, commit_once, signed},
    },
};

impl Core {
    /// Commits once, whatever happens to the connection.
    pub(super) async fn commit(&self, write: Write) -> Result<Commit, StoreFault> {
        let stamp = self.stamps.next();
        let (id, row) = (write.next.id, Row::new(&write, stamp)?);
        let attempt = || async {
            let written = row.send(self).await?;
            Ok(if written.is_empty() {
                Attempt::Conflict
            } else {
                Attempt::Written
            })
        };
        let stamped = || self.stamped(id);
        let commit = {
            let patience = self.link.patience();
            commit_once(patience, write.expected, stamp, attempt, stamped).await?
        };
        if let Commit::Done(version) = commit {
            self.waiters.saw(id, version);
            self.outbox.put(id, version);
        }
        Ok(commit)
    }

    async fn stamped(&self, id: ChannelId) -> Result<Option<Stamped>, StoreFault> {
        let rows = self.link.again(&self.sql.stamps, &[&id.as_slice()]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some((Version(unsigned(column(row, 0)?)?), column(row, 1)?)))
    }
}

/// A write as the statements take it.
struct Row {
    expected: Option<i64>,
    id: Vec<u8>,
    record: Bytes,
    stamp: Stamp,
    live: bool,
    phase: &'static str,
    deposit: String,
    accepted: String,
    spent: String,
    settled: String,
    units: String,
    changed_at: SystemTime,
    entry: Entry,
    outcome: Outcome,
    payer: String,
    payee: String,
    token: String,
    opened_at: SystemTime,
}

#[derive(Default)]
struct Entry {
    bytes: Option<Vec<u8>>,
    kind: Option<&'static str>,
    cost: Option<String>,
    units: Option<String>,
    at: Option<SystemTime>,
}

#[derive(Default)]
struct Outcome {
    key: Option<Vec<u8>>,
    number: Option<i64>,
    bytes: Option<Vec<u8>>,
    expires: Option<i64>,
}

impl Row {
    fn new(write: &Write, stamp: Stamp) -> Result<Self, StoreFault> {
        let next = &write.next;
        let parties = &next.terms.descriptor;
        let outcome = write.outcome.as_ref();
        Ok(Self {
            expected: write
                .expected
                .map(|version| signed(version.0))
                .transpose()?,
            id: next.id.to_vec(),
            record: codec::encode_record(next)?,
            stamp,
            live: next.is_live(),
            phase: next.phase.name(),
            deposit: text(next.deposit),
            accepted: text(next.accepted()),
            spent: text(next.spent),
            settled: text(next.settled),
            units: next.units.to_string(),
            changed_at: time(next.changed_at),
            entry: Entry::new(write)?,
            outcome: outcome.map(Outcome::new).transpose()?.unwrap_or_default(),
            payer: parties.payer.to_string(),
            payee: parties.payee.to_string(),
            token: parties.token.to_string(),
            opened_at: time(next.opened_at),
        })
    }

    async fn send(&self, core: &Core) -> Result<Vec<tokio_postgres::Row>, Trouble> {
        let (record, stamp) = (self.record.as_ref(), self.stamp.0.as_slice());
        let (entry, outcome) = (&self.entry, &self.outcome);
        let both: Parameters<'_> = &[
            &self.id,
            &record,
            &stamp,
            &self.live,
            &self.phase,
            &self.deposit,
            &self.accepted,
            &self.spent,
            &self.settled,
            &self.units,
            &self.changed_at,
            &entry.bytes,
            &entry.kind,
            &entry.cost,
            &entry.units,
            &entry.at,
            &outcome.key,
            &outcome.number,
            &outcome.bytes,
            &outcome.expires,
        ];
        let (sql, last): (_, Parameters<'_>) = match &self.expected {
            Some(expected) => (&core.sql.replace, &[expected]),
            None => (
                &core.sql.create,
                &[&self.payer, &self.payee, &self.token, &self.opened_at],
            ),
        };
        core.link.once(sql, &[both, last].concat()).await
    }
}

impl Entry {
    fn new(write: &Write) -> Result<Self, StoreFault> {
        let Some(entry) = &write.entry else {
            return Ok(Self::default());
        };
        Ok(Self {
            bytes: Some(codec::encode_entry(entry)?.into()),
            kind: Some(kind(entry.kind)),
            cost: Some(text(entry.cost)),
            units: Some(entry.units.to_string()),
            at: Some(time(entry.at)),
        })
    }
}

impl Outcome {
    fn new(outcome: &StoredOutcome) -> Result<Self, StoreFault> {
        Ok(Self {
            key: Some(outcome.key.0.to_vec()),
            number: Some(signed(outcome.number)?),
            bytes: Some(codec::encode_outcome(outcome)?.into()),
            expires: Some(outcome.expires.as_millis()),
        })
    }
}

fn text(amount: Amount) -> String {
    amount.base_units().to_string()
}

fn kind(kind: LedgerKind) -> &'static str {
    match kind {
        LedgerKind::Opened => "opened",
        LedgerKind::Accepted => "accepted",
        LedgerKind::Charged => "charged",
        LedgerKind::Observed => "observed",
        LedgerKind::Closed => "closed",
        LedgerKind::Credited => "credited",
    }
}

/// For reports only: what the server compares is kept in milliseconds.
fn time(at: Timestamp) -> SystemTime {
    let distance = Duration::from_millis(at.as_millis().unsigned_abs());
    let time = if at.as_millis() < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}
