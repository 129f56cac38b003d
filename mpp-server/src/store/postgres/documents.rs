//! Documents: one statement for each write, as for commits.

use alloy_primitives::B256;
use bytes::Bytes;
use tokio_postgres::Row;

use super::{
    Core, hash, limit,
    link::{Parameters, column, unsigned},
};
use crate::store::{
    Document, DocumentKey, DocumentPage, DocumentWrite, StoreFault, Version, Written, document,
    shared::{Attempt, Stamped, commit_once, signed, together, witness},
};

impl Core {
    pub(super) async fn document(&self, key: DocumentKey) -> Result<Option<Document>, StoreFault> {
        let with: Parameters<'_> = &[&kind(key), &key.id.as_slice()];
        let rows = self.link.again(&self.sql.document, with).await?;
        rows.first().map(|row| read(row, 0)).transpose()
    }

    /// Writes once, whatever happens to the connection.
    pub(super) async fn write_documents(
        &self,
        writes: Vec<DocumentWrite>,
    ) -> Result<Written, StoreFault> {
        let (stamp, writes) = (self.stamps.next(), document::in_order(writes)?);
        let Some(witness) = witness(&writes) else {
            return Ok(Written::Done);
        };
        let (kinds, ids): (Vec<i16>, Vec<&[u8]>) = writes
            .iter()
            .map(|write| (kind(write.key), write.key.id.as_slice()))
            .unzip();
        let expected = writes.iter().map(|write| write.expected);
        let expected: Vec<i64> = expected
            .map(|version| signed(version.map_or(0, |version| version.0)))
            .collect::<Result<_, _>>()?;
        let values: Vec<Option<&[u8]>> =
            writes.iter().map(|write| write.value.as_deref()).collect();
        let mark = stamp.0.as_slice();
        let with: Parameters<'_> = &[&kinds, &ids, &expected, &values, &mark];
        let attempt = || async {
            let rows = self.link.once(&self.sql.write_documents, with).await?;
            let written = rows.first().map(|row| column(row, 0)).transpose()?;
            Ok(match written.unwrap_or(false) {
                true => Attempt::Written,
                false => Attempt::Conflict,
            })
        };
        let stamped = || self.stamped_document(witness.key);
        let patience = self.link.patience();
        let commit = commit_once(patience, witness.expected, stamp, attempt, stamped).await?;
        Ok(together(commit))
    }

    async fn stamped_document(&self, key: DocumentKey) -> Result<Option<Stamped>, StoreFault> {
        let with: Parameters<'_> = &[&kind(key), &key.id.as_slice()];
        let rows = self.link.again(&self.sql.document_stamp, with).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some((Version(unsigned(column(row, 0)?)?), column(row, 1)?)))
    }

    pub(super) async fn documents(
        &self,
        page: DocumentPage,
    ) -> Result<Vec<(B256, Document)>, StoreFault> {
        // Every id is greater than no bytes at all.
        let after = page.after.as_ref().map_or(&[][..], |id| id.as_slice());
        let (kind, limit) = (i16::from(page.kind.number()), limit(page.limit));
        let with: Parameters<'_> = &[&kind, &after, &limit];
        let rows = self.link.again(&self.sql.documents, with).await?;
        rows.iter()
            .map(|row| Ok((hash(row, 0)?, read(row, 1)?)))
            .collect()
    }
}

fn kind(key: DocumentKey) -> i16 {
    i16::from(key.kind.number())
}

/// Version and value of a row, from this column on.
fn read(row: &Row, at: usize) -> Result<Document, StoreFault> {
    let value: &[u8] = column(row, at.saturating_add(1))?;
    Ok(Document {
        version: Version(unsigned(column(row, at)?)?),
        value: Bytes::copy_from_slice(value),
    })
}
