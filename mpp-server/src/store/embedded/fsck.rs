//! Looks for what is damaged or does not add up in a store's file.

use std::{collections::HashMap, fmt, path::Path};

use mpp_core::Amount;
use mpp_tempo::{
    SignedVoucher,
    channel::{ChannelId, ChannelTerms},
    voucher::{VoucherError, VoucherVerifier, second_opinion},
};

use super::file::{StoreFile, Values, Visit};
use crate::{
    charge::export as charge_export,
    session::record::{ChannelRecord, LedgerEntry, LedgerKind, Phase},
    settle::outbox::stored_vouchers,
    store::{
        DocumentKey, DocumentKind, Numbered, OutcomeKey, StoreFault, Versioned,
        codec::{self, CodecError},
        export::{ExportError, Format},
    },
};

/// A store's file, opened to look at it. It is never written.
#[derive(Debug)]
pub struct StoreReader(StoreFile);

/// What a check has seen.
#[derive(Debug, Default)]
pub struct Report {
    /// Channels.
    pub channels: u64,
    /// Ledger entries.
    pub entries: u64,
    /// Outcomes of idempotent requests.
    pub outcomes: u64,
    /// Documents.
    pub documents: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Something wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What.
    pub defect: Defect,
}

/// A value in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The record of a channel.
    Channel(ChannelId),
    /// A ledger entry, by its number.
    Entry(u64),
    /// A row of the journal, by its number: commits of which nothing else is
    /// left.
    Journal(u64),
    /// An outcome.
    Outcome(OutcomeKey),
    /// A document.
    Document(DocumentKey),
}

/// What may be wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// It can not be read; that includes a record whose terms give another id.
    #[error(transparent)]
    Damaged(#[from] CodecError),
    /// More is spent than was accepted.
    #[error("{spent} is spent and only {accepted} accepted")]
    Overspent {
        /// Spent, in base units.
        spent: Amount,
        /// Accepted, in base units.
        accepted: Amount,
    },
    /// More was accepted than the channel holds.
    #[error("{accepted} is accepted and only {deposit} deposited")]
    Overdrawn {
        /// Accepted, in base units.
        accepted: Amount,
        /// Deposited, in base units.
        deposit: Amount,
    },
    /// The chain would not pay the voucher that is kept.
    #[error("the voucher does not verify: {0}")]
    Voucher(VoucherError),
    /// The ledger adds up to something else.
    #[error(
        "the ledger adds up to {ledger} for {units} units, the record says {spent} for {counted}"
    )]
    Ledger {
        /// The costs of all entries, in base units.
        ledger: Amount,
        /// The units of all entries.
        units: u64,
        /// Spent by the record, in base units.
        spent: Amount,
        /// Units of the record.
        counted: u64,
    },
    /// It belongs to a channel that is not there.
    #[error("its channel {0} is not there")]
    Orphan(ChannelId),
    /// Its number is greater than the newest of its channel.
    #[error("its number {0} was never given")]
    Number(u64),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Channel(id) => write!(f, "channel {id}: {}", self.defect),
            Place::Entry(number) => write!(f, "ledger entry {number}: {}", self.defect),
            Place::Journal(number) => write!(f, "journal row {number}: {}", self.defect),
            Place::Outcome(key) => write!(f, "outcome {}: {}", key.0, self.defect),
            Place::Document(key) => {
                write!(f, "document {:?} {}: {}", key.kind, key.id, self.defect)
            }
        }
    }
}

/// What the ledger says about a channel.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    cost: Amount,
    units: u64,
}

/// What a record says, for the checks of other tables.
#[derive(Clone, Debug)]
struct Known {
    terms: ChannelTerms,
    spent: Amount,
    units: u64,
    newest_outcome: u64,
}

impl StoreReader {
    /// Opens the file at `path` for reading.
    ///
    /// # Errors
    /// When it can not be read, or a server has it open.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreFault> {
        StoreFile::open_to_read(path.as_ref()).map(Self)
    }

    /// Writes the ledger, and returns the number of its entries.
    ///
    /// # Errors
    /// When an entry can not be read or `out` not be written.
    pub fn export(&self, format: Format, mut out: impl std::io::Write) -> Result<u64, ExportError> {
        format.begin(&mut out)?;
        let mut count = 0_u64;
        let mut written = Ok(());
        self.0.entries(0, |number, bytes| {
            let entry = codec::decode_entry(bytes)?;
            written = format.line(&Numbered { number, entry }, &mut out);
            count = count.saturating_add(1);
            Ok(match written {
                Ok(()) => Visit::More,
                Err(_) => Visit::Enough,
            })
        })?;
        written?;
        out.flush()?;
        Ok(count)
    }

    /// Writes all charges and refunds, and returns the number of lines.
    ///
    /// # Errors
    /// As [`export`](Self::export).
    pub fn export_charges(
        &self,
        format: Format,
        mut out: impl std::io::Write,
    ) -> Result<u64, ExportError> {
        charge_export::begin(format, &mut out)?;
        let mut count = 0_u64;
        for kind in [DocumentKind::Charge, DocumentKind::Refund] {
            let mut written = Ok(());
            self.0.documents_after(kind, None, |_, _, value| {
                match charge_export::line(format, kind, value, &mut out) {
                    Ok(lines) => count = count.saturating_add(lines),
                    Err(error) => written = Err(error),
                }
                Ok(match written {
                    Ok(()) => Visit::More,
                    Err(_) => Visit::Enough,
                })
            })?;
            written?;
        }
        out.flush()?;
        Ok(count)
    }

    /// Reads the records of all channels.
    ///
    /// # Errors
    /// When the file or one of them can not be read.
    pub fn channels(&self) -> Result<Vec<Versioned>, StoreFault> {
        self.0.decoded_records()
    }

    /// Checks every value by itself and against the others.
    ///
    /// # Errors
    /// When the file can not be read at all.
    pub fn check(&self) -> Result<Report, StoreFault> {
        check(&self.0)
    }
}

/// Checks every value of a file.
pub(super) fn check(file: &StoreFile) -> Result<Report, StoreFault> {
    let mut report = Report::default();
    for (number, error) in file.damaged() {
        report.note(Place::Journal(*number), *error);
    }
    let mut known = HashMap::new();
    file.records(|id, _, bytes| {
        report.channels = report.channels.saturating_add(1);
        match codec::decode_record(id, bytes) {
            Ok(record) => {
                report.record(&record);
                known.insert(id, Some(Known::of(&record)));
            }
            Err(error) => {
                known.insert(id, None);
                report.note(Place::Channel(id), error);
            }
        }
        Ok(())
    })?;
    let mut sums: HashMap<ChannelId, Sums> = HashMap::new();
    file.entries(0, |number, bytes| {
        report.entries = report.entries.saturating_add(1);
        match codec::decode_entry(bytes) {
            Ok(entry) if known.contains_key(&entry.channel_id) => {
                sums.entry(entry.channel_id).or_default().add(&entry);
            }
            Ok(entry) => report.note(Place::Entry(number), Defect::Orphan(entry.channel_id)),
            Err(error) => report.note(Place::Entry(number), error),
        }
        Ok(Visit::More)
    })?;
    for (id, known) in &known {
        let sums = sums.get(id).copied().unwrap_or_default();
        if let Some(defect) = known.as_ref().and_then(|known| known.compare(sums)) {
            report.note(Place::Channel(*id), defect);
        }
    }
    let visit = |row: super::file::OutcomeRow| {
        report.outcomes = report.outcomes.saturating_add(1);
        let place = Place::Outcome(row.key);
        match (
            codec::decode_outcome(row.key, &row.value),
            known.get(&row.channel_id),
        ) {
            (Err(error), _) => report.note(place, error),
            (Ok(_), None) => report.note(place, Defect::Orphan(row.channel_id)),
            (Ok(outcome), Some(Some(known))) if outcome.number > known.newest_outcome => {
                report.note(place, Defect::Number(outcome.number));
            }
            (Ok(_), Some(_)) => {}
        }
        Ok(())
    };
    file.outcomes(visit, Values::Read)?;
    for kind in DocumentKind::ALL {
        file.documents_after(kind, None, |id, _, bytes| {
            report.documents = report.documents.saturating_add(1);
            let place = Place::Document(DocumentKey { kind, id });
            match kind {
                DocumentKind::Effect | DocumentKind::FinishedEffect => {
                    report.effect(place, stored_vouchers(kind, bytes), &known);
                }
                _ => {
                    if let Err(error) = codec::check_document(kind, bytes) {
                        report.note(place, error);
                    }
                }
            }
            Ok(Visit::More)
        })?;
    }
    Ok(report)
}

impl Report {
    fn note(&mut self, place: Place, defect: impl Into<Defect>) {
        let defect = defect.into();
        self.findings.push(Finding { place, defect });
    }

    /// Checks a record by itself.
    fn record(&mut self, record: &ChannelRecord) {
        let place = Place::Channel(record.id);
        let (accepted, spent, deposit) = (record.accepted(), record.spent, record.deposit);
        // Without a voucher nothing is accepted: the chain has shown a smaller
        // deposit than the one that was paid for.
        if record.best.is_some() && spent > accepted {
            self.note(place, Defect::Overspent { spent, accepted });
        }
        // Before the chain has shown the channel, the deposit is zero; and what a
        // reorganization takes from a channel that nothing is sold on, it may.
        let in_service = matches!(
            record.phase,
            Phase::Open | Phase::CloseRequested { .. } | Phase::Closing { .. }
        );
        if in_service && accepted > deposit {
            self.note(place, Defect::Overdrawn { accepted, deposit });
        }
        let closing = match &record.phase {
            Phase::Closing { voucher, .. } => Some(voucher),
            _ => None,
        };
        for voucher in record.vouchers().chain(closing) {
            self.voucher(place, &record.terms, voucher);
        }
    }

    /// Checks what an effect puts on chain.
    fn effect(
        &mut self,
        place: Place,
        vouchers: Result<Vec<SignedVoucher>, CodecError>,
        known: &HashMap<ChannelId, Option<Known>>,
    ) {
        let vouchers = match vouchers {
            Ok(vouchers) => vouchers,
            Err(error) => return self.note(place, error),
        };
        for voucher in vouchers {
            let id = voucher.voucher.channel_id;
            match known.get(&id) {
                Some(Some(known)) => self.voucher(place, &known.terms, &voucher),
                // The record itself is damaged, and named.
                Some(None) => {}
                None => self.note(place, Defect::Orphan(id)),
            }
        }
    }

    /// Checks that the chain would pay a voucher: by other code than took it,
    /// and by that.
    fn voucher(&mut self, place: Place, terms: &ChannelTerms, voucher: &SignedVoucher) {
        let verified = || VoucherVerifier::new(terms).verify(voucher).map(drop);
        if let Err(error) = second_opinion(terms, voucher).and_then(|()| verified()) {
            self.note(place, Defect::Voucher(error));
        }
    }
}

impl Known {
    fn of(record: &ChannelRecord) -> Self {
        Self {
            terms: record.terms,
            spent: record.spent,
            units: record.units,
            newest_outcome: record.newest_outcome,
        }
    }

    fn compare(&self, sums: Sums) -> Option<Defect> {
        let agrees = sums.cost == self.spent && sums.units == self.units;
        (!agrees).then_some(Defect::Ledger {
            ledger: sums.cost,
            units: sums.units,
            spent: self.spent,
            counted: self.units,
        })
    }
}

impl Sums {
    fn add(&mut self, entry: &LedgerEntry) {
        let cost = match entry.kind {
            LedgerKind::Credited => self.cost.checked_sub(entry.cost),
            LedgerKind::Opened
            | LedgerKind::Accepted
            | LedgerKind::Charged
            | LedgerKind::Observed
            | LedgerKind::Closed => self.cost.checked_add(entry.cost),
        };
        // No record says that: it is found.
        self.cost = cost.unwrap_or(Amount::MAX);
        self.units = self.units.saturating_add(entry.units);
    }
}
