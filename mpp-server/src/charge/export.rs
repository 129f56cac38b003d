//! Charges and refunds as text, for accounting and for other programs.
//!
//! What was received less what was returned is what all charges have brought.
//! Amounts are decimal digits in base units, times are RFC 3339.

use std::io::{self, Write};

use alloy_primitives::{Address, B256};
use mpp_core::{Amount, ChallengeId, Timestamp};
use serde::Serialize;

use super::{
    record::{ChargeDocument, ChargeRecord, ChargeState},
    refund::{RefundDocument, RefundState},
};
use crate::store::{
    ChannelStore, DocumentKind, DocumentPage, StoreFault,
    codec::decode_document,
    export::{ExportError, Format, text},
};

/// Documents that are read at once.
const PAGE: usize = 1_000;
/// The columns, in the order of the members of [`Line`].
const COLUMNS: &str =
    "at,kind,challengeId,externalId,payer,currency,transaction,state,received,returned";

/// The kinds of documents that are exported, in order.
const KINDS: [DocumentKind; 2] = [DocumentKind::Charge, DocumentKind::Refund];

/// Writes all charges, then all refunds, and returns the number of lines.
/// Holds one page at a time.
///
/// What is committed meanwhile may be part of it or not.
///
/// # Errors
/// When the store can not be read or `out` not be written.
///
/// # Cancel safety
/// Dropped, `out` holds the beginning.
pub async fn export(
    store: &impl ChannelStore,
    format: Format,
    mut out: impl Write,
) -> Result<u64, ExportError> {
    begin(format, &mut out)?;
    let mut count = 0_u64;
    for kind in KINDS {
        let mut after = None;
        loop {
            let limit = PAGE;
            let page = DocumentPage { kind, after, limit };
            let page = store.documents(page).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (_, document) in &page {
                count = count.saturating_add(line(format, kind, &document.value, &mut out)?);
            }
        }
    }
    out.flush()?;
    Ok(count)
}

/// Writes what stands before the first line.
pub(crate) fn begin(format: Format, out: &mut impl Write) -> io::Result<()> {
    match format {
        Format::JsonLines => Ok(()),
        Format::Csv => write!(out, "{COLUMNS}\r\n"),
    }
}

/// Writes a document, unless it only points to another; returns how many
/// lines that were.
pub(crate) fn line(
    format: Format,
    kind: DocumentKind,
    value: &[u8],
    out: &mut impl Write,
) -> Result<u64, ExportError> {
    let written = |line: Line<'_>, out: &mut _| line.write(format, out).map(|()| 1);
    match kind {
        DocumentKind::Charge => {
            let document = decode_document(kind, value).map_err(StoreFault::from)?;
            match document {
                ChargeDocument::Record(charge) => Ok(written(Line::of_charge(&charge), out)?),
                ChargeDocument::Belongs(_) => Ok(0),
            }
        }
        DocumentKind::Refund => {
            let refund = decode_document(kind, value).map_err(StoreFault::from)?;
            Ok(written(Line::of_refund(&refund), out)?)
        }
        _ => Ok(0),
    }
}

/// A charge or a refund as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    at: Timestamp,
    kind: &'static str,
    challenge_id: &'a ChallengeId,
    external_id: Option<&'a str>,
    payer: Address,
    currency: Address,
    transaction: Option<B256>,
    state: &'static str,
    received: Amount,
    returned: Amount,
}

impl<'a> Line<'a> {
    fn of_charge(charge: &'a ChargeRecord) -> Self {
        let received = if charge.is_paid() {
            charge.bill.amount
        } else {
            Amount::ZERO
        };
        Self {
            at: charge.paid_at.unwrap_or(charge.claimed_at),
            kind: "charge",
            challenge_id: &charge.challenge_id,
            external_id: charge.bill.external_id.as_deref(),
            payer: charge.payer,
            currency: charge.bill.currency,
            transaction: charge.payment.hash,
            state: match charge.state {
                ChargeState::Claimed { .. } => "claimed",
                ChargeState::Sent { .. } => "sent",
                ChargeState::Paid => "paid",
                ChargeState::Serving { .. } => "serving",
                ChargeState::Served { .. } => "served",
                ChargeState::Released => "released",
            },
            received,
            returned: Amount::ZERO,
        }
    }

    fn of_refund(refund: &'a RefundDocument) -> Self {
        let (at, transaction, state, returned) = match &refund.state {
            RefundState::Begun { .. } => (refund.begun_at, None, "begun", Amount::ZERO),
            RefundState::Sent { sent, .. } => {
                (refund.begun_at, Some(sent.hash), "sent", Amount::ZERO)
            }
            RefundState::Paid { hash, at } => (*at, Some(*hash), "paid", refund.amount),
            RefundState::Failed => (refund.begun_at, None, "failed", Amount::ZERO),
        };
        Self {
            at,
            kind: "refund",
            challenge_id: &refund.challenge_id,
            external_id: refund.external_id.as_deref(),
            payer: refund.payer,
            currency: refund.currency,
            transaction,
            state,
            received: Amount::ZERO,
            returned,
        }
    }

    fn write(&self, format: Format, out: &mut impl Write) -> io::Result<()> {
        match format {
            Format::JsonLines => {
                serde_json::to_writer(&mut *out, self)?;
                out.write_all(b"\n")
            }
            Format::Csv => self.write_csv(out),
        }
    }

    fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        let transaction = self.transaction.map(|hash| hash.to_string());
        write!(
            out,
            "{},{},{},{},{:#x},{:#x},{},{},{},{}\r\n",
            self.at,
            self.kind,
            text(self.challenge_id.as_str()),
            self.external_id.map(text).unwrap_or_default(),
            self.payer,
            self.currency,
            transaction.unwrap_or_default(),
            self.state,
            self.received,
            self.returned,
        )
    }
}
