//! Up to where the chain was read, as it is kept in the store.

use alloy_primitives::{B256, Keccak256};
use mpp_core::Amount;
use serde::{Deserialize, Serialize};

use super::{news::Pair, recent::Noted};
use crate::{
    error::Fault,
    store::{
        ChannelStore, DocumentKey, DocumentKind, DocumentWrite, Version,
        codec::{decode_document, encode_document},
    },
};

/// Events that are kept with a position, at most: what a server that was down
/// could have missed the end of.
pub(crate) const KEPT: usize = 1_024;

/// The position of a pair. The order of members is the stored form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The block to go on from.
    pub(crate) next: u64,
    recent: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Event {
    key: [u8; 32],
    block: u64,
    channel: [u8; 32],
    before: Option<u128>,
}

impl Cursor {
    pub(crate) fn new(next: u64, recent: Vec<(B256, Noted)>) -> Self {
        let event = |(key, noted): (B256, Noted)| Event {
            key: key.0,
            block: noted.block,
            channel: noted.channel.0,
            before: noted.before.map(Amount::base_units),
        };
        Self {
            next,
            recent: recent.into_iter().map(event).collect(),
        }
    }

    /// The events that were noted last.
    pub(crate) fn recent(&self, pair: Pair) -> impl Iterator<Item = (B256, Noted)> + '_ {
        self.recent.iter().map(move |event| {
            let noted = Noted {
                block: event.block,
                channel: event.channel.into(),
                pair,
                before: event.before.map(Amount::new),
            };
            (event.key.into(), noted)
        })
    }

    /// Reads the position of a pair.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(crate) async fn load<S: ChannelStore>(
        store: &S,
        chain_id: u64,
        pair: Pair,
    ) -> Result<Option<(Self, Version)>, Fault> {
        let Some(found) = store.document(key(chain_id, pair)).await? else {
            return Ok(None);
        };
        let cursor = decode_document(DocumentKind::Cursor, &found.value)
            .map_err(crate::store::StoreFault::from)?;
        Ok(Some((cursor, found.version)))
    }

    /// What writes the position over the one of version `expected`.
    pub(crate) fn write(
        &self,
        chain_id: u64,
        pair: Pair,
        expected: Option<Version>,
    ) -> Result<DocumentWrite, Fault> {
        let value = encode_document(DocumentKind::Cursor, self);
        Ok(DocumentWrite {
            key: key(chain_id, pair),
            expected,
            value: Some(value.map_err(crate::store::StoreFault::from)?),
        })
    }
}

fn key(chain_id: u64, pair: Pair) -> DocumentKey {
    let mut id = Keccak256::new();
    id.update(b"events of an escrow");
    id.update(chain_id.to_be_bytes());
    id.update(pair.escrow);
    id.update(pair.payee);
    DocumentKey {
        kind: DocumentKind::Cursor,
        id: id.finalize(),
    }
}
