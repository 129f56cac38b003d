//! Where everything is kept under one prefix.

use alloy_primitives::B256;
use mpp_tempo::channel::ChannelId;

use crate::store::{ClaimKey, DocumentKey, DocumentKind, OutcomeKey, shared::claim_name};

/// ```text
/// form             string   number of the stored form
/// channel:<id>     hash     version, record, stamps
/// all, live        zset     ids, all with the score 0: read in their order
/// number           string   the last number of the ledger
/// ledger           stream   entries under the id <number>-0
/// ledger:<id>      stream   which numbers belong to the channel
/// outcome:<key>    string   outcome
/// outcomes:<id>    zset     keys of the channel's outcomes by their number
/// claim:<name>     string   value, stamp, end
/// document:<kind>:<id>  hash    version, value, stamps
/// documents:<kind> zset     ids of the kind's documents, as above
/// changed          pub/sub  id and version of every change
/// ```
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    pub(super) fn form(&self) -> String {
        self.key("form", "")
    }

    pub(super) fn channels(&self) -> String {
        self.key("channel:", "")
    }

    pub(super) fn channel(&self, id: ChannelId) -> String {
        self.key("channel:", &member(id))
    }

    pub(super) fn all(&self) -> String {
        self.key("all", "")
    }

    pub(super) fn live(&self) -> String {
        self.key("live", "")
    }

    pub(super) fn number(&self) -> String {
        self.key("number", "")
    }

    pub(super) fn ledger(&self) -> String {
        self.key("ledger", "")
    }

    pub(super) fn ledger_of(&self, id: ChannelId) -> String {
        self.key("ledger:", &member(id))
    }

    pub(super) fn outcomes(&self) -> String {
        self.key("outcome:", "")
    }

    pub(super) fn outcome(&self, key: OutcomeKey) -> String {
        self.key("outcome:", &member(key.0))
    }

    pub(super) fn outcomes_of(&self, id: ChannelId) -> String {
        self.key("outcomes:", &member(id))
    }

    pub(super) fn claim(&self, key: &ClaimKey) -> String {
        self.key("claim:", &claim_name(key))
    }

    /// What the keys of a kind's documents begin with.
    pub(super) fn documents(&self, kind: DocumentKind) -> String {
        self.key("document:", &format!("{}:", kind.number()))
    }

    pub(super) fn document(&self, key: DocumentKey) -> String {
        [self.documents(key.kind), member(key.id)].concat()
    }

    pub(super) fn documents_of(&self, kind: DocumentKind) -> String {
        self.key("documents:", &kind.number().to_string())
    }

    pub(super) fn changed(&self) -> String {
        self.key("changed", "")
    }

    fn key(&self, kind: &str, of: &str) -> String {
        [&self.prefix, kind, of].concat()
    }
}

/// An id as part of a key and in sets: text that people can read and that has
/// the order of the bytes.
pub(super) fn member(id: B256) -> String {
    format!("{id:x}")
}
