//! Charges in the store: load, apply, write; retry on conflict. It never decides.

use std::sync::Arc;

use alloy_primitives::B256;
use mpp_core::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    machine::{ChargeCommand, apply},
    record::{ChargeDocument, ChargeId, ChargeRecord, transaction_key},
};
use crate::{
    error::{Failure, Fault},
    session::driver::Durable,
    store::{
        ChannelStore, DocumentKey, DocumentWrite, StoreFault, Version, Written,
        codec::{decode_document, encode_document},
    },
};

/// A document with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found<T> {
    pub(crate) version: Version,
    pub(crate) value: T,
}

/// What a command has made of a charge.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) record: Durable<ChargeRecord>,
    /// Whether it has changed anything: of several that say the same, one has.
    pub(super) changed: bool,
}

/// Reads a document.
///
/// # Cancel safety
/// Reads only.
pub(crate) async fn find<T: DeserializeOwned>(
    store: &impl ChannelStore,
    key: DocumentKey,
) -> Result<Option<Found<T>>, StoreFault> {
    let Some(document) = store.document(key).await? else {
        return Ok(None);
    };
    Ok(Some(Found {
        version: document.version,
        value: decode_document(key.kind, &document.value)?,
    }))
}

/// The write that puts `value` in the place of what was found.
pub(crate) fn write<T: Serialize>(
    key: DocumentKey,
    expected: Option<Version>,
    value: &T,
) -> Result<DocumentWrite, StoreFault> {
    Ok(DocumentWrite {
        key,
        expected,
        value: Some(encode_document(key.kind, value)?),
    })
}

/// The charges of a store.
#[derive(Debug)]
pub(crate) struct Desk<S> {
    store: Arc<S>,
}

impl<S: ChannelStore> Desk<S> {
    pub(crate) fn new(store: Arc<S>) -> Self {
        Self { store }
    }

    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    /// Reads a charge.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(crate) async fn load(&self, id: ChargeId) -> Result<Option<Found<ChargeRecord>>, Fault> {
        let found = find(self.store(), id.key()).await?;
        match found {
            None => Ok(None),
            Some(Found {
                version,
                value: ChargeDocument::Record(record),
            }) => Ok(Some(Found {
                version,
                value: *record,
            })),
            Some(_) => Err(Fault::Inconsistent("a charge's record is something else")),
        }
    }

    /// The charge that a transaction or an idempotent request belongs to.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(super) async fn owner(&self, key: DocumentKey) -> Result<Option<Found<ChargeId>>, Fault> {
        let found = find(self.store(), key).await?;
        match found {
            None => Ok(None),
            Some(Found {
                version,
                value: ChargeDocument::Belongs(value),
            }) => Ok(Some(Found { version, value })),
            Some(_) => Err(Fault::Inconsistent("a payment's note is something else")),
        }
    }

    /// The charge that a transaction pays, by its replay id or hash.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(crate) async fn of_transaction(&self, id: B256) -> Result<Option<ChargeId>, Fault> {
        let found = self.owner(transaction_key(id)).await?;
        Ok(found.map(|found| found.value))
    }

    /// Makes a record durable, together with what else must be true then.
    /// `None`: somebody else wrote first.
    ///
    /// # Cancel safety
    /// Dropped, all of it is written or nothing.
    pub(super) async fn put(
        &self,
        record: ChargeRecord,
        expected: Option<Version>,
        mut beside: Vec<DocumentWrite>,
    ) -> Result<Option<Durable<ChargeRecord>>, Fault> {
        let key = record.id().key();
        let document = ChargeDocument::Record(Box::new(record));
        beside.push(write(key, expected, &document)?);
        let written = self.store.write_documents(beside).await?;
        let ChargeDocument::Record(record) = document else {
            return Err(Fault::Inconsistent("a charge's record is something else"));
        };
        Ok((written == Written::Done).then(|| Durable::acknowledged(*record)))
    }

    /// Applies a command and makes its result durable.
    ///
    /// # Errors
    /// The rule that the command breaks, or a store fault.
    ///
    /// # Cancel safety
    /// Dropped, the change is made or not; whoever looks next sees which.
    pub(super) async fn run(
        &self,
        id: ChargeId,
        command: ChargeCommand,
        now: Timestamp,
    ) -> Result<Ran, Failure> {
        loop {
            let found = self.load(id).await?;
            let found = found.ok_or(Fault::Inconsistent("a charge's record is gone"))?;
            let next = apply(&found.value, command.clone(), now)?;
            if next == found.value {
                let record = Durable::acknowledged(next);
                let changed = false;
                return Ok(Ran { record, changed });
            }
            let put = self.put(next, Some(found.version), Vec::new()).await?;
            if let Some(record) = put {
                let changed = true;
                return Ok(Ran { record, changed });
            }
        }
    }
}
