//! Documents: what a server keeps beside its channels.

use std::collections::BTreeSet;

use alloy_primitives::B256;
use bytes::Bytes;

use super::{StoreFault, Version};

/// What a document is about. Documents of different kinds never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DocumentKind {
    /// A one-time payment.
    Charge = 1,
    /// Money that went back.
    Refund = 2,
    /// What a sponsor still gives in a window of time.
    Budget = 3,
    /// Something that is to happen on chain.
    Effect = 4,
    /// Something that has happened on chain, or never will.
    FinishedEffect = 5,
    /// Up to where the chain was read.
    Cursor = 6,
    /// Who leads, and until when.
    Lease = 7,
    /// A channel that was closed lately.
    Ended = 8,
}

impl DocumentKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Charge,
        Self::Refund,
        Self::Budget,
        Self::Effect,
        Self::FinishedEffect,
        Self::Cursor,
        Self::Lease,
        Self::Ended,
    ];

    /// The number under which stores keep the kind; it never changes.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Where a document is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// What it is about.
    pub kind: DocumentKind,
    /// Which one.
    pub id: B256,
}

/// A document as it is kept: its owner knows the form of its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Counts the writes, from 1.
    pub version: Version,
    /// The value, as [`codec::encode_document`](super::codec::encode_document)
    /// makes it.
    pub value: Bytes,
}

/// One conditional write of a document.
///
/// An id that was removed must not be used again: versions would begin anew,
/// and a late writer could take the new document for the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentWrite {
    /// Which document.
    pub key: DocumentKey,
    /// The version that must be there; `None`: there must be none.
    pub expected: Option<Version>,
    /// The new value; `None` removes the document.
    pub value: Option<Bytes>,
}

/// How a write of documents went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All of them are durable, each with the version after the expected one.
    Done,
    /// A version was another one, and nothing is written.
    Conflict,
}

/// One page of the documents of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentPage {
    /// The kind.
    pub kind: DocumentKind,
    /// Documents with greater ids than this.
    pub after: Option<B256>,
    /// At most so many.
    pub limit: usize,
}

impl DocumentWrite {
    /// The version that the document has after the write.
    pub(super) fn version(&self) -> Version {
        let before = self.expected.map_or(0, |version| version.0);
        Version(before.saturating_add(1))
    }
}

/// Writes in the order of their keys: whoever locks them one after the other
/// then never waits in a circle.
///
/// # Errors
/// When a document would be written twice at once.
pub(super) fn in_order(mut writes: Vec<DocumentWrite>) -> Result<Vec<DocumentWrite>, StoreFault> {
    let keys: BTreeSet<_> = writes.iter().map(|write| write.key).collect();
    if keys.len() != writes.len() {
        let message = "a document can not be written twice at once";
        return Err(StoreFault::lasting(message, None));
    }
    writes.sort_by_key(|write| write.key);
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_numbers_of_their_own() {
        let numbers: BTreeSet<_> = DocumentKind::ALL.iter().map(|kind| kind.number()).collect();
        assert_eq!(numbers, (1..=8).collect());
    }

    #[test]
    fn a_document_is_written_once_at_a_time() {
        let write = |id, kind| DocumentWrite {
            key: DocumentKey {
                kind,
                id: B256::repeat_byte(id),
            },
            expected: None,
            value: None,
        };
        let (charge, lease) = (DocumentKind::Charge, DocumentKind::Lease);
        let sorted = in_order(vec![write(1, lease), write(2, charge), write(1, charge)]).unwrap();
        let ids: Vec<_> = sorted.iter().map(|write| write.key.id.0[0]).collect();
        assert_eq!(ids, [1, 2, 1]);
        assert!(in_order(vec![write(1, lease), write(1, lease)]).is_err());
    }
}
