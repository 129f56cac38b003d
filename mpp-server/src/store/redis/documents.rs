//! Documents: one script for each write, as for commits.

use alloy_primitives::B256;
use redis::ScriptInvocation;

use super::{Core, PART, keys::member, version};
use crate::store::{
    Document, DocumentKey, DocumentPage, DocumentWrite, StoreFault, Written, document,
    shared::{Attempt, Stamp, Stamped, commit_once, together, witness},
};

impl Core {
    pub(super) async fn document(&self, key: DocumentKey) -> Result<Option<Document>, StoreFault> {
        let found = self.document_fields(key, "value").await?;
        let document = |(version, value): (_, Vec<u8>)| Document {
            version,
            value: value.into(),
        };
        Ok(found.map(document))
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
        let script = self.documents_script(&writes, stamp);
        let attempt = || async {
            let written: bool = self.link.once(&script).await?;
            Ok(match written {
                true => Attempt::Written,
                false => Attempt::Conflict,
            })
        };
        let stamped = || self.document_fields(witness.key, "stamps");
        let patience = self.link.patience();
        let commit = commit_once(patience, witness.expected, stamp, attempt, stamped).await?;
        Ok(together(commit))
    }

    fn documents_script(&self, writes: &[DocumentWrite], stamp: Stamp) -> ScriptInvocation<'_> {
        let mut script = self.scripts.documents.prepare_invoke();
        script.arg(&stamp.0);
        for write in writes {
            let expected = write.expected.map(|version| version.0.to_string());
            script
                .key(self.keys.document(write.key))
                .key(self.keys.documents_of(write.key.kind))
                .arg(expected.unwrap_or_default())
                .arg(write.version().0)
                .arg(member(write.key.id))
                .arg(u8::from(write.value.is_some()))
                .arg(write.value.as_deref().unwrap_or_default());
        }
        script
    }

    /// The version of a document and another field.
    async fn document_fields(
        &self,
        key: DocumentKey,
        field: &str,
    ) -> Result<Option<Stamped>, StoreFault> {
        let mut get = redis::pipe();
        get.cmd("HMGET")
            .arg(self.keys.document(key))
            .arg(&["version", field]);
        let ((number, value),): (super::Fields,) = self.link.ask(&get).await?;
        let number = number.map(|number| version(&number)).transpose()?;
        Ok(number.zip(value))
    }

    pub(super) async fn documents(
        &self,
        page: DocumentPage,
    ) -> Result<Vec<(B256, Document)>, StoreFault> {
        let (index, prefix) = (
            self.keys.documents_of(page.kind),
            self.keys.documents(page.kind),
        );
        let (mut found, mut after) = (Vec::new(), page.after);
        loop {
            let wanted = page.limit.saturating_sub(found.len()).min(PART);
            if wanted == 0 {
                return Ok(found);
            }
            let from = after.map_or_else(|| String::from("-"), |id| format!("({}", member(id)));
            let mut script = self.scripts.scan.key(&index);
            script.arg(from).arg(wanted).arg(&prefix).arg("value");
            let part: Vec<Vec<u8>> = self.link.again(&script).await?;
            let (rows, _) = part.as_chunks::<3>();
            for [id, number, value] in rows {
                let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
                let id: B256 = id.ok_or_else(|| {
                    StoreFault::lasting("the id of a document in Redis is damaged", None)
                })?;
                let document = Document {
                    version: version(number)?,
                    value: value.clone().into(),
                };
                found.push((id, document));
                after = Some(id);
            }
            if rows.len() < wanted {
                return Ok(found);
            }
        }
    }
}
