//! The ledger as text, for accounting and for other programs.
//!
//! Amounts are decimal digits in base units, never numbers that a reader may
//! round; times are RFC 3339.

use std::io::{self, Write};

use alloy_primitives::B256;
use mpp_core::{Amount, ChallengeId, Timestamp};
use mpp_tempo::channel::ChannelId;
use serde::Serialize;

use super::{ChannelStore, LedgerPage, Numbered, StoreFault};
use crate::session::record::LedgerKind;

/// Entries that are read at once.
const PAGE: usize = 1_000;
/// The columns, in the order of the members of [`Line`].
const COLUMNS: &str =
    "number,at,channelId,kind,challengeId,idempotency,cost,units,accepted,spent,deposit";

/// The form of an exported ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// Comma-separated values with a heading (RFC 4180).
    Csv,
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ledger can not be read.
    #[error("the ledger can not be read")]
    Store(#[from] StoreFault),
    /// The text can not be written.
    #[error("the export can not be written")]
    Write(#[from] io::Error),
}

/// Writes the whole ledger, or that of one channel, and returns the number of
/// its entries. Holds one page at a time.
///
/// Entries that are committed meanwhile may be part of it or not.
///
/// # Errors
/// When the store can not be read or `out` not be written.
///
/// # Cancel safety
/// Dropped, `out` holds the beginning.
pub async fn export(
    store: &impl ChannelStore,
    channel: Option<ChannelId>,
    format: Format,
    mut out: impl Write,
) -> Result<u64, ExportError> {
    format.begin(&mut out)?;
    let (mut after, mut count) = (0, 0_u64);
    loop {
        let page = LedgerPage {
            channel,
            after,
            limit: PAGE,
        };
        let lines = store.ledger(page).await?;
        let Some(last) = lines.last() else {
            out.flush()?;
            return Ok(count);
        };
        after = last.number;
        for line in &lines {
            format.line(line, &mut out)?;
            count = count.saturating_add(1);
        }
    }
}

/// An entry as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    number: u64,
    at: Timestamp,
    channel_id: ChannelId,
    kind: &'static str,
    challenge_id: Option<&'a ChallengeId>,
    idempotency: Option<B256>,
    cost: Amount,
    units: u64,
    accepted: Amount,
    spent: Amount,
    deposit: Amount,
}

impl Format {
    /// Writes what stands before the first entry.
    ///
    /// # Errors
    /// When `out` can not be written.
    pub fn begin(self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::JsonLines => Ok(()),
            Self::Csv => write!(out, "{COLUMNS}\r\n"),
        }
    }

    /// Writes one entry.
    ///
    /// # Errors
    /// When `out` can not be written.
    pub fn line(self, numbered: &Numbered, out: &mut impl Write) -> io::Result<()> {
        let entry = &numbered.entry;
        let line = Line {
            number: numbered.number,
            at: entry.at,
            channel_id: entry.channel_id,
            kind: kind(entry.kind),
            challenge_id: entry.challenge_id.as_ref(),
            idempotency: entry.idempotency.map(|key| key.0),
            cost: entry.cost,
            units: entry.units,
            accepted: entry.accepted,
            spent: entry.spent,
            deposit: entry.deposit,
        };
        match self {
            Self::JsonLines => {
                serde_json::to_writer(&mut *out, &line)?;
                out.write_all(b"\n")
            }
            Self::Csv => line.write_csv(out),
        }
    }
}

impl Line<'_> {
    fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        write!(
            out,
            "{},{},{},{},",
            self.number, self.at, self.channel_id, self.kind
        )?;
        if let Some(id) = self.challenge_id {
            out.write_all(text(id.as_str()).as_bytes())?;
        }
        out.write_all(b",")?;
        if let Some(key) = self.idempotency {
            write!(out, "{key}")?;
        }
        write!(
            out,
            ",{},{},{},{},{}\r\n",
            self.cost, self.units, self.accepted, self.spent, self.deposit
        )
    }
}

/// Text that is not ours, as a value of CSV: it may hold commas and quotes.
pub(crate) fn text(foreign: &str) -> String {
    format!("\"{}\"", foreign.replace('"', "\"\""))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        MemoryStore, OutcomeKey, Version,
        conformance::sample::{charge, first, record},
    };

    async fn exported(entries: u64, format: Format, channel: Option<ChannelId>) -> String {
        let store = MemoryStore::new();
        let mut state = record(1);
        store.commit(first(state.clone())).await.unwrap();
        store.commit(first(record(2))).await.unwrap();
        for version in 1..=entries {
            let mut write = charge(Version(version), &state);
            if let (1, Some(entry)) = (version, &mut write.entry) {
                entry.challenge_id = Some(ChallengeId::new("a \"b\", c").unwrap());
                entry.idempotency = Some(OutcomeKey(B256::repeat_byte(1)));
            }
            state = write.next.clone();
            store.commit(write).await.unwrap();
        }
        let mut out = Vec::new();
        let count = export(&store, channel, format, &mut out).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        let headings = u64::from(format == Format::Csv);
        assert_eq!(text.lines().count() as u64, count.saturating_add(headings));
        text
    }

    #[tokio::test]
    async fn json_lines_hold_every_entry_and_no_numbers_for_money() {
        let text = exported(2_345, Format::JsonLines, None).await;
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2_345);
        let [first, .., last] = &lines[..] else {
            panic!("few lines");
        };
        assert_eq!(first["challengeId"], "a \"b\", c");
        assert_eq!(first["idempotency"], format!("0x{}", "01".repeat(32)));
        assert_eq!(
            (&last["spent"], &last["cost"]),
            (&"2345".into(), &"1".into())
        );
        assert_eq!(last["at"], "2027-01-15T08:00:00Z");
        assert_eq!(last["kind"], "charged");
    }

    #[tokio::test]
    async fn csv_quotes_what_needs_it() {
        let text = exported(2, Format::Csv, None).await;
        let id = record(1).id;
        let mut lines = text.split("\r\n");
        assert_eq!(lines.next(), Some(COLUMNS));
        let key = B256::repeat_byte(1);
        let expected =
            format!("1,2027-01-15T08:00:00Z,{id},charged,\"a \"\"b\"\", c\",{key},1,1,1000,1,2000");
        assert_eq!(lines.next(), Some(expected.as_str()));
        assert_eq!(
            lines.next().unwrap().split(',').count(),
            COLUMNS.split(',').count()
        );
        assert_eq!((lines.next(), lines.next()), (Some(""), None));
    }

    #[tokio::test]
    async fn one_channel_can_be_exported_alone() {
        let none = exported(3, Format::JsonLines, Some(record(2).id)).await;
        assert_eq!(none, "");
        let own = exported(3, Format::JsonLines, Some(record(1).id)).await;
        assert_eq!(own.lines().count(), 3);
    }
}
